"""A training over a file beside that over an array in memory: python benchmarks/mapped.py --help.

Both take turns in one process; the file is read once before, so that it lies in the page cache.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import nnarray as nn


def main(
    rows: Annotated[int, typer.Option(min=1, help="Examples.")] = 500_000,
    columns: Annotated[int, typer.Option(min=1, help="Features of each.")] = 256,
    hidden: Annotated[int, typer.Option(min=1, help="Units of each of two layers.")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="Examples of a batch.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="How often each takes its turn.")] = 3,
    folder: Annotated[Path | None, typer.Option(help="Where the file is written; a temporary one if left out.")] = None,
    backend: Annotated[str, typer.Option(help="Where it is trained.")] = "numpy",
) -> None:
    """Time an epoch from memory and from the file."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "X.npy"
        rng = np.random.default_rng(0)
        X = rng.standard_normal((rows, columns), dtype=np.float32)
        np.save(path, X)
        be = nn.backend(backend)
        inputs = {"memory": be.asarray(X), "file": nn.datasets.memory_mapped(path)}
        y = be.asarray((X[:, 0] > X[:, 1]).astype(np.int64))
        network = nn.Network(nn.Dense(hidden, "relu"), nn.Dense(hidden, "relu"), nn.Dense(2))
        seconds: dict[str, list[float]] = {name: [] for name in inputs}
        losses = {}
        for _ in range(rounds):
            for name, x in inputs.items():
                model = network.init((columns,), seed=0, backend=be, dtype="float32")
                begun = time.perf_counter()
                history = model.fit(x, y, epochs=1, batch_size=batch, check_finite=False, progress=False)
                seconds[name].append(time.perf_counter() - begun)
                losses[name] = history["loss"]
        assert losses["memory"] == losses["file"], "the file gave other bits than the memory"
        for name, each in seconds.items():
            print(f"{name}: {statistics.median(each):.2f} s an epoch ({', '.join(f'{s:.2f}' for s in each)})")
        print(f"speed of the file: {statistics.median(seconds['memory']) / statistics.median(seconds['file']):.2f}")


if __name__ == "__main__":
    typer.run(main)
