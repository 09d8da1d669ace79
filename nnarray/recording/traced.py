"""A traced array: it follows the array API standard, and a tape records what is computed from it."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from nnarray.backends import device_of
from nnarray.recording.tape import Tape
from nnarray.typing import Device, DType, Namespace, Shape


class Traced:
    """An array of real floating numbers whose computations are recorded; each library has a class of its own.

    Without a tape it is a constant, on which nothing depends that is differentiated.
    """

    __slots__ = ("slot", "tape", "value")
    space: ClassVar[Any]  # the traced namespace

    def __init__(self, value: Any, tape: Tape | None = None, slot: int = 0) -> None:
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
        total = 1
        for length in self.shape:
            total *= length
        return total

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

    def __repr__(self) -> str:
        return f"Traced({self.value!r})"

    def __bool__(self) -> bool:
        return bool(self.value)  # a branch is taken by a value; its derivative is that of the branch

    # --- What cannot be recorded ------------------------------------------------------------------------------------

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(
            f"{what} would take the number out of the recording, and its gradient would be lost. Compute with the "
            f"array itself and the functions of x.__array_namespace__(); to use it as a constant, nn.stop_gradient(x)."
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

    def __dlpack__(self, **_: Any) -> Any:
        self._refuse("an export of x, such as from_dlpack(x),")

    def __dlpack_device__(self) -> Any:
        return self.value.__dlpack_device__()

    __hash__ = None  # as arrays

    # --- Protocols by which a library hands its own functions on -----------------------------------------------------

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        if method != "__call__":
            self._refuse(f"{function.__name__}.{method}")
        return self._named(function)(*inputs, **settings)

    def __array_function__(self, function: Any, types: Any, inputs: Any, settings: Any) -> Any:
        return self._named(function)(*inputs, **settings)

    def _named(self, function: Any) -> Any:
        """The function of the standard with this name.

        Raises
        ------
        TypeError
            If there is none.
        """
        found = getattr(self.space, function.__name__, None)
        if found is None:
            raise TypeError(
                f"{function.__name__} is no function of the array API standard, so that it cannot be recorded. "
                f"Write it with the functions of x.__array_namespace__()."
            )
        return found

    # --- Operators --------------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return self.space.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return self.space.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return self.space.subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.space.subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return self.space.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.space.multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.space.divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.space.divide(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return self.space.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self.space.floor_divide(other, self)

    def __mod__(self, other: Any) -> Any:
        return self.space.remainder(self, other)

    def __rmod__(self, other: Any) -> Any:
        return self.space.remainder(other, self)

    def __pow__(self, other: Any) -> Any:
        return self.space.pow(self, other)

    def __rpow__(self, other: Any) -> Any:
        return self.space.pow(other, self)

    def __matmul__(self, other: Any) -> Any:
        return self.space.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return self.space.matmul(other, self)

    def __neg__(self) -> Any:
        return self.space.negative(self)

    def __pos__(self) -> Any:
        return self.space.positive(self)

    def __abs__(self) -> Any:
        return self.space.abs(self)

    def __lt__(self, other: Any) -> Any:
        return self.space.less(self, other)

    def __le__(self, other: Any) -> Any:
        return self.space.less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return self.space.greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return self.space.greater_equal(self, other)

    def __eq__(self, other: object) -> Any:
        return self.space.equal(self, other)

    def __ne__(self, other: object) -> Any:
        return self.space.not_equal(self, other)

    def __getitem__(self, key: Any) -> Any:
        return self.space.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        """`x[key] = value` makes x another array; what x was computed from, and what was given, stay as they are."""
        new = self.space.put_at(self, key, value)
        self.value, self.tape, self.slot = new.value, new.tape, new.slot

    @property
    def T(self) -> Any:
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
