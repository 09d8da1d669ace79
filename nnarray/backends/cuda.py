"""The CUDA driver, and the reasons why CUDA does not work."""

from __future__ import annotations

import ctypes
import os


def cuda_driver_version() -> int | None:
    """The CUDA version that the NVIDIA driver supports, such as 13000; None without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        version = ctypes.c_int()
        return version.value if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 else None
    except (OSError, AttributeError):
        return None


def explain_cuda(driver: int | None, toolkit: int, error: Exception) -> str:
    """The reason why CUDA does not work: no driver, a driver that is too old, no device, or another error."""
    wanted = f"{toolkit // 1000}.{toolkit % 1000 // 10}"
    if driver is None:
        return "no NVIDIA driver (libcuda) found; install the driver of your GPU, or use another backend"
    if driver // 1000 < toolkit // 1000:
        has = f"{driver // 1000}.{driver % 1000 // 10}"
        other = "pip install 'nnarray[cuda12]'" if driver // 1000 == 12 else "use another backend"
        return (
            f"the NVIDIA driver supports CUDA {has}, older than the toolkit's {wanted}; update the driver, or {other}"
        )
    if "NoDevice" in str(error) or "no CUDA-capable device" in str(error):
        return "there is a driver but no CUDA device; check `nvidia-smi` and CUDA_VISIBLE_DEVICES"
    if "InitializationError" in str(error) or "forked subprocess" in str(error):
        return "CUDA does not work in a forked process; start processes with multiprocessing's 'spawn'"
    return f"{type(error).__name__}: {error}"
