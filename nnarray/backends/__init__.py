"""A flag to an array library and a device: what is usable here, and why not what is not.

This folder and `nnarray/kernels/` are the only ones that know array libraries by name. Everything that *creates*
arrays takes `backend=`; everything else follows the arrays it is given (`namespace`, `same_place`).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import array_api_compat as compat
import numpy as np

from nnarray.names import named, shown
from nnarray.typing import Array, Device, DType, Namespace

log = logging.getLogger("nnarray")

FLOATS = ("float16", "bfloat16", "float32", "float64")
DLPACK_CPU = (1, 0)  # the host among the devices as DLPack numbers them


class BackendNotInstalled(ImportError):
    """The library of a backend is not installed; the message has the command that installs it."""


class BackendUnavailable(RuntimeError):
    """The library is installed but cannot compute here; the message says why and what mends it."""


class OutOfDeviceMemory(MemoryError):
    """The device has not enough free memory; the message says how much was asked for, if the library tells."""


# --- The libraries ---------------------------------------------------------------------------------------------


class Library:
    """What differs between array libraries; the base class holds what most of them share."""

    name: str
    module: str  # what is imported
    distribution: str  # what `pip` calls it
    extra: str  # nnarray[extra] installs it
    compat: str  # the namespace that follows the standard
    weak: tuple[str, ...] = ()  # dtypes that it can hold, and hardly compute with
    engines: tuple[str, ...] = ()  # what computes faster than the layers one by one, the fastest first
    is_host: bool = False  # whether its arrays are the host's own, NumPy's
    imitates: bool = False  # whether it is there to prove what is written, and not to compute with

    def namespace(self) -> Namespace:
        """Import the library and return its standard namespace."""
        try:
            importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name != self.module:
                raise
            raise BackendNotInstalled(f"{self.distribution} is not installed; {self.remedy()}") from error
        return importlib.import_module(self.compat)

    def remedy(self) -> str:
        return f"pip install 'nnarray[{self.extra}]'"

    def version(self) -> str:
        from importlib.metadata import version  # slow to import, and needed by `list_backends` only

        return version(self.distribution)

    def owns(self, x: object) -> bool:
        raise NotImplementedError

    def flags(self) -> list[str]:
        """The flags to list: one a device."""
        return [self.name]

    def device(self, text: str) -> Device:
        """The device named `text`; an empty text is the library's default."""
        if text not in ("", "cpu"):
            raise ValueError(f"backend {self.name!r} computes on the CPU only; got device {text!r}. Use {self.name!r}.")
        return "cpu"

    def from_host(self, host: np.ndarray, dtype: DType, device: Device) -> Array:
        return self.namespace().asarray(host, dtype=dtype, device=device)

    def to_host(self, x: Any) -> np.ndarray:
        return np.asarray(x)

    def borrow(self, x: Any) -> Any:
        """`x` as the plain array that is computed with.

        Raises
        ------
        TypeError
            If it holds its numbers in another way.
        """
        return x

    def converted(self, x: Any, dtype: DType) -> Any:
        """`x`, an array of this library, in another dtype.

        Raises
        ------
        ValueError
            If the dtype cannot hold one of the numbers.
        """
        if x.dtype == dtype or _is_safe(x.dtype, dtype) or self.stands_in(x) or self.traced(x):
            return self.namespace().astype(x, dtype, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is told by an error
            found = self.namespace().astype(x, dtype)
        if not _all_finite(found):
            _refuse_change(self.to_host(x), dtype)
        return found

    def lack(self, name: str) -> str:
        """Why the library has no dtype of this name, where that can be mended."""
        return ""

    def has_record(self, x: Any) -> bool:
        """Whether a gradient with respect to `x` is asked of the library, which records what is computed from it."""
        return False

    def without_record(self, x: Any) -> Any:
        """The same numbers, of which nothing is recorded."""
        return x

    def stands_in(self, x: object) -> bool:
        """Whether `x` stands for a value inside of a function that is being compiled or differentiated."""
        return False

    def traced(self, x: object) -> bool:
        """Whether `x` stands for a value that is not known yet (inside a compiled function)."""
        return False

    def synchronize(self, device: Device) -> None:
        """Wait until the device has done what it was asked to do."""

    def hardware(self, device: Device) -> tuple[str, int | None]:
        """The device's name and its memory in bytes."""
        return "CPU", _host_memory()

    def free(self, device: Device) -> int | None:
        """Bytes of the device that are free, where the library tells."""
        return None

    def explain(self, error: Exception) -> str:
        """Why a first computation failed, and what mends it."""
        return f"{type(error).__name__}: {error}"

    def out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)


