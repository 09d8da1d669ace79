"""Data of four times the memory that a process may take: trained on to the bits of those in memory, also if killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import feather

from tests.processes import run

# What is read at a time is made smaller, as befits so little memory; Arrow counts with the limit in malloc alone.
CHILD = """
    import hashlib, json, os, resource, signal, sys
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    import numpy as np
    import nnarray as nn
    from nnarray.apps.workflow import steps
    from nnarray.datasets import sources
    from nnarray.tables import mapped
    from nnarray.training import checkpoints

    data, few, out, facts = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    large = np.ones((300, 300))
    mapped.ROWS, sources.PART, checkpoints.FEW = 1024, 1 << 20, 64
    limit, kill_at, kill_after = facts.pop("limit", 0), facts.pop("kill_at", 0), facts.pop("kill_after", 0)
    table = {"target": ("y",), "hidden": (4,), "batch_size": 2048, "validation": 0.2}
    images = {"size": 32, "hidden": (1,), "batch_size": 16, "validation": 0.02}

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    parts = iter(range(1, 1_000_000))

    def watch(what, fraction):
        if next(parts) == kill_at:
            kill()

    def after(run):
        if run.epoch == kill_after:
            kill()

    def trained(data, out, watch, callbacks, **settings):
        plan = steps.Plan(**(table if data.is_file() else images), epochs=2, **settings)
        examples = steps.read(data, plan, watch)
        return steps.train(steps.model_for(data, examples, plan, nn.backend("numpy")), examples, plan, out, callbacks)

    trained(few, out.with_name("few.safetensors"), lambda *_: None, [], stream=True)  # whatever is loaded once
    with ThreadPoolExecutor(4) as pool:  # the library of matrix products keeps a buffer for each thread that multiplies
        list(pool.map(lambda _: [large @ large for _ in range(8)], range(4)))
    if limit:
        lines = dict(line.split(":") for line in open("/proc/self/status"))
        most = (int(lines["VmData"].split()[0]) << 10) + limit
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    if "cache" in facts:
        facts["cache"] = Path(facts["cache"])
    model = trained(data, out, watch, [after] if kill_after else [], **facts).model
    print(hashlib.sha256(np.asarray(model.theta).tobytes()).hexdigest(), json.dumps(model.history["loss"]))
"""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
SMALL_STACKS = ("sh", "-c", 'ulimit -s 1024 && exec "$@"', "sh")  # of threads: they count when these begin
ENVIRONMENT |= {"ARROW_DEFAULT_MEMORY_POOL": "system"}

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts so on Linux alone")


def write_table(path: Path, rows: int, columns: int) -> Path:
    X = np.random.default_rng(0).normal(size=(rows, columns - 1))
    named = {f"x{j}": X[:, j] for j in range(columns - 1)}
    table = pa.table(named | {"y": X.sum(axis=1)})
    feather.write_feather(table, str(path), compression="uncompressed", chunksize=1024)
    return path


def write_images(folder: Path, count: int) -> Path:
    draws = np.random.default_rng(0)
    for k in range(2):
        (folder / "ab"[k]).mkdir(parents=True)
    for i in range(count):
        pixels = draws.integers(0, 256 >> i % 2, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "ab"[i % 2] / f"{i}.bmp")
    return folder


def child(data: Path, out: str, **facts: Any) -> subprocess.CompletedProcess[str]:
    few = data.with_name(f"few {data.name}")
    code, environment = textwrap.dedent(CHILD), os.environ | ENVIRONMENT
    words = (
        *SMALL_STACKS,
        sys.executable,
        "-c",
        code,
        str(data),
        str(few),
        str(data.with_name(out)),
        json.dumps(facts),
    )
    return run(*words, env=environment, check=False)


def assert_trains_in_a_quarter(data: Path, size: int) -> None:
    """Killed after an epoch, and gone on with."""
    little: dict[str, Any] = {"limit": size // 4, "cache": str(data.parent)}
    inside = child(data, "inside.safetensors", stream=False)
    assert inside.returncode == 0, inside.stderr
    assert child(data, "outside.safetensors", **little, kill_after=1).returncode == -signal.SIGKILL
    kept = set(data.parent.glob("*.nnarray"))
    outside = child(data, "outside.safetensors", **little, resume=True)
    assert outside.stdout == inside.stdout, outside.stderr
    assert set(data.parent.glob("*.nnarray")) == kept
    assert not list(data.parent.glob(".*"))


def test_a_table(tmp_path: Path) -> None:
    write_table(tmp_path / "few t.feather", 100, 80)
    data, size = write_table(tmp_path / "t.feather", 120_000, 80), 120_000 * 80 * 8
    assert "MemoryError" in child(data, "refused.safetensors", limit=size // 4, stream=False).stderr
    killed = child(data, "killed.safetensors", limit=size // 4, cache=str(tmp_path), kill_at=70)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".*.part"))) == 1
    assert_trains_in_a_quarter(data, size)


def test_a_folder_of_images(tmp_path: Path) -> None:
    write_images(tmp_path / "few photos", 100)
    assert_trains_in_a_quarter(write_images(tmp_path / "photos", 3_500), 3_500 * 32 * 32 * 3 * 4)
