"""What several families of operators need: where an operator computes, dtypes by name, and shapes."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnarray.backends import Backend, device_of, dtype_name, host_backend, is_traced, namespace
from nnarray.onnx.graph import DTYPES
from nnarray.random import Key, normal, uniform
from nnarray.recording import Traced, stripped
from nnarray.typing import Namespace

MOST = 2**31
"""The most entries of an array that an operator makes from numbers, so that a damaged file cannot fill the memory."""
FEW = 2**22
"""The most entries while a file is loaded, and of an array that grows without bound by its settings."""
GROWTH = 64
"""How many times an operator may enlarge an array beyond that."""
ENLARGED = 2**24
"""The most entries of an enlarged array while a file is loaded."""
STEPS = 10_000
"""The most operators inside of loops while a file is loaded, so that a loop without an end is noticed."""


@dataclass
class Place:
    """Where a graph computes: a backend, the dtype in which its usual real numbers are computed, and random numbers."""

    backend: Backend
    main: str = "float32"
    """The dtype of most real numbers in the file ..."""
    real: str = "float32"
    """... and that in which they are computed."""
    key: Key | None = None
    is_recording: bool = False
    most: int = MOST
    """The most entries of an array."""
    draws: int = field(default=0)
    steps: int = field(default=0)

    def name(self, dtype: str) -> str:
        """The dtype in which numbers of this dtype in the file are computed."""
        return self.real if dtype == self.main else dtype

    @property
    def is_loading(self) -> bool:
        """Whether a file is loaded, which nobody trusts yet."""
        return self.most < MOST

    def count(self, steps: int) -> None:
        """Note that so many operators run.

        Raises
        ------
        ValueError
            If they are too many while a file is loaded.
        """
        self.steps += steps
        if self.is_loading and self.steps > STEPS:
            raise ValueError(
                f"its loops run more than {STEPS:,} operators for one example. Compute it with nn.onnx.read(path), or "
                f"export it with the shapes of its outputs"
            )

    def next_key(self) -> Key:
        """A key of its own for each operator that draws."""
        self.draws += 1
        return (self.key or Key(0)).fold(self.draws)


@dataclass(frozen=True)
class Call:
    """One operator at work: its place, how many outputs it has, and whether it computes on the host."""

    place: Place
    outputs: int
    on_host: bool = False

    @property
    def backend(self) -> Backend:
        """Where new arrays are made."""
        return host_backend() if self.on_host else self.place.backend

    def dtype(self, name: str | int) -> Any:
        """A dtype by its name, or by its number in files: the nearest that the device has."""
        text = DTYPES.get(name, "") if isinstance(name, int) else name
        if text in ("", "string"):
            raise ValueError(f"there are no arrays of dtype number {name} here")
        return nearest(self.backend, self.place.name(text))

    def room(self, shape: Iterable[int]) -> tuple[int, ...]:
        """The shape, if an array of it may be made; raises as `room`."""
        return room(shape, self.place.most)

    def grown(self, shape: Iterable[int], x: Any) -> tuple[int, ...]:
        """The shape, if an array of it may be made of `x`; raises as `room`."""
        return grown(shape, x, self.place.most)

    def cast(self, x: Any, name: str | int) -> Any:
        """`x` in a dtype by its name or number."""
        wanted = self.dtype(name)
        return x if x.dtype == wanted else space(x).astype(x, wanted)

    def full(self, shape: Sequence[int], value: Any, dtype: Any) -> Any:
        """A new array with the same number everywhere."""
        return self.backend.xp.full(self.room(shape), value, dtype=dtype, device=self.backend.device)

    def arange(self, *bounds: Any, dtype: Any = None) -> Any:
        """Numbers one after the other."""
        return self.backend.xp.arange(*bounds, dtype=dtype or self.dtype("int64"), device=self.backend.device)

    def read(self, x: Any) -> Any:
        """The values of an array on the host; waits for the device."""
        return read(x)

    def uniform(self, shape: Sequence[int], dtype: str | int, seed: Any = None) -> Any:
        """Numbers from 0 to 1, other ones for each operator that draws."""
        settings: dict[str, Any] = {"xp": self.backend.xp, "device": self.backend.device, "dtype": self.dtype(dtype)}
        return uniform(self._key(seed), room(shape), **settings)

    def normal(self, shape: Sequence[int], dtype: str | int, seed: Any = None) -> Any:
        """Normal numbers, other ones for each operator that draws."""
        settings: dict[str, Any] = {"xp": self.backend.xp, "device": self.backend.device, "dtype": self.dtype(dtype)}
        return normal(self._key(seed), room(shape), **settings)

    def _key(self, seed: Any) -> Key:
        key = self.place.next_key()
        return key if seed is None else key.fold(repr(seed))

    def array(self, x: Any, dtype: str | int) -> Any:
        """An array of numbers of Python's."""
        return self.backend.xp.asarray(x, dtype=self.dtype(dtype), device=self.backend.device)


class DependsOnValues(ValueError):
    """What a graph computes depends on values of its inputs, while it is written into a file for all inputs."""


def refuse_written(*arrays: Any) -> None:
    """Refuse to read values of arrays that depend on the inputs of a graph that is written into a file.

    Raises
    ------
    DependsOnValues
        If there is one among them: what follows from its values would hold for these inputs only.
    """
    for x in arrays:
        while isinstance(x, Traced):
            if x.tape is not None and not x.differentiates:
                raise DependsOnValues(
                    "the course of the graph depends on values of its inputs; it cannot be written. Fix the input on "
                    "which it depends, with fixed= of nn.load_onnx, or keep the file that was loaded"
                )
            x = x.value


