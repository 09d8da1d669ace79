"""Choosing a backend by a flag or automatically, checked by a computation."""

from __future__ import annotations

import logging
import os
from functools import cache

from nnarray.backends.cuda import cuda_driver_version
from nnarray.backends.errors import BackendNotInstalled, BackendUnavailable
from nnarray.backends.library import Library
from nnarray.backends.library_and_device import Backend
from nnarray.backends.registry import LIBRARIES
from nnarray.names import also, named
from nnarray.typing import Device, Namespace

log = logging.getLogger("nnarray")


GPU_PAYS_FROM = 100_000  # parameters: an estimate, not measured, see `gpu_pays`


def gpu_pays(parameters: int | None) -> bool:
    """Whether "auto" looks for a GPU, for a network with this number of parameters; None if it is not known yet.

    On a GPU, a step takes about fifty launches of about 10 microseconds each, even for a small network. In that
    time one core of a CPU, with 40 billion operations per second, computes the 6 P B operations of dense layers
    with P = 100,000 parameters for B = 32 examples.
    """
    return parameters is None or parameters >= GPU_PAYS_FROM


def backend(flag: str | Backend | None = None, *, parameters: int | None = None) -> Backend:
    """The array library and device named by `flag`, checked by a computation on it.

    Parameters
    ----------
    flag : str, optional
        `"numpy"`, `"cupy"`, `"cupy:1"`, `"torch"`, `"torch:cuda:0"`, `"jax"`, `"strict"` (array-api-strict, with
        simulated devices: `"strict:device1"`, ...), or `"auto"`: a GPU if one computes, else NumPy. The environment
        variable `NNARRAY_BACKEND` replaces `"auto"` and None; without it, None means `"numpy"`.
    parameters : int, optional
        The number of parameters of the network, used by `"auto"` only. Below 100,000 it chooses NumPy, as the
        launches of each step would take longer than a GPU saves.

    Raises
    ------
    ValueError
        If the flag is unknown.
    BackendNotInstalled (an ImportError)
        If the library is not installed; the message has the command to install it.
    BackendUnavailable (a RuntimeError)
        If the library is installed but cannot compute: no driver, a driver older than the toolkit, no device.

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
    return _automatic(parameters) if flag == "auto" else _proved(flag)


def host_backend() -> Backend:
    """NumPy: here numbers are drawn once for all backends, and read from files and images."""
    return backend("numpy")


def _automatic(parameters: int | None) -> Backend:
    if not gpu_pays(parameters):
        return _chosen(_proved("numpy"), f"a GPU does not pay below {GPU_PAYS_FROM:,} parameters")
    if cuda_driver_version() is None:  # cheap, and avoids importing three libraries
        return _chosen(_proved("numpy"), "no NVIDIA driver found")
    failures: list[str] = []
    for flag in ("cupy", "torch:cuda:0", "jax:gpu"):
        try:
            return _chosen(_proved(flag), "a GPU that computes")
        except (ImportError, RuntimeError) as error:
            failures.append(str(error))
    return _chosen(_proved("numpy"), "; ".join(failures))


def _chosen(be: Backend, reason: str) -> Backend:
    log.info("backend: %s (%s)", be.name, reason)
    return Backend(be.name, be.library, be.xp, be.device, reason)


@cache
def _proved(flag: str) -> Backend:
    name, _, rest = flag.partition(":")
    _refuse_kind_of_device(flag, name)
    library = named(name, LIBRARIES, "backend", NAMES)
    xp, device = _first_computation(library, flag, rest)
    return Backend(_full_name(library, device, rest), library, xp, device)


NAMES = also(numpy="np", cupy="cp", torch="pytorch", strict="array_api_strict", absent="tensorflow keras mlx dask")
"""Other names of the libraries."""

ON_DEVICES = {
    **dict.fromkeys(
        ("gpu", "cuda", "nvidia"), "For a GPU, pass 'cupy', 'torch:cuda:0' or 'jax:gpu', or 'auto' to look for one."
    ),
    **dict.fromkeys(("mps", "xpu", "hip", "rocm"), "For this device, pass 'torch:{}'."),
    "tpu": "For this device, pass 'jax:tpu'.",
    "cpu": "For the CPU, pass 'numpy', or 'torch' or 'jax'.",
}


def _refuse_kind_of_device(flag: str, name: str) -> None:
    """Refuse the name of a device without that of the library that computes there."""
    if name.lower() in ON_DEVICES:
        raise ValueError(
            f"unknown backend {flag!r}: a backend is a library, such as 'numpy', and perhaps its device. "
            f"{ON_DEVICES[name.lower()].format(name.lower())}"
        )


def _first_computation(library: Library, flag: str, rest: str) -> tuple[Namespace, Device]:
    """The backend, checked by computing 1 + 4 + 9, as a successful import is not enough."""
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
    except Exception as error:  # each library has its own errors, with the same meaning here
        raise BackendUnavailable(f"backend {flag!r} cannot be used: {library.explain(error)}") from error


def _full_name(library: Library, device: Device, rest: str) -> str:
    if library.name == "torch":
        return "torch" if device.type == "cpu" else f"torch:{device}"
    return f"{library.name}:{rest}" if rest and rest != "cpu" else library.name
