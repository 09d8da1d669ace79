"""Data of four times the memory that a process may take: trained on to the bits of those in memory, also if killed."""

from __future__ import annotations

import json
import os
import resource
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
from pyarrow import parquet

from tests.processes import run

# What is read at a time is made smaller, as befits so little memory; Arrow counts with the limit in malloc alone.
CHILD = """
    import hashlib, json, os, resource, signal, sys
    from pathlib import Path
    import numpy as np
    import nnarray as nn
    from nnarray.apps.workflow import steps
    from nnarray.datasets import sources
    from nnarray.tables import mapped
    from nnarray.training import checkpoints

    data, few, out, facts = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    mapped.ROWS, sources.PART, checkpoints.FEW = 1536, 1 << 22, 64
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
ENVIRONMENT |= {"ARROW_DEFAULT_MEMORY_POOL": "system"}

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts so on Linux alone")


def write_table(path: Path, rows: int, columns: int) -> Path:
    X = np.random.default_rng(0).normal(size=(rows, columns - 1))
    named = {f"x{j}": X[:, j] for j in range(columns - 1)}
    parquet.write_table(pa.table(named | {"y": X.sum(axis=1)}), path, compression=None, row_group_size=4096)
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
    words = (sys.executable, "-c", code, str(data), str(few), str(data.with_name(out)), json.dumps(facts))
    return run(*words, env=environment, preexec_fn=with_small_stacks, check=False)


def with_small_stacks() -> None:
    """Of threads, whose memory counts as soon as they begin."""
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))


def assert_trains_in_a_quarter(data: Path, size: int) -> None:
    """Killed in the pass, killed in the training, and gone on with."""
    limit, cache = size // 4, data.with_name("cache")
    cache.mkdir()
    little: dict[str, Any] = {"limit": limit, "cache": str(cache)}
    inside = child(data, "inside.safetensors", stream=False)
    assert inside.returncode == 0, inside.stderr
    refused = child(data, "refused.safetensors", stream=False, limit=limit)
    assert "MemoryError" in refused.stderr
    assert child(data, "outside.safetensors", **little, kill_at=100).returncode == -signal.SIGKILL
    assert [path.suffix for path in cache.iterdir()] == [".part"]
    assert child(data, "outside.safetensors", **little, kill_after=1).returncode == -signal.SIGKILL
    kept = {path.name for path in cache.iterdir()}
    assert {path.suffix for path in cache.iterdir()} == {".nnarray"}
    outside = child(data, "outside.safetensors", **little, resume=True)
    assert outside.stdout == inside.stdout, outside.stderr
    assert {path.name for path in cache.iterdir()} == kept


def test_a_table(tmp_path: Path) -> None:
    write_table(tmp_path / "few t.parquet", 100, 80)
    assert_trains_in_a_quarter(write_table(tmp_path / "t.parquet", 210_000, 80), 210_000 * 80 * 8)


def test_a_folder_of_images(tmp_path: Path) -> None:
    write_images(tmp_path / "few photos", 100)
    assert_trains_in_a_quarter(write_images(tmp_path / "photos", 3_500), 3_500 * 32 * 32 * 3 * 4)
