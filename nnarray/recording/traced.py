"""A traced array: it follows the array API standard, and a tape records what is computed from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from nnarray.backends import device_of
from nnarray.typing import Device, DType, Namespace, Shape

OPERATORS = {
    "add": "add",
    "and": "bitwise_and",
    "floordiv": "floor_divide",
    "lshift": "bitwise_left_shift",
    "matmul": "matmul",
    "mod": "remainder",
    "mul": "multiply",
    "or": "bitwise_or",
    "pow": "pow",
    "rshift": "bitwise_right_shift",
    "sub": "subtract",
    "truediv": "divide",
    "xor": "bitwise_xor",
}
OTHERS = {
    "abs": "abs",
    "eq": "equal",
    "ge": "greater_equal",
    "getitem": "getitem",
    "gt": "greater",
    "invert": "bitwise_invert",
    "le": "less_equal",
    "lt": "less",
    "ne": "not_equal",
    "neg": "negative",
    "pos": "positive",
}

# Functions of the standard under the names by which libraries hand them on.
ALSO = dict(
    pair.split("=")
    for pair in str.split(
        "absolute=abs arccos=acos arccosh=acosh arcsin=asin arcsinh=asinh arctan=atan arctan2=atan2 arctanh=atanh "
        "concatenate=concat div=divide power=pow transpose=permute_dims true_divide=divide"
    )
)
ALSO |= OPERATORS | OTHERS

# What to write instead of usual functions that are not in the standard.
INSTEAD = {
    "amax": "xp.max(x)",
    "amin": "xp.min(x)",
    "average": "xp.mean(x)",
    "bmm": "x1 @ x2",
    "copy": "xp.asarray(x, copy=True)",
    "clamp": "xp.clip(x, low, high)",
    "cumprod": "xp.cumulative_prod(x, axis=0)",
    "cumsum": "xp.cumulative_sum(x, axis=0)",
    "dot": "xp.vecdot(x1, x2) for vectors, x1 @ x2 for matrices",
    "einsum": "x1 @ x2, xp.vecdot or xp.tensordot",
    "exp2": "2.0**x",
    "gradient": "xp.diff(x)",
    "hstack": "xp.concat([x1, x2], axis=1)",
    "inner": "xp.vecdot(x1, x2)",
    "mm": "x1 @ x2",
    "mv": "x1 @ x2",
    "nan_to_num": "xp.where(xp.isnan(x), 0.0, x)",
    "norm": "xp.linalg.vector_norm(x) or xp.linalg.matrix_norm(x)",
    "ravel": "xp.reshape(x, (-1,))",
    "relu": "xp.maximum(x, 0.0)",
    "sigmoid": "1.0 / (1.0 + xp.exp(-x))",
    "swapaxes": "xp.moveaxis(x, 0, 1)",
    "vdot": "xp.vecdot(x1, x2)",
    "vstack": "xp.concat([x1, x2], axis=0)",
}

# What to write instead of functions of arrays that have a name of the standard, but another meaning.
OF_STACKS = {name: f"xp.linalg.{name}(x)" for name in ("diagonal", "trace")}  # of the first, not the last two axes
OF_TENSORS = {
    "cross": "xp.linalg.cross(x1, x2)",
    "equal": "xp.all(x1 == x2)",
    "meshgrid": 'xp.meshgrid(x1, x2, indexing="ij")',
    "nonzero": "xp.nonzero(x)",
    "qr": "xp.linalg.qr(x)",
    "sort": "xp.sort(x)",
    "std": "xp.std(x, correction=1)",
    "svd": "xp.linalg.svd(x, full_matrices=False)",
    "var": "xp.var(x, correction=1)",
}


def refused(name: str) -> NoReturn:
    """Raise TypeError for a function that is not in the standard."""
    instead = f", such as {INSTEAD[name]}" if name in INSTEAD else ""
    raise TypeError(
        f"{name} is no function of the array API standard with a gradient, so that it cannot be recorded. Write it "
        f"with functions of xp = x.__array_namespace__(){instead}, or give its gradient with nn.custom_gradient."
    )


def _other(name: str, instead: str) -> NoReturn:
    raise TypeError(
        f"this {name} is not the one of the array API standard, so that it cannot be recorded. Write {instead} with "
        f"xp = x.__array_namespace__()."
    )


def _refuse_of_stacks(function: Any, inputs: Any) -> None:
    """Raise TypeError for a function of matrices that takes other axes of arrays with more than two."""
    instead = None if "linalg" in str(getattr(function, "__module__", "")) else OF_STACKS.get(function.__name__)
    if instead and any(getattr(x, "ndim", 0) > 2 for x in inputs):
        _other(function.__name__, instead)


def _writing(name: str) -> NoReturn:
    raise TypeError(
        f"{name} would write a recorded result into an array that does not record, as `y += x` does. Make a new array: "
        f"y = y + x."
    )


def set_operators(kind: Any, space: Any) -> None:
    """Make functions of a namespace the operators of a class of traced arrays. `x += y` makes x another array."""
    kind.space = space
    for operator, function in (OPERATORS | OTHERS).items():
        setattr(kind, f"__{operator}__", getattr(space, function))
    for operator, function in OPERATORS.items():
        setattr(kind, f"__r{operator}__", _reflected(getattr(space, function)))


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: function(other, self)


class Traced:
    """An array of real floating numbers whose computations are recorded; each library has a class of its own.

    Without a tape it is a constant, on which nothing depends that is differentiated.
    """

    __slots__ = ("slot", "tape", "value")
    space: ClassVar[Any]  # the traced namespace
    functions: ClassVar[dict[str, Any]]  # all of it, with its parts, by name
    differentiates: ClassVar[bool] = True  # not where a graph is read

    def __init__(self, value: Any, tape: Any = None, slot: int = 0) -> None:
        self.value, self.tape, self.slot = value, tape, slot

    # --- What an array says of itself -------------------------------------------------------------------------------

    def __array_namespace__(self, *, api_version: str | None = None) -> Namespace:
        return self.space

    @property
    def shape(self) -> Shape:
        return tuple(self.value.shape)

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def dtype(self) -> DType:
        return self.value.dtype

    @property
    def device(self) -> Device:
        return device_of(self.value)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def __iter__(self) -> Any:
        return iter(
            [self.space.getitem(self, (i, ...)) for i in range(len(self))]
        )  # not every library refuses an index beyond the last one

    def __deepcopy__(self, memo: Any) -> Any:
        return self.space.positive(self)  # of the same record

    def __repr__(self) -> str:
        return f"Traced({self.value!r})"

    def __format__(self, form: str) -> str:
        return format(self.value, form)

    def __bool__(self) -> bool:
        return bool(self.value)  # a branch is taken by a value; its derivative is that of the branch

    # --- What cannot be recorded ------------------------------------------------------------------------------------

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(
            f"{what} would take the number out of the recording, and its gradient would be lost. Compute with the "
            f"array itself and the functions of xp = x.__array_namespace__(), such as xp.stack for an array of arrays "
            f"and xp.zeros for one to be written to; to use it as a constant, nn.stop_gradient(x)."
        )

    def __getattr__(self, name: str) -> NoReturn:
        no_attribute = f"arrays of the array API standard have no attribute {name!r}"
        if name in INSTEAD:
            raise AttributeError(f"{no_attribute}. Write {INSTEAD[name]} with xp = x.__array_namespace__().")
        if name.startswith("_") or not hasattr(self.space, name):
            raise AttributeError(f"{no_attribute}.")
        raise AttributeError(
            f"{no_attribute}, but their namespace has this function: xp.{name}(x, ...) with "
            f"xp = x.__array_namespace__()."
        )

    def __float__(self) -> float:
        self._refuse("float(x)")

    def __int__(self) -> int:
        self._refuse("int(x)")

    def __index__(self) -> int:
        self._refuse("the use of x as an index or a count")

    def __complex__(self) -> complex:
        self._refuse("complex(x)")

    def item(self) -> NoReturn:
        self._refuse("x.item()")

    def tolist(self) -> NoReturn:
        self._refuse("x.tolist()")

    def __array__(self, *_: Any, **__: Any) -> Any:
        self._refuse("a conversion of x, such as asarray(x),")

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        self._refuse("an export of x, such as from_dlpack(x),")

    def __dlpack_device__(self) -> Any:
        return self.value.__dlpack_device__()

    __hash__ = None  # as arrays  # pyright: ignore[reportAssignmentType]

    # --- Protocols by which a library hands its own functions on -----------------------------------------------------

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        if method != "__call__":
            self._refuse(f"{function.__name__}.{method}")
        if "out" in settings:
            _writing(function.__name__)
        return self._named(function)(*inputs, **settings)

    def __array_function__(self, function: Any, types: Any, inputs: Any, settings: Any) -> Any:
        _refuse_of_stacks(function, inputs)
        return self._named(function)(*inputs, **settings)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, inputs: Any = (), settings: Any = None) -> Any:
        name = function.__name__
        if name == "__setitem__" or (name.endswith("_") and not name.startswith("__")):
            _writing(name)
        if name in OF_TENSORS:
            _other(name, OF_TENSORS[name])
        if name == "where" and hasattr(function, "__objclass__"):  # the method's first argument is no condition
            _other(name, "xp.where(condition, x1, x2)")
        _refuse_of_stacks(function, inputs)
        return cls._named(function)(*inputs, **(settings or {}))

    @classmethod
    def _named(cls, function: Any) -> Any:
        """The function of the standard with this name.

        Raises
        ------
        TypeError
            If there is none.
        """
        name: str = function.__name__.strip("_")
        found = cls.functions.get(ALSO.get(name, name))
        return found if callable(found) else refused(name)  # `fft` is a function to some, and a part here

    # --- What changes an array makes it another one ------------------------------------------------------------------

    def __setitem__(self, key: Any, value: Any) -> None:
        """`x[key] = value` makes x another array; what x was computed from, and what was given, stay as they are."""
        new = self.space.put_at(self, key, value)
        self.value, self.tape, self.slot = new.value, new.tape, new.slot

    @property
    def T(self) -> Any:
        if self.ndim != 2:
            raise ValueError(f"x.T is for matrices; x has shape {self.shape}. Use x.mT, or xp.permute_dims(x, axes).")
        return self.space.matrix_transpose(self)

    @property
    def mT(self) -> Any:
        return self.space.matrix_transpose(self)

    def to_device(self, device: Device, /, *, stream: Any = None) -> Any:
        return self.space.to_device(self, device)


def stripped(x: Any) -> Any:
    """The value of an array at the bottom of all recordings; anything else as it is."""
    while isinstance(x, Traced):
        x = x.value
    return x


def unwrapped(x: Any) -> Any:
    """`x`, or its value if it is a constant."""
    while isinstance(x, Traced) and x.tape is None:
        x = x.value
    return x