class NumPy(Library):
    name = module = distribution = extra = "numpy"
    compat = "array_api_compat.numpy"
    engines = ("numba", "numpy")
    is_host = True

    def remedy(self) -> str:
        return "pip install numpy"

    def owns(self, x: object) -> bool:
        return isinstance(x, np.ndarray | np.generic)

    def borrow(self, x: Any) -> Any:
        """Without what subclasses add: a matrix multiplies another way, and a mask would be lost on the way."""
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError("a masked array would lose its mask; fill it with x.filled(...) or drop the masked rows.")
        return _of_numpy(x if type(x) is np.ndarray else np.asarray(x))


class CuPy(Library):
    name = module = "cupy"
    distribution, extra, compat = "cupy-cuda13x", "cuda13", "array_api_compat.cupy"

    def remedy(self) -> str:
        return "pip install 'nnarray[cuda13]' (CUDA 13) or 'nnarray[cuda12]' (CUDA 12), one of them, never both"

    def version(self) -> str:
        return importlib.import_module("cupy").__version__

    def owns(self, x: object) -> bool:
        return compat.is_cupy_array(x)

    def flags(self) -> list[str]:
        count = importlib.import_module("cupy").cuda.runtime.getDeviceCount()
        return ["cupy", *(f"cupy:{i}" for i in range(1, count))]

    def device(self, text: str) -> Device:
        cuda = importlib.import_module("cupy").cuda
        number = _number(text.removeprefix("cuda:").removeprefix("cuda") or "0", f"cupy:{text}")
        count = cuda.runtime.getDeviceCount()
        if number >= count:
            raise ValueError(f"backend 'cupy:{number}' does not exist: there are {count} devices, counted from 0.")
        device = cuda.Device(number)
        device.use()  # CuPy launches on the current device, wherever the arrays are
        return device

    def to_host(self, x: Any) -> np.ndarray:
        return x.get()

    def synchronize(self, device: Device) -> None:
        device.synchronize()

    def hardware(self, device: Device) -> tuple[str, int | None]:
        properties = importlib.import_module("cupy").cuda.runtime.getDeviceProperties(device.id)
        return properties["name"].decode(), int(properties["totalGlobalMem"])

    def free(self, device: Device) -> int | None:
        cupy = importlib.import_module("cupy")
        return int(device.mem_info[0]) + cupy.get_default_memory_pool().free_bytes()

    def explain(self, error: Exception) -> str:
        runtime = importlib.import_module("cupy").cuda.runtime
        return explain_cuda(cuda_driver_version(), runtime.runtimeGetVersion(), error)

    def out_of_memory(self, error: BaseException) -> bool:
        return type(error).__name__ == "OutOfMemoryError" or super().out_of_memory(error)


class Torch(Library):
    name = module = distribution = extra = "torch"
    compat = "array_api_compat.torch"
    weak = ("uint16", "uint32", "uint64")

    def namespace(self) -> Namespace:
        """As for all; and the children of a fork shall not wait for threads that they do not have."""
        found = super().namespace()
        _children_compute_alone()
        return found

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
        # A copy: PyTorch has no read-only tensors and would let the caller's array be written to.
        return self.namespace().asarray(np.array(host, order="C"), dtype=dtype, device=device)

    def to_host(self, x: Any) -> np.ndarray:
        x = x.detach().cpu()
        return (x.float() if dtype_name(x.dtype) == "bfloat16" else x).numpy()  # NumPy has no bfloat16

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
        return x.detach() if x.requires_grad and not self.stands_in(x) else x  # a record of torch.func's ends with it

    def stands_in(self, x: object) -> bool:
        return importlib.import_module("torch")._C._functorch.is_functorch_wrapped_tensor(x)

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
        return importlib.import_module("torch").cuda.mem_get_info(device)[0] if device.type == "cuda" else None

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


