"""Engines: implementations of training steps and predictions. The choice depends on the call only, not on the process.

"layers" is available for every library: each layer computes itself, with the kernels of the library. For NumPy there
is also "numpy", which prepares once what does not change between calls, and "numba", which also compiles loops. Both
train PyTorch's tensors on the host too, in the memory that they share with NumPy. If
they are not faster for a network, the layers compute. For CuPy there is "graph", which records a training step of the
layers and launches all of it at once, and "cudnn", in which the layers compute with convolutions of NVIDIA's library.
For JAX there is "scan", which compiles the steps of an epoch into one loop, and keeps it for later trainings.
"auto" is the fastest engine that is installed, but never "graph" or "cudnn".
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from nnarray.backends import library_of
from nnarray.kernels.compilation import LOOPS, can_loop, cudnn_taken, has_loops, has_module, loops_allowed
from nnarray.names import shown
from nnarray.typing import Array

AUTO, LAYERS, GRAPH, SCAN, CUDNN = "auto", "layers", "graph", "scan", "cudnn"
RECORDING = (GRAPH, SCAN)
"""The engines in which many steps of the layers are launched at once."""


def checked_engine(engine: object, like: Array) -> str:
    """`engine`, checked to be available for arrays like `like`.

    Raises
    ------
    ValueError
        If there is no such engine for this library.
    ImportError
        If a package that it needs is not installed.
    """
    owner = library_of(like)
    names = (AUTO, LAYERS, *_engines_of(like))
    if engine not in names:
        library = owner.name if owner else type(like).__name__
        raise ValueError(f"engine must be one of {', '.join(map(repr, names))} for {library}; got {shown(engine)}.")
    if engine == "numba" and not can_loop():
        raise ImportError("the engine 'numba' needs Numba; pip install 'nnarray[fast]'.")
    if engine == CUDNN and not has_module("cudnn"):
        raise ImportError(
            "the engine 'cudnn' needs cuDNN and its frontend; pip install 'nnarray[cudnn]' nvidia-cudnn-cu13, or "
            "nvidia-cudnn-cu12 for CUDA 12."
        )
    return str(engine)


def resolved(engine: str, like: Array) -> str:
    """The engine for arrays like `like`, if `engine` may be "auto"."""
    if engine != AUTO:
        return engine
    usable = (name for name in _engines_of(like) if name not in (GRAPH, CUDNN) and (name != "numba" or has_loops()))
    return next(usable, LAYERS)


MADE_OF = {
    "numba": LOOPS,
    "numpy": "nnarray.kernels.numpy.chain",
    GRAPH: "nnarray.kernels.cupy.loops",
    SCAN: "nnarray.kernels.jax.loops",
    CUDNN: "nnarray.kernels.cupy.cudnn",
}


def _engines_of(like: Array) -> list[str]:
    """The engines for a library, even if a package that they need is not installed."""
    owner = library_of(like)
    return [name for name in owner.engines_for(like) if has_module(MADE_OF[name])] if owner else []


@contextmanager
def computing(engine: str) -> Generator[None]:
    """A block in which kernels compute according to the engine, in the dtype of their arrays."""
    with loops_allowed(engine in (AUTO, "numba")), cudnn_taken(engine == CUDNN), dtypes_kept():
        yield


@contextmanager
def dtypes_kept() -> Generator[None]:
    """A block without PyTorch's autocast: it would change the dtypes between kernels, which return those they get."""
    torch: Any = sys.modules.get("torch")
    with ExitStack() as stack:
        for kind in ("cpu", "cuda") if hasattr(torch, "autocast") else ():
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
