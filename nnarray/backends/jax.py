"""JAX, on the host and on its other devices."""

from __future__ import annotations

import importlib
from typing import Any

import array_api_compat as compat
import numpy as np

from nnarray.backends.dtypes import of_numpy
from nnarray.backends.errors import BackendUnavailable
from nnarray.backends.library import Library, device_number
from nnarray.typing import Array, Device, DType


class Jax(Library):
    """JAX, which compiles computations."""

    name = module = distribution = extra = "jax"
    compat = "jax.numpy"
    compiles = True
    engines = ("scan",)

    def owns(self, x: object) -> bool:
        return compat.is_jax_array(x)

    def flags(self) -> list[str]:
        jax = importlib.import_module("jax")
        return ["jax", *(f"jax:{d.platform}:{d.id}" for d in jax.devices()[1:])]

    def device(self, text: str) -> Device:
        jax = importlib.import_module("jax")
        if not text:
            return jax.devices()[0]
        platform, _, number = text.partition(":")
        try:
            return jax.devices(platform)[device_number(number or "0", f"jax:{text}")]
        except (RuntimeError, IndexError) as error:
            names = ", ".join(f"jax:{d.platform}:{d.id}" for d in jax.devices())
            raise BackendUnavailable(f"JAX has no device {text!r}; it has {names}") from error

    def from_host(self, host: np.ndarray, dtype: DType, device: Device) -> Array:
        # A copy: on the CPU JAX may share the memory of a NumPy array, to which its owner may write later.
        return self.namespace().asarray(np.array(host), dtype=dtype, device=device)

    def to_host(self, x: Any) -> np.ndarray:
        return of_numpy(np.asarray(x))

    def lack(self, name: str) -> str:
        if "64" not in name or importlib.import_module("jax").config.jax_enable_x64:
            return ""
        return " Set JAX_ENABLE_X64=1 before JAX starts, or call jax.config.update('jax_enable_x64', True)."

    def apart(self, x: Any) -> Any:
        return x  # nobody can write to it

    def detached(self, x: Any) -> Any:
        return importlib.import_module("jax").lax.stop_gradient(x) if self.stands_in(x) else x

    def stands_in(self, x: object) -> bool:
        return isinstance(x, importlib.import_module("jax").core.Tracer)

    def traced(self, x: object) -> bool:
        # Inside `jit` no array has values, not even one made from arrays from outside.
        return self.stands_in(x) or self.stands_in(importlib.import_module("jax").numpy.zeros(()))

    def is_read_at_once(self, x: Any) -> bool:
        return not self.traced(x) and all(device.platform == "cpu" for device in x.devices())

    def synchronize(self, device: Device) -> None:
        jax = importlib.import_module("jax")
        jax.block_until_ready(jax.live_arrays())

    def hardware(self, device: Device) -> tuple[str, int | None]:
        if device.platform == "cpu":
            return super().hardware(device)
        return device.device_kind, (device.memory_stats() or {}).get("bytes_limit")

    def out_of_memory(self, error: BaseException) -> bool:
        return "RESOURCE_EXHAUSTED" in str(error) or super().out_of_memory(error)
