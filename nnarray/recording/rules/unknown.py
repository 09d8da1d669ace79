"""Functions of the standard whose gradient is not known: they are computed, and refuse when a gradient comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from nnarray.typing import Namespace


def refuse(name: str) -> NoReturn:
    """Raise TypeError, as the gradient of this function is not known."""
    raise TypeError(
        f"no rule is known for the gradient of {name}. Write it with functions of the array API standard, give its "
        f"gradient with nn.custom_gradient, or pass nn.stop_gradient(x) if its result is a constant."
    )


def refusing(reason: str) -> Callable[..., NoReturn]:
    """A pullback that raises ValueError."""

    def pullback(xp: Namespace, g: Any) -> NoReturn:
        raise ValueError(reason)

    return pullback


def _rule(name: str, part: str) -> Callable[..., Any]:
    def rule(xp: Namespace, x: Any, *others: Any, **settings: Any) -> Any:
        space = getattr(xp, part) if part else xp
        return getattr(space, name)(x, *others, **settings), (lambda xp, g: refuse(name), *(None for _ in others))

    return rule


RULES = {name: _rule(name, "") for name in str.split("imag unique_all unique_counts unique_inverse unique_values")}
LINALG_RULES = {name: _rule(name, "linalg") for name in ("eig", "eigvals")}
FFT_RULES = {name: _rule(name, "fft") for name in str.split("fft fftn hfft ifft ifftn ihfft irfft irfftn rfft rfftn")}
