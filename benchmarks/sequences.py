"""Time a small language model beside PyTorch, and the decoding of a large one: python benchmarks/sequences.py --help.

In one process the runtimes take turns, so that what else the machine does meets all of them. Where others compute too,
set OMP_NUM_THREADS=1 and pass --processor-time: threads that wait for each other would be measured otherwise.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
import typer

import nnarray as nn

VOCABULARY, SIZE, LAYERS, HEADS, LENGTH, BATCH = 65, 128, 4, 4, 64, 12
STEPS = 8  # of a turn
F = torch.nn.functional


class Block(torch.nn.Module):
    """The same block in PyTorch's modules."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(SIZE), torch.nn.LayerNorm(SIZE)
        self.qkv, self.out = torch.nn.Linear(SIZE, 3 * SIZE), torch.nn.Linear(SIZE, SIZE)
        self.hidden, self.down = torch.nn.Linear(SIZE, 4 * SIZE), torch.nn.Linear(4 * SIZE, SIZE)

    def forward(self, x: Any) -> Any:
        batch, count, _ = x.shape
        q, k, v = (
            part.view(batch, count, HEADS, SIZE // HEADS).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(SIZE, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, count, SIZE)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.hidden(self.norm2(x))))


class Characters(torch.nn.Module):
    """The same network in PyTorch's modules."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = torch.nn.Embedding(VOCABULARY, SIZE), torch.nn.Embedding(LENGTH, SIZE)
        self.blocks, self.norm = torch.nn.Sequential(*(Block() for _ in range(LAYERS))), torch.nn.LayerNorm(SIZE)

    def forward(self, tokens: Any) -> Any:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        return self.norm(self.blocks(x)) @ self.tokens.weight.T


def pytorch_steps() -> Callable[[], None]:
    """Some steps of PyTorch, in eager mode."""
    network = Characters()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    X = torch.randint(VOCABULARY, (STEPS, BATCH, LENGTH + 1))

    def turn() -> None:
        for x in X:
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(network(x[:, :-1]).reshape(-1, VOCABULARY), x[:, 1:].reshape(-1)).backward()
            optimizer.step()

    return turn


def nnarray_steps(flag: str, engine: str) -> Callable[[], None]:
    """Some steps of nnarray."""
    be = nn.backend(flag)
    model = nn.models.gpt(VOCABULARY, SIZE, LAYERS, HEADS).init((LENGTH,), backend=be, dtype="float32", engine=engine)
    X = be.asarray(np.random.default_rng(0).integers(0, VOCABULARY, (STEPS * BATCH, LENGTH + 1)))

    def turn() -> None:
        model.fit(X[:, :-1], X[:, 1:], optimizer=nn.AdamW(1e-3), epochs=1, batch_size=BATCH, progress=False)

    return turn


def training(repeats: int, clock: Callable[[], float]) -> None:
    """A step of the small character model."""
    turns = {
        "PyTorch": pytorch_steps(),
        "nnarray, NumPy with Numba": nnarray_steps("numpy", "auto"),
        "nnarray, NumPy": nnarray_steps("numpy", "numpy"),
        "nnarray, PyTorch": nnarray_steps("torch", "auto"),
    }
    compare(turns, repeats, clock, STEPS, "a step of the character model")


def decoding(repeats: int, clock: Callable[[], float], layers: int = 12) -> None:
    """A token of a model of the size of GPT-2, beside what reading its weights once takes."""
    network = nn.models.gpt(50257, 768, layers, 12, length=1024, activation="gelu_tanh", init="zeros")
    model = network.init((1024,), backend="numpy", dtype="float32")
    model.theta = model.theta + np.float32(0.01)
    theta = torch.from_numpy(np.array(model.theta))
    token = np.asarray([[5]])
    caches: dict[str, Any] = {}

    def reading() -> None:
        theta.sum()

    def decoded(flag: str, engine: str, name: str) -> Callable[[], None]:
        moved = model.to(flag)
        moved.engine = engine
        given = nn.backend(flag).asarray(token)
        _, caches[name] = moved.decode(nn.backend(flag).asarray(np.full((1, 32), 7)), moved.new_cache(1))

        def turn() -> None:
            _, caches[name] = moved.decode(given, caches[name])

        return turn

    runs = {
        "nnarray, NumPy with Numba": ("numpy", "auto"),
        "nnarray, NumPy": ("numpy", "numpy"),
        "nnarray, PyTorch with Numba": ("torch", "auto"),
        "nnarray, PyTorch": ("torch", "numpy"),
    }
    turns = {"reading the weights": reading} | {name: decoded(*run, name) for name, run in runs.items()}
    compare(turns, repeats, clock, 1, f"a token of {model.theta.size / 1e6:.0f} million parameters")


def compare(
    turns: dict[str, Callable[[], None]], repeats: int, clock: Callable[[], float], each: int, what: str
) -> None:
    """Turns in rounds; the median time of each, and the median of its ratios to the first in the same round."""
    for turn in turns.values():
        turn()
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(repeats):
        for name, turn in turns.items():
            gc.collect()
            begun = clock()
            turn()
            seconds[name].append((clock() - begun) / each)
    first = seconds[next(iter(turns))]
    print(f"\n{what}, {torch.get_num_threads()} threads")
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, first, strict=True))
        print(
            f"  {name:28} {1e3 * statistics.median(times):9.2f} ms  {1e3 * min(times):9.2f} ms at best  {ratio:6.2f} x"
        )


def main(
    what: Annotated[str, typer.Argument(help="training or decoding.")] = "training",
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each runtime.")] = 9,
    processor_time: Annotated[bool, typer.Option("--processor-time", help="Instead of what the clock says.")] = False,
) -> None:
    """Print the times of each runtime."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    clock = time.process_time if processor_time else time.perf_counter
    {"training": training, "decoding": decoding}[what](repeats, clock)


if __name__ == "__main__":
    typer.run(main)
