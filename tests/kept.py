"""What is compiled once for many sessions of the tests; `pytest --cache-clear` empties it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

KEPT = Path(__file__).parents[1] / ".pytest_cache" / "d"
LARGEST = 1e9  # bytes of programs, of many versions of the sources, from which a session begins anew


def programs() -> str:
    """The folder of what JAX compiles."""
    folder = KEPT / "jax"
    folder.mkdir(parents=True, exist_ok=True)
    if sum(each.stat().st_size for each in os.scandir(folder)) > LARGEST:
        shutil.rmtree(folder)
    return str(folder)
