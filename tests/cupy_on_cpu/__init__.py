"""CuPy as it is published, with a CUDA whose devices are the host: what runs on a GPU can be tested without one.

`make cupy-on-cpu` builds it. CuPy's own rules, memory pool, devices and generated sources stay. `cuda/` is a stand-in
for NVIDIA's libraries: it takes memory from the host, has g++ compile each kernel, runs its threads one after the
other, and counts what it is asked for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".cupy-on-cpu"
PACKAGES = FOLDER / "packages"
LIBRARY = FOLDER / "lib" / "libcuda.so.1"
NVRTC = FOLDER / "nvrtc" / "nvidia" / "cu13" / "lib"  # NVIDIA's own compiler
BUILT = FOLDER / "built"  # written when everything else is there

ENVIRONMENT = {
    "CUPY_ON_CPU": str(FOLDER),
    "CUPY_CACHE_DIR": str(FOLDER / "cache"),
    "CUPY_ACCELERATORS": "",  # CUB cannot be compiled for the host
    "CUDA_PATH": str(PACKAGES / "nvidia" / "cu13"),
}


def is_built() -> bool:
    return BUILT.exists()


def use() -> None:
    """From now on `import cupy` takes it, here and in the processes that this one starts."""
    os.environ |= ENVIRONMENT
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(PACKAGES) not in path:
        os.environ["PYTHONPATH"] = os.pathsep.join([each for each in (*path, str(PACKAGES)) if each])
    if str(PACKAGES) not in sys.path:
        sys.path.append(str(PACKAGES))