class Jax(Library):
    name = module = distribution = extra = "jax"
    compat = "jax.numpy"

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
            return jax.devices(platform)[_number(number or "0", f"jax:{text}")]
        except (RuntimeError, IndexError) as error:
            found = ", ".join(f"jax:{d.platform}:{d.id}" for d in jax.devices())
            raise BackendUnavailable(f"JAX has no device {text!r}; it has {found}") from error

    def from_host(self, host: np.ndarray, dtype: DType, device: Device) -> Array:
        # A copy: on the CPU JAX may share the memory of a NumPy array that its owner goes on writing to.
        return self.namespace().asarray(np.array(host), dtype=dtype, device=device)

    def to_host(self, x: Any) -> np.ndarray:
        return _of_numpy(np.asarray(x))

    def lack(self, name: str) -> str:
        if "64" not in name or importlib.import_module("jax").config.jax_enable_x64:
            return ""
        return " Set JAX_ENABLE_X64=1 before JAX starts, or call jax.config.update('jax_enable_x64', True)."

    def stands_in(self, x: object) -> bool:
        return isinstance(x, importlib.import_module("jax").core.Tracer)

    def traced(self, x: object) -> bool:
        # Inside `jit` nothing has values, not even what is made of arrays from outside.
        return self.stands_in(x) or self.stands_in(importlib.import_module("jax").numpy.zeros(()))

    def synchronize(self, device: Device) -> None:
        jax = importlib.import_module("jax")
        jax.block_until_ready(jax.live_arrays())

    def hardware(self, device: Device) -> tuple[str, int | None]:
        if device.platform == "cpu":
            return super().hardware(device)
        return device.device_kind, (device.memory_stats() or {}).get("bytes_limit")

    def out_of_memory(self, error: BaseException) -> bool:
        return "RESOURCE_EXHAUSTED" in str(error) or super().out_of_memory(error)


class Strict(Library):
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
        return f"imitation {str(device).split(chr(39))[1]}", _host_memory()


LIBRARIES: dict[str, Library] = {lib.name: lib for lib in (NumPy(), CuPy(), Torch(), Jax(), Strict())}


@cache
def _children_compute_alone() -> None:
    """One thread for PyTorch in a forked process, as its own data loaders have: with more it waits for ever."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: importlib.import_module("torch").set_num_threads(1))


def _number(text: str, flag: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"backend {flag!r} must end in a device number such as 0; got {text!r}.")
    return int(text)


def _host_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def free_host_memory() -> int | None:
    """Bytes of the host's memory that this process may still take; None where no system tells.

    The least of what the machine has left, what its container allows, and the process's own limit (`ulimit -v`).
    """
    free: list[int] = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    with contextlib.suppress(OSError, LookupError, ValueError):  # what other programs' files occupy is free, too
        told = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free[:] = [int(told["MemAvailable"].split()[0]) << 10]
    with contextlib.suppress(OSError, LookupError, ValueError):  # no number, but "max", if there is no limit
        group = Path("/sys/fs/cgroup")
        used = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        limit, current = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        free.append(limit - current + int(used["inactive_file"]))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit, pages = resource.getrlimit(resource.RLIMIT_AS)[0], Path("/proc/self/statm").read_text().split()[0]
        if limit != resource.RLIM_INFINITY:
            free.append(limit - os.sysconf("SC_PAGE_SIZE") * int(pages))
    return max(min(free), 0) if free else None


def cuda_driver_version() -> int | None:
    """The CUDA version that the NVIDIA driver supports, such as 13000; None without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        version = ctypes.c_int()
        return version.value if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 else None
    except (OSError, AttributeError):
        return None


def explain_cuda(driver: int | None, toolkit: int, error: Exception) -> str:
    """Why CUDA does not compute here: no driver, one that is too old, no device, or the error as it came."""
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
        return "a driver but no CUDA device; check `nvidia-smi` and CUDA_VISIBLE_DEVICES"
    if "InitializationError" in str(error) or "forked subprocess" in str(error):
        return "CUDA does not work in a forked process; start processes by multiprocessing's 'spawn'"
    return f"{type(error).__name__}: {error}"


