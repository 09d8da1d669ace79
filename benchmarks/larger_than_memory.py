"""A table that is larger than the memory: seconds and megabytes of a training from the disk, beside one in memory.

    python benchmarks/larger_than_memory.py --rows 2000000 --columns 40

Each training runs in a process of its own. `limit` is what it may take for its data in MiB (RLIMIT_DATA), beside what
it has when everything is imported; with one, a training in memory is tried under it, too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

# All memory is from malloc, which the limit counts; what Arrow sets aside for later would be counted before.
COUNTED = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}

TRAIN = """
import hashlib, json, resource, sys, time
from pathlib import Path
import numpy as np
import nnarray as nn
from nnarray.apps.workflow import steps
data, stream, limit = Path(sys.argv[1]), sys.argv[2] == "disk", int(sys.argv[3])

def private():
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return int(lines["RssAnon"].split()[0]) / 1024

import threading
peak, before = 0.0, private()
def watch():
    global peak
    while True:
        peak = max(peak, private())
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
def trained(data, **settings):
    plan = steps.Plan(target=("y",), epochs=1, **settings)
    examples = steps.read(data, plan)
    read = time.perf_counter(), peak
    model = steps.model_for(data, examples, plan, nn.backend("numpy"))
    return steps.train(model, examples, plan, data.with_suffix(f".{sys.argv[2]}.safetensors")), read
trained(data.with_name("few.parquet"), stream=True)  # whatever is loaded and started once
if limit:
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    most = (int(lines["VmData"].split()[0]) << 10) + (limit << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
peak, before, start = 0.0, private(), time.perf_counter()
done, (read, reading) = trained(data, stream=stream)
facts = {"read s": round(read - start, 1), "epoch s": round(done.model.history["seconds"][-1], 2)}
facts |= {"peak in reading": round(reading), "private MiB before": round(before), "at most": round(peak)}
print(json.dumps(facts | {"theta": hashlib.sha256(np.asarray(done.model.theta).tobytes()).hexdigest()[:16]}))
"""


def written(rows: int, columns: int, path: Path) -> None:
    """A table of numbers, part by part."""
    draws, weights = np.random.default_rng(0), np.linspace(-1, 1, columns)
    schema = pa.schema([*((f"x{i}", pa.float64()) for i in range(columns)), ("y", pa.float64())])
    with parquet.ParquetWriter(path, schema, compression=None) as writer:
        for start in range(0, rows, 100_000):
            X = draws.normal(size=(min(100_000, rows - start), columns))
            writer.write_table(pa.table([*X.T, X @ weights], schema=schema), row_group_size=10_000)


def main() -> None:
    """Measure, and print a line for each place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--limit", type=int, default=0, help="MiB, for the training from the disk; 0: none")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path = Path(folder, "table.parquet")
        written(settings.rows, settings.columns, path)
        written(1000, settings.columns, path.with_name("few.parquet"))
        print(f"{path.stat().st_size / 2**20:,.0f} MiB, {settings.rows:,} rows, {settings.columns} columns")
        for place, limit in (
            ("memory", 0),
            *((("memory", settings.limit),) if settings.limit else ()),
            ("disk", settings.limit),
        ):
            command = [sys.executable, "-c", TRAIN, str(path), place, str(limit)]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | COUNTED)
            print(
                place,
                limit or "",
                json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip().splitlines()[-1:],
            )


if __name__ == "__main__":
    main()
