"""array-api-strict, which implements exactly the array API standard."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from nnarray.backends.host import host_memory
from nnarray.backends.library import Library
from nnarray.typing import Device


class Strict(Library):
    """array-api-strict, which implements exactly the array API standard."""

    name, module, extra = "strict", "array_api_strict", "strict"
    distribution, compat = "array-api-strict", "array_api_strict"
    imitates = True

    def owns(self, x: object) -> bool:
        return type(x).__module__.startswith("array_api_strict")

    def flags(self) -> list[str]:
        strict = importlib.import_module(self.module)
        others = [d for d in strict.__array_namespace_info__().devices() if d != strict.Device("CPU_DEVICE")]
        return ["strict", *(f"strict:{str(d).split(chr(39))[1]}" for d in others)]

    def device(self, text: str) -> Device:
        strict = importlib.import_module(self.module)
        try:
            return strict.Device(text or "CPU_DEVICE")
        except ValueError as error:
            known = ", ".join(self.flags())
            raise ValueError(f"backend 'strict:{text}' does not exist; use one of {known}.") from error

    def to_host(self, x: Any) -> np.ndarray:
        strict = importlib.import_module(self.module)
        return np.asarray(x.to_device(strict.Device("CPU_DEVICE")))

    def hardware(self, device: Device) -> tuple[str, int | None]:
        return f"imitation {str(device).split(chr(39))[1]}", host_memory()