# --- A backend ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backend:
    """An array library and one of its devices, made by `nn.backend(flag)`.

    Attributes
    ----------
    name : str
        The flag that gives this backend again, such as `"torch:cuda:0"`.
    xp : module
        The library's namespace that follows the array API standard.
    device : object
        The device, in the library's own words.
    reason : str
        Why it was chosen, where `"auto"` chose it.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> be.asarray([1, 2, 3], dtype="float32")
    array([1., 2., 3.], dtype=float32)
    """

    name: str
    library: Library = field(repr=False)
    xp: Namespace = field(repr=False)
    device: Device
    reason: str = field(default="", repr=False, compare=False)

    def dtype(self, dtype: object = None) -> DType:
        """The library's dtype of that name; None is the default real floating dtype of the device."""
        if dtype is None:
            return default_float(self.xp, self.device)
        name = dtype_name(dtype)
        found = getattr(self.xp, name, None)
        if found is None or not _computes(self.xp, self.device, found):
            hint = self.library.lack(name)
            raise ValueError(f"backend {self.name!r} has no dtype {name!r}; it has {', '.join(self.dtypes)}.{hint}")
        return found

    def floating(self, dtype: object = None) -> DType:
        """The library's real floating dtype of that name, as parameters need one; None is the default."""
        found = self.dtype(dtype)
        if not self.xp.isdtype(found, "real floating"):
            raise ValueError(f"dtype must be real floating, one of {', '.join(self.dtypes)}; got {dtype!r}.")
        return found

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The real floating dtypes that the device computes with."""
        return tuple(n for n in FLOATS if hasattr(self.xp, n) and _computes(self.xp, self.device, getattr(self.xp, n)))

    def asarray(self, x: Any, dtype: object = None) -> Array:
        """`x` as an array of this backend: the one place where data move between libraries and devices.

        Takes arrays of every known library, whatever else has `__dlpack__`, nested lists, numbers, pandas and Polars
        frames and series. Numbers and lists get the library's default dtype; arrays keep theirs, unless `dtype` says
        otherwise or the device does not have it (float64 becomes float32 on JAX without x64). Floats may be rounded;
        a number that the dtype cannot hold is an error. Missing entries of frames and series become NaN.

        An array of this library that is on this device already comes back as it is, a PyTorch tensor with its gradient
        record. (PyTorch's unsigned integers of more than 8 bits become int64, for it hardly computes with them.) From
        other libraries, CuPy, PyTorch and JAX get a copy, made on the device if that is the same (by DLPack: from CuPy
        to PyTorch on one GPU nothing passes through the host), else through the host. NumPy shares memory wherever it
        can, as `numpy.asarray` does: with a PyTorch tensor on the host, with a JAX array as a read-only view. Copy the
        result if you write into either.

        Raises
        ------
        TypeError
            If `x` holds text, objects, dates or complex numbers, is sparse or a query that is not computed yet, or lies
            where only its own library can fetch it.
        ValueError
            If rows have different lengths, or the dtype does not exist on the device or cannot hold a number.
        """
        wanted = None if dtype is None else self.dtype(dtype)
        owner = library_of(x)
        if owner and owner is not self.library and dtype_name(x.dtype) in owner.weak:
            return self.asarray(owner.to_host(x), dtype)  # as it is: what its own library lacks, another may have
        x = owner.borrow(x) if owner else x
        here = x if owner is self.library else self._exchanged(x, owner)
        if here is not None:
            _refuse_non_numeric(here)
            moved = here if self.library.traced(here) else self.xp.asarray(here, device=self.device)
            return moved if wanted is None else self.library.converted(moved, wanted)
        host = _plain(owner.to_host(x) if owner else _read(x), type(x).__name__)
        if wanted is None:
            wanted = self._nearest(host.dtype, from_python=isinstance(x, list | tuple | int | float))
        if not _is_safe(host.dtype, wanted):
            _refuse_change(host, wanted, self.library.lack(host.dtype.name) if dtype is None else "")
        return self.library.from_host(host, wanted, self.device)

    def to_numpy(self, x: Any) -> np.ndarray:
        """A NumPy array with the values of `x`, an array of any library on any device. Waits for the device."""
        owner = library_of(x)
        return owner.to_host(x) if owner else np.asarray(x)

    def synchronize(self) -> None:
        """Wait until the device has finished all work given to it."""
        self.library.synchronize(self.device)

    def _exchanged(self, x: Any, owner: Library | None) -> Array | None:
        """`x`, an array of another library on this device, copied there through DLPack; None where that cannot be.

        What lies on the host goes by way of NumPy instead, unless its library can copy it first: PyTorch ends the
        process when it is handed negative strides, and nothing tells the strides of an unknown object beforehand.
        """
        if self.library.name == "numpy" or (owner and owner.name == "numpy") or not hasattr(x, "__dlpack__"):
            return None
        try:
            here = tuple(self.xp.zeros((1,), device=self.device).__dlpack_device__())
            if tuple(x.__dlpack_device__()) != here or (owner is None and here == DLPACK_CPU):
                return None
            moved = self.library.borrow(self.xp.from_dlpack(copy(x) if owner else x))
            if owner is None:
                moved = copy(moved)
                self.synchronize()  # whoever owns x may free it as soon as this returns
        except Exception:  # each library has its own words for what it cannot hand over or take: the host can
            return None
        kept = owner is None or dtype_name(moved.dtype) == dtype_name(x.dtype)  # JAX quietly takes a narrower one
        usable = device_of(moved) == self.device and _computes(self.xp, self.device, moved.dtype)
        return moved if kept and usable else None

    def _nearest(self, dtype: np.dtype, *, from_python: bool) -> DType:
        if from_python and dtype.kind == "f":
            return self.dtype()
        found = getattr(self.xp, dtype.name, None)
        if found is not None and _computes(self.xp, self.device, found) and dtype.name not in self.library.weak:
            return found
        kind = "real floating" if dtype.kind == "f" else "integral"
        return self.xp.__array_namespace_info__().default_dtypes(device=self.device)[kind]


def _computes(xp: Namespace, device: Device, dtype: DType) -> bool:
    """Whether the device has the dtype: decided by an array, for JAX quietly gives another one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return xp.zeros((1,), dtype=dtype, device=device).dtype == dtype
    except (TypeError, ValueError, RuntimeError):
        return False


def _read(x: Any) -> np.ndarray:
    """Lists, numbers, data frames and arrays of unknown libraries on the host."""
    _refuse_unread(x, "x")
    if hasattr(x, "columns"):
        return _read_frame(x)
    if hasattr(x, "to_numpy"):
        return _column(x)
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return _read_dlpack(x)
    try:
        host = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"cannot make an array of {type(x).__name__}: {error}") from error
    return host


