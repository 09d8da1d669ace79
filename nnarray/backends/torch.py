"""PyTorch, on the host and on its other devices."""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import Any

import array_api_compat as compat
import numpy as np

from nnarray.backends.cuda import cuda_driver_version, explain_cuda
from nnarray.backends.dtypes import dtype_name
from nnarray.backends.errors import BackendUnavailable
from nnarray.backends.library import Library
from nnarray.typing import Array, Device, DType, Namespace

SHARED = {"float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"}
"""Dtypes in which NumPy computes as well."""

LARGE_PAGES = 2**22
"""Bytes from which NumPy asks for large pages."""


class Torch(Library):
    """PyTorch, which computes on CPUs and GPUs."""

    name = module = distribution = extra = "torch"
    compat = "array_api_compat.torch"
    weak = ("uint16", "uint32", "uint64")
    engines = ("numba", "numpy")  # on the host, whose memory tensors share with NumPy

    def namespace(self) -> Namespace:
        """As for all libraries; also prevents forked processes from waiting for threads that they do not have."""
        xp = super().namespace()
        _children_compute_alone()
        return xp

    def owns(self, x: object) -> bool:
        return compat.is_torch_array(x)

    def flags(self) -> list[str]:
        count = importlib.import_module("torch").cuda.device_count()
        return ["torch", *(f"torch:cuda:{i}" for i in range(max(count, 1)))]

    def device(self, text: str) -> Device:
        torch = importlib.import_module("torch")
        try:
            return torch.empty(0, device=text or "cpu").device  # "cuda" becomes "cuda:0"
        except (AssertionError, RuntimeError) as error:
            kind = text.partition(":")[0]
            why = self.explain(error) if kind in ("cuda", "cpu") else f"this PyTorch has no device {text!r}"
            raise BackendUnavailable(why) from error

    def from_host(self, host: np.ndarray, dtype: DType, device: Device) -> Array:
        # A copy: PyTorch has no read-only tensors, so code could write to the caller's array.
        return self.namespace().asarray(np.array(host, order="C"), dtype=dtype, device=device)

    def copied(self, x: Any) -> Any:
        # In large pages, which only NumPy asks for: many weights are then read up to twice as fast.
        large = x.numel() * x.element_size() >= LARGE_PAGES
        host = self.shared(x) if large and not self.stands_in(x) else None
        return super().copied(x) if host is None else self.from_shared(np.array(host, order="C"))

    def to_host(self, x: Any) -> np.ndarray:
        return _known_to_numpy(x.detach().cpu()).numpy()

    def engines_for(self, x: Any) -> tuple[str, ...]:
        return self.engines if x.device.type == "cpu" else ()

    def shared(self, x: Any) -> np.ndarray | None:
        is_plain = x.device.type == "cpu" and dtype_name(x.dtype) in SHARED and not self.stands_in(x)
        return x.detach().numpy() if is_plain else None

    def from_shared(self, x: np.ndarray) -> Any:
        return importlib.import_module("torch").from_numpy(x)

    def borrow(self, x: Any) -> Any:
        torch = importlib.import_module("torch")
        if x.is_nested:
            raise TypeError(
                "a nested tensor cannot be computed with here; make its rows equal with x.to_padded_tensor(0.0)."
            )
        if x.layout != torch.strided:
            raise TypeError("a sparse tensor cannot be computed with here; make it dense with x.to_dense().")
        if x.is_quantized:
            raise TypeError("a quantized tensor cannot be computed with here; make it float32 with x.dequantize().")
        if x.is_meta:
            raise TypeError("a tensor on the device 'meta' has no numbers; make it on another device, such as 'cpu'.")
        return self.converted(x, torch.int64) if dtype_name(x.dtype) in self.weak else x

    def has_record(self, x: Any) -> bool:
        return x.requires_grad and importlib.import_module("torch").is_grad_enabled()

    def without_record(self, x: Any) -> Any:
        return x.detach() if x.requires_grad and not self.stands_in(x) else x  # a record of torch.func ends with it

    def apart(self, x: Any) -> Any:
        return x.clone()  # in the record

    def is_differentiated(self, x: Any) -> bool:
        forward = importlib.import_module("torch").autograd.forward_ad
        return self.has_record(x) or self.stands_in(x) or forward.unpack_dual(x).tangent is not None

    def detached(self, x: Any) -> Any:
        return x.detach() if self.is_differentiated(x) else x

    def stands_in(self, x: object) -> bool:
        return importlib.import_module("torch")._C._functorch.is_functorch_wrapped_tensor(x)

    def is_read_at_once(self, x: Any) -> bool:
        return x.device.type == "cpu" and not self.stands_in(x)

    def synchronize(self, device: Device) -> None:
        torch = importlib.import_module("torch")
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def hardware(self, device: Device) -> tuple[str, int | None]:
        if device.type != "cuda":
            return super().hardware(device)
        properties = importlib.import_module("torch").cuda.get_device_properties(device)
        return properties.name, properties.total_memory

    def free(self, device: Device) -> int | None:
        if device.type != "cuda":
            return None
        cuda = importlib.import_module("torch").cuda
        kept = cuda.memory_reserved(device) - cuda.memory_allocated(device)  # kept by PyTorch for its next allocations
        return cuda.mem_get_info(device)[0] + kept

    def explain(self, error: Exception) -> str:
        built_for = importlib.import_module("torch").version.cuda
        if "CUDA" not in str(error):
            return super().explain(error)
        if built_for is None:
            return (
                "this PyTorch is built for the CPU only; install the CUDA build that pytorch.org names for this machine"
            )
        major, minor = built_for.split(".")
        return explain_cuda(cuda_driver_version(), 1000 * int(major) + 10 * int(minor), error)

    def out_of_memory(self, error: BaseException) -> bool:
        return type(error).__name__ == "OutOfMemoryError" or super().out_of_memory(error)


def _known_to_numpy(x: Any) -> Any:
    """The tensor in a dtype of NumPy: bfloat16 and 8-bit floats as float32, 32-bit complex numbers as complex64."""
    if x.is_complex() and x.element_size() < 8:
        return x.cfloat()
    if x.is_floating_point() and dtype_name(x.dtype) not in ("float16", "float32", "float64"):
        return x.float()
    return x


@cache
def _children_compute_alone() -> None:
    """Use one thread for PyTorch in a forked process, like its data loaders: with more it would wait for ever."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: importlib.import_module("torch").set_num_threads(1))