def read(x: Any) -> Any:
    """The values of an array on the host; waits for the device.

    Raises
    ------
    ValueError
        If they are not known yet, as inside a compiled function; or if a graph is written, see `refuse_written`.
    """
    refuse_written(x)
    bare = stripped(x)
    if is_traced(bare):
        raise ValueError(
            "it reads the values of an array, which a compiled function does not know yet. Call the model outside of "
            "the function that is compiled"
        )
    return host_backend().asarray(bare)


def nearest(be: Backend, name: str) -> Any:
    """The dtype of this name, or the one that stands for it on this device."""
    if name in be.library.weak:
        name = "int32" if name == "uint16" else "int64"
    try:
        return be.dtype(name)
    except ValueError:
        kind = "real floating" if name.startswith("float") else "integral"
        return be.xp.__array_namespace_info__().default_dtypes(device=be.device)[kind]


def space(*arrays: Any) -> Namespace:
    """The namespace of these arrays: that of a recording, if there is one among them."""
    first = None
    for x in arrays:
        if isinstance(x, Traced):
            return x.space
        first = x if first is None else first
    return namespace(first)


def scalar(value: Any, like: Any) -> Any:
    """A number as an array in the place and dtype of another one."""
    bare = like.value if isinstance(like, Traced) else like
    while isinstance(bare, Traced):
        bare = bare.value
    return namespace(bare).asarray(value, dtype=bare.dtype, device=device_of(bare))


def whole(x: Any) -> tuple[int, ...]:
    """Integers of the host as Python's."""
    return (int(x),) if x.ndim == 0 else tuple(map(int, x))


def floats(x: Any) -> tuple[float, ...]:
    """Real numbers of the host as Python's."""
    return (float(x),) if x.ndim == 0 else tuple(map(float, x))


def grown(shape: Iterable[int], x: Any, most: int = MOST) -> tuple[int, ...]:
    """The shape, if an array of it may be made of `x`; raises as `room`."""
    size = math.prod(x.shape)
    least = max(FEW, GROWTH * size)
    return room(shape, least if most == MOST else min(least, max(ENLARGED, size)))


def room(shape: Iterable[int], most: int = MOST) -> tuple[int, ...]:
    """The shape, if an array of it may be made.

    Raises
    ------
    ValueError
        If a size is negative, or there are too many entries.
    """
    sizes = tuple(map(int, shape))
    if min(sizes, default=0) < 0 or math.prod(sizes) > most:
        raise ValueError(
            f"an array of shape {sizes} cannot be made: sizes are at least 0, and {most:,} entries at most"
        )
    return sizes


def axes_of(axes: Any, ndim: int) -> tuple[int, ...]:
    """Axes counted from the first one; None is all of them.

    Raises
    ------
    ValueError
        If there is no such axis.
    """
    if axes is None:
        return tuple(range(ndim))
    if not all(-ndim <= a < ndim for a in axes):
        raise ValueError(f"axes {tuple(axes)} are not all among those of an array with {ndim} axes")
    return tuple(a % ndim for a in axes)


def axis_of(axis: int, ndim: int) -> int:
    """An axis counted from the first one; raises as `axes_of`."""
    return axes_of((axis,), ndim)[0]


def kind(x: Any) -> str:
    """The dtype of an array by name."""
    return dtype_name(x.dtype)


def is_float(x: Any) -> bool:
    """Whether an array has real floating numbers."""
    if isinstance(x, Traced):
        return namespace(x).isdtype(x.dtype, "real floating")
    return _is_real(namespace(x), x.dtype)


@functools.cache
def _is_real(xp: Namespace, dtype: Any) -> bool:
    return xp.isdtype(dtype, "real floating")


def is_unknown(x: Any) -> bool:
    """Whether the values of an array are not known yet, as inside a compiled function."""
    while isinstance(x, Traced):
        x = x.value
    return is_traced(x)


def at(axis: int, part: Any) -> tuple[Any, ...]:
    """The key of a part along one axis."""
    return (*(slice(None),) * axis, part, ...)


def widened(x: Any, pads: Sequence[tuple[int, int]], value: Any = 0, most: int = MOST) -> Any:
    """`x` with entries of one value before and after along each axis; negative numbers take entries away."""
    xp = space(x)
    grown([max(n + sum(each), 0) for n, each in zip(x.shape, pads, strict=True)], x, most)
    for axis, (before, after) in enumerate(pads):
        if before < 0 or after < 0:
            x = x[at(axis, slice(max(-before, 0), x.shape[axis] - max(-after, 0)))]
        sides: list[Any] = []
        for width in (before, after):
            shape = (*x.shape[:axis], max(width, 0), *x.shape[axis + 1 :])
            if hasattr(value, "shape"):
                sides.append(xp.broadcast_to(xp.astype(xp.reshape(value, ()), x.dtype, copy=False), shape))
            else:
                sides.append(xp.full(shape, value, dtype=x.dtype, device=device_of(x)))
        if before > 0 or after > 0:
            parts = ([sides[0]] if before > 0 else []) + [x] + ([sides[1]] if after > 0 else [])
            x = xp.concat(parts, axis=axis)
    return x