def _read_dlpack(x: Any) -> np.ndarray:
    """What is known by DLPack alone: shared if it is on the host, else fetched by its own library."""
    where = tuple(map(int, x.__dlpack_device__()))
    try:
        return np.from_dlpack(x) if where == DLPACK_CPU else np.from_dlpack(x, device="cpu")
    except Exception as error:  # each library has its own words for what it cannot hand over
        raise TypeError(
            f"cannot take {type(x).__name__} from DLPack's device {where} to the host: {error}. Move it to the host "
            f"with its own library first, in a dtype that NumPy has."
        ) from error


def _refuse_unread(x: Any, name: str) -> None:
    """What holds its numbers in another way than an array is sent back, with the call that makes it one."""
    for method in ("toarray", "todense"):
        if hasattr(x, method):
            raise TypeError(f"a sparse array cannot be computed with here; make it dense with {name}.{method}().")
    refuse_query(x, name)


def refuse_query(x: Any, name: str) -> None:
    """A frame that is not computed yet is sent back."""
    if hasattr(x, "collect") and not hasattr(x, "__array__"):
        raise TypeError(f"a {type(x).__name__} is a query that is not computed yet; pass {name}.collect().")


def _read_frame(frame: Any) -> np.ndarray:
    """The columns of a frame or a table side by side."""
    if hasattr(frame, "iloc"):  # pandas
        names, parts = frame.columns, [frame.iloc[:, i] for i in range(len(frame.columns))]
    elif hasattr(frame, "get_columns"):  # Polars
        names, parts = frame.columns, frame.get_columns()
    else:  # Arrow
        names, parts = frame.column_names, frame.columns
    columns = [_column(part) for part in parts]
    text = [str(name) for name, column in zip(names, columns, strict=True) if column.dtype.kind not in "biuf"]
    if text:
        raise TypeError(f"columns {text} do not hold numbers; encode or drop them first.")
    return np.stack(columns, axis=1) if columns else np.zeros((len(frame), 0))


def _column(x: Any) -> np.ndarray:
    """One column as numbers; by a list where its library cannot make an array of them, as of integers of 128 bits."""
    try:
        found = np.asarray(x)
    except Exception:  # each library has its own words
        found = np.asarray(x.to_list(), dtype=object)
    return _numbers(found)


def _numbers(column: np.ndarray) -> np.ndarray:
    """Objects of a column as float64 if all are numbers, decimals too; missing ones become NaN."""
    if column.dtype != object:
        return column
    found = [np.nan if each is None or type(each).__name__ == "NAType" else each for each in column.flat]
    every = all(isinstance(each, Real | Decimal | np.bool_) for each in found)
    try:
        return np.asarray(found, dtype=float).reshape(column.shape) if every else column
    except OverflowError:
        return column  # an integer beyond every float, which is refused


def _of_numpy(host: np.ndarray) -> np.ndarray:
    """In a dtype of NumPy's own: bfloat16 and the like, which others add, as float32."""
    return host.astype(np.float32) if host.dtype.isbuiltin == 2 else host


def _is_safe(dtype: DType, wanted: DType) -> bool:
    """Whether `wanted` can hold all numbers of `dtype`, but for the rounding of integers to floats."""
    narrow, wide = (np.dtype(_ON_HOST.get(dtype_name(each), dtype_name(each))) for each in (dtype, wanted))
    return np.can_cast(narrow, wide) or (narrow.kind in "iu" and wide.kind == "f" and wide.itemsize > 2)


_ON_HOST = {"bfloat16": "float32"}  # the same range


def _all_finite(x: Any) -> bool:
    """Whether the dtype of `x` is floating, and all of its numbers are finite."""
    xp = namespace(x)
    return xp.isdtype(x.dtype, "real floating") and bool(xp.all(xp.isfinite(x)))


