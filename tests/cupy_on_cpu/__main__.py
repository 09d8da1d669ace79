"""`python -m tests.cupy_on_cpu` builds CuPy on the CPU, or says in one line why that cannot be done here."""

from __future__ import annotations

import platform
import shutil
import sys

from tests.cupy_on_cpu.build import build


def why_not() -> str:
    """What is missing on this machine."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return "it needs Linux on x86-64"
    if shutil.which("g++") is None:
        return "it needs g++, a compiler of C++"
    return ""


if __name__ == "__main__":
    if why := why_not():
        print(f"CuPy on the CPU is not built, and nothing is tested on `cupy`: {why}.")
    else:
        build()
