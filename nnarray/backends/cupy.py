"""CuPy, which computes on NVIDIA GPUs."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import array_api_compat as compat
import numpy as np

from nnarray.backends.cuda import cuda_driver_version, explain_cuda
from nnarray.backends.library import Library, device_number
from nnarray.typing import Device


class CuPy(Library):
    """CuPy, which computes on NVIDIA GPUs."""

    name = module = "cupy"
    distribution, extra, compat = "cupy-cuda13x", "cuda13", "nnarray.backends.cupy_namespace"
    engines = ("graph", "cudnn")

    def remedy(self) -> str:
        return "pip install 'nnarray[cuda13]' (CUDA 13) or 'nnarray[cuda12]' (CUDA 12), but not both"

    def version(self) -> str:
        return importlib.import_module("cupy").__version__

    def owns(self, x: object) -> bool:
        return compat.is_cupy_array(x)

    def flags(self) -> list[str]:
        count = importlib.import_module("cupy").cuda.runtime.getDeviceCount()
        return ["cupy", *(f"cupy:{i}" for i in range(1, count))]

    def device(self, text: str) -> Device:
        cuda = importlib.import_module("cupy").cuda
        number = device_number(text.removeprefix("cuda:").removeprefix("cuda") or "0", f"cupy:{text}")
        count = cuda.runtime.getDeviceCount()
        if number >= count:
            raise ValueError(f"backend 'cupy:{number}' does not exist: there are {count} devices, counted from 0.")
        return cuda.Device(number)

    def follow(self, x: Any) -> None:
        x.device.use()  # CuPy launches on the current device of this thread, not on that of the arrays

    def device_kept(self) -> AbstractContextManager[object]:
        try:
            return importlib.import_module("cupy").cuda.Device()  # the current one, restored at the end
        except Exception:  # no CuPy, or no device: nothing to restore
            return nullcontext()

    def to_host(self, x: Any) -> np.ndarray:
        return x.get()

    def synchronize(self, device: Device) -> None:
        device.synchronize()

    def hardware(self, device: Device) -> tuple[str, int | None]:
        properties = importlib.import_module("cupy").cuda.runtime.getDeviceProperties(device.id)
        return properties["name"].decode(), int(properties["totalGlobalMem"])

    def free(self, device: Device) -> int | None:
        with device:  # each device has its own pool
            return int(device.mem_info[0]) + importlib.import_module("cupy").get_default_memory_pool().free_bytes()

    def explain(self, error: Exception) -> str:
        runtime = importlib.import_module("cupy").cuda.runtime
        return explain_cuda(cuda_driver_version(), runtime.runtimeGetVersion(), error)

    def out_of_memory(self, error: BaseException) -> bool:
        return type(error).__name__ == "OutOfMemoryError" or super().out_of_memory(error)