def _refuse_change(host: np.ndarray, wanted: DType, remedy: str = "") -> None:
    """Refuse what would become another number in the wanted dtype: infinity, another integer, no NaN any more."""
    name = dtype_name(wanted)
    dtype = np.dtype(_ON_HOST.get(name, name))
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.kind == "f":
            changed = np.isinf(host.astype(dtype)) & np.isfinite(host)
        elif dtype.kind == "b":
            changed = (host != 0) & (host != 1)
        else:
            least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
            changed = ~((host >= least) & (host < most + 1) & (host == np.trunc(host)))
    if np.any(changed):
        where = np.unravel_index(int(np.argmax(changed)), host.shape)
        index = f" at index {tuple(map(int, where))}" if where else ""
        raise ValueError(
            f"{name} cannot hold {host[where]!s}, of dtype {host.dtype}{index}.{remedy} Pass another dtype=, or "
            f"change such numbers first."
        )


def _plain(host: np.ndarray, given: str) -> np.ndarray:
    """Native byte order, at most 64 bits and forward strides, which every library can take."""
    if host.dtype == object:
        for index, each in np.ndenumerate(host):
            if isinstance(each, Integral) and not -(2**63) <= each < 2**64:
                raise ValueError(
                    f"no integer dtype can hold {shown(each)}, of {given} at index {index}: int64 ends at 2**63 - 1, "
                    f"uint64 at 2**64 - 1. Pass floats, or change such numbers first."
                )
    if host.dtype.kind not in "biuf":
        raise TypeError(
            f"an array of real numbers is needed; got {given} with dtype {host.dtype}. Convert it to numbers first."
        )
    if host.dtype.kind == "f" and host.dtype.itemsize > 8:
        _refuse_change(host, np.dtype("float64"))
        host = host.astype(np.float64)
    if not host.dtype.isnative:
        host = host.astype(host.dtype.newbyteorder("="))
    return np.ascontiguousarray(host) if any(stride < 0 for stride in host.strides) else host


def _refuse_non_numeric(x: Any, name: str = "") -> None:
    if not namespace(x).isdtype(x.dtype, ("bool", "integral", "real floating")):
        given = f"{name} of dtype" if name else "dtype"
        raise TypeError(
            f"an array of real numbers is needed; got {given} {dtype_name(x.dtype)}. Convert it to numbers first."
        )


# --- Choosing one ----------------------------------------------------------------------------------------------------


def backend(flag: str | Backend | None = None) -> Backend:
    """The array library and device that `flag` names, proved by a computation on it.

    Parameters
    ----------
    flag : str, optional
        `"numpy"`, `"cupy"`, `"cupy:1"`, `"torch"`, `"torch:cuda:0"`, `"jax"`, `"strict"` (array-api-strict, with its
        imitated devices: `"strict:device1"`, ...), or `"auto"`: a GPU that really computes, else NumPy. The environment
        variable `NNARRAY_BACKEND` decides for `"auto"` and None; without it None means `"numpy"`.

    Raises
    ------
    ValueError
        If the flag is not known.
    BackendNotInstalled (an ImportError)
        If the library is missing; the message has the command that installs it.
    BackendUnavailable (a RuntimeError)
        If the library is there but cannot compute: no driver, a driver older than the toolkit, no device.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.backend("numpy").name
    'numpy'
    """
    if isinstance(flag, Backend):
        return flag
    if flag is not None and not isinstance(flag, str):
        raise TypeError(f"backend must be a flag such as 'numpy' or a Backend; got {flag!r}.")
    default = os.environ.get("NNARRAY_BACKEND")
    if flag == "auto" and default and default != "auto":
        return _chosen(_proved(default), f"NNARRAY_BACKEND={default}")
    flag = flag or default or "numpy"
    return _automatic() if flag == "auto" else _proved(flag)


def host_backend() -> Backend:
    """NumPy: where numbers are drawn once for all backends, and where files, pictures and people read them."""
    return backend("numpy")


def _automatic() -> Backend:
    if cuda_driver_version() is None:  # cheap, and saves importing three libraries to learn the same
        return _chosen(_proved("numpy"), "no NVIDIA driver here")
    failures: list[str] = []
    for flag in ("cupy", "torch:cuda:0", "jax:gpu"):
        try:
            return _chosen(_proved(flag), "a GPU that computes")
        except (ImportError, RuntimeError) as error:
            failures.append(str(error))
    return _chosen(_proved("numpy"), "; ".join(failures))


def _chosen(found: Backend, reason: str) -> Backend:
    log.info("backend: %s (%s)", found.name, reason)
    return Backend(found.name, found.library, found.xp, found.device, reason)


@cache
def _proved(flag: str) -> Backend:
    name, _, rest = flag.partition(":")
    library = named(name, LIBRARIES, "backend")
    xp, device = _first_computation(library, flag, rest)
    return Backend(_full_name(library, device, rest), library, xp, device)


def _first_computation(library: Library, flag: str, rest: str) -> tuple[Namespace, Device]:
    """Importing proves nothing: the sum of the squares of 1, 2, 3 does."""
    try:
        xp = library.namespace()
        device = library.device(rest)
        x = xp.asarray([1.0, 2.0, 3.0], dtype=xp.float32, device=device)
        if float(xp.sum(x * x)) != 14.0:
            raise BackendUnavailable("1 + 4 + 9 did not give 14")
        return xp, device
    except BackendNotInstalled as error:
        raise BackendNotInstalled(f"backend {flag!r} cannot be used: {error}", name=library.module) from error
    except ValueError:
        raise
    except BackendUnavailable as error:
        raise BackendUnavailable(f"backend {flag!r} cannot be used: {error}") from error
    except Exception as error:  # every library has its own errors; all of them mean the same here
        raise BackendUnavailable(f"backend {flag!r} cannot be used: {library.explain(error)}") from error


def _full_name(library: Library, device: Device, rest: str) -> str:
    if library.name == "torch":
        return "torch" if device.type == "cpu" else f"torch:{device}"
    return f"{library.name}:{rest}" if rest and rest != "cpu" else library.name


@dataclass(frozen=True)
class BackendInfo:
    """What `nn.list_backends()` tells of one backend: what it is, or why it cannot be used and what mends that."""

    name: str
    usable: bool
    version: str = ""
    device: str = ""
    memory: int | None = None
    dtypes: tuple[str, ...] = ()
    reason: str = ""

    @property
    def imitates(self) -> bool:
        """Whether the library is there to prove what is written, and not to compute with."""
        return LIBRARIES[self.name.partition(":")[0]].imitates

    def __str__(self) -> str:
        if not self.usable:
            return f"{self.name}: {self.reason}"
        memory = f", {self.memory / 2**30:.1f} GiB" if self.memory else ""
        return f"{self.name}: {self.version} on {self.device}{memory} ({', '.join(self.dtypes)})"


def list_backends() -> list[BackendInfo]:
    """Every known backend, usable or not. Imports every library that is installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> [info.name for info in nn.list_backends() if info.usable][0]
    'numpy'
    """
    return [describe(flag) for library in LIBRARIES.values() for flag in _flags(library)]


def _flags(library: Library) -> list[str]:
    try:
        library.namespace()
        return library.flags()
    except Exception:  # not installed, or no device: then there is one line, which says why
        return [library.name]


def describe(flag: str) -> BackendInfo:
    """What is to be said of the backend `flag`."""
    library = LIBRARIES[flag.partition(":")[0]]
    try:
        found = backend(flag)
    except (ImportError, RuntimeError, ValueError) as error:
        version = "" if isinstance(error, BackendNotInstalled) else library.version()
        return BackendInfo(flag, usable=False, version=version, reason=str(error))
    device, memory = library.hardware(found.device)
    return BackendInfo(flag, True, library.version(), device, memory, found.dtypes)


# --- Following the data --------------------------------------------------------------------------------------------


def library_of(x: object) -> Library | None:
    """The library that owns `x`, or None for what is no array of a known one."""
    return next((library for library in LIBRARIES.values() if library.owns(x)), None)


_NAMESPACES: dict[type, Namespace] = {}  # what each type of array answered: a fact about types, found once


def namespace(x: Any) -> Namespace:
    """The standard namespace of the library that owns `x`.

    Raises
    ------
    TypeError
        If `x` is not an array.
    """
    found = _NAMESPACES.get(type(x))
    if found is None:
        try:
            found = compat.array_namespace(x)
        except TypeError as error:
            raise TypeError(
                f"an array is needed; got {type(x).__name__}. Make one with nn.backend('numpy').asarray(...)."
            ) from error
        _NAMESPACES[type(x)] = found
    return found


def device_of(x: Any) -> Device:
    """The device of `x`; None inside a compiled JAX function, where it is not known yet."""
    return compat.device(x)


def default_float(xp: Namespace, device: Device) -> DType:
    """The default real floating dtype of the device."""
    return xp.__array_namespace_info__().default_dtypes(device=device)["real floating"]


def same_place(**arrays: Any) -> Namespace:
    """The namespace that all the arrays share; those given as None are left out.

    Raises
    ------
    TypeError
        If two of them belong to different libraries.
    ValueError
        If two of them are on different devices.
    """
    there = {name: x for name, x in arrays.items() if x is not None}
    (first, x), *others = there.items()
    xp = namespace(x)
    for name, other in others:
        if namespace(other) is not xp:
            raise TypeError(
                f"{first} is an array of {place(x)} and {name} one of {place(other)}: nothing is moved silently. "
                f"Move one of them with nn.backend(...).asarray(...){_or_the_model(first, other)}."
            )
        here, elsewhere = device_of(x), device_of(other)
        if here is not None and elsewhere is not None and here != elsewhere:
            raise ValueError(
                f"{first} is on {place(x)} and {name} on {place(other)}: nothing is moved silently. "
                f"Move one of them with nn.backend(...).asarray(...){_or_the_model(first, None)}."
            )
    return xp


def _or_the_model(first: str, other: Any) -> str:
    """How to move a model to where `other` is."""
    owner = library_of(other)
    return f", or the model: model = model.to({repr(owner.name) if owner else '...'})" if first == "model" else ""


def place(x: Any) -> str:
    """Where `x` lives, in words for an error: `torch (cuda:0)`."""
    owner = library_of(x)
    return f"{owner.name if owner else namespace(x).__name__} ({device_of(x)})"


def as_data(x: Any, name: str) -> Array:
    """`x` as a plain array of real numbers; a tensor of PyTorch keeps its gradient record.

    Raises
    ------
    TypeError
        If `x` is no array, or holds complex numbers, text or objects.
    """
    owner = library_of(x)
    if owner is None and not hasattr(x, "__array_namespace__"):
        _refuse_unread(x, name)
        raise TypeError(
            f"{name} must be an array; got {type(x).__name__}. Make one with nn.backend('numpy').asarray({name})."
        )
    x = owner.borrow(x) if owner else x
    _refuse_non_numeric(x, name)
    return x


def has_record(x: Any) -> bool:
    """Whether PyTorch records what is computed from `x`, because a gradient with respect to it is asked for."""
    owner = library_of(x)
    return owner is not None and owner.has_record(x)


def without_record(x: Any) -> Any:
    """The same numbers without a gradient record, so that no graph of the user's grows."""
    owner = library_of(x)
    return x if owner is None else owner.without_record(x)


@contextlib.contextmanager
def memory_errors(x: Any, remedy: Callable[[int | None], str]) -> Generator[None]:
    """Each library's own error for a full device, that of `x`, as one; `remedy` of the bytes that are free ends it.

    Raises
    ------
    OutOfDeviceMemory
        Instead of what the library raises.
    """
    try:
        yield
    except Exception as error:
        here = backend_of(x)
        if isinstance(error, OutOfDeviceMemory) or not here.library.out_of_memory(error):
            raise
        told = remedy(here.library.free(here.device))
        raise OutOfDeviceMemory(f"no memory left on {place(x)} ({error}). {told}") from error


def stands_in(x: Any) -> bool:
    """Whether `x` stands for a value inside of a function that is being compiled or differentiated."""
    owner = library_of(x)
    return owner is not None and owner.stands_in(x)


def is_traced(x: Any) -> bool:
    """Whether no value of `x` can be looked at, because a function is being compiled (`jax.jit`)."""
    owner = library_of(x)
    return owner is not None and owner.traced(x)


def backend_of(x: Any) -> Backend:
    """The backend of the library and device that hold `x`."""
    owner = library_of(x)
    if owner is None:
        raise TypeError(f"no known backend owns {type(x).__name__}; known are {', '.join(LIBRARIES)}.")
    return Backend(place(x), owner, namespace(x), device_of(x))


def dtype_name(dtype: Any) -> str:
    """`"float32"` for the float32 of any library, as a dtype, a type or a text."""
    text = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or str(dtype)
    return text.rsplit(".", 1)[-1]


def copy(x: Array) -> Array:
    """The same numbers in other memory, without a gradient record."""
    return namespace(x).asarray(without_record(x), copy=True)


def owned(x: Any) -> Any:
    """The same numbers for somebody who derives others from them: nobody else can write to them, where NumPy has them.

    Their bytes are in this machine's order.
    """
    owner = library_of(x)
    if owner is None or owner.name != "numpy":
        return x
    return read_only(x.astype(x.dtype.newbyteorder("=")))


def read_only(x: Any) -> Any:
    """The same memory, where the library can refuse to write into it."""
    owner = library_of(x)
    if owner is None or owner.name != "numpy":
        return x
    view = x.view()
    view.flags.writeable = False
    return view
