"""The choice of the next token from its logits: a pure function, the same on every backend up to rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnarray import kernels, random
from nnarray.backends import device_of, namespace
from nnarray.checks import above_zero, in_range, integer
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.random import Key
from nnarray.typing import Array

NO_NUMBER = -1
"""In the place of a token: the logits have NaN."""


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen; the settings are those of `Model.generate`, and what the network does not take as text."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    never: frozenset[int] = frozenset()
    """Tokens without probability."""

    def __post_init__(self) -> None:
        above_zero(self.temperature, "temperature", or_zero=True)
        above_zero(self.repetition_penalty, "repetition_penalty")
        object.__setattr__(self, "temperature", float(self.temperature))  # NumPy's numbers would lend their dtype
        object.__setattr__(self, "repetition_penalty", float(self.repetition_penalty))
        if self.top_k is not None:
            object.__setattr__(self, "top_k", integer(self.top_k, "top_k", 1, usual=50))
        if self.top_p is not None:
            in_range(self.top_p, "top_p", 0, 1, ends="(]", symbol="p")
            object.__setattr__(self, "top_p", float(self.top_p))

    def tokens(self, logits: Array, seen: Array, word0: Any, word1: Any) -> Array:
        """The next token of each sequence, shape (batch,); NO_NUMBER if its logits have NaN.

        Those of `never` have the logit -inf. Of all tokens that are left, that with the largest z / temperature + g is
        chosen, where g is a draw of the Gumbel distribution for each token. So each token has its probability
        softmax(z / temperature) [1]_. A rounding error changes the choice only if two of these sums are as close as the
        error, however many tokens there are.

        Parameters
        ----------
        logits : array, shape (batch, V)
        seen : array of bool, shape (batch, V)
            Which tokens were there before.
        word0, word1 : int, or array of int32, shape ()
            The words of a `Key`.

        References
        ----------
        .. [1] Gumbel (1954), Statistical theory of extreme values and some practical applications. National Bureau of
           Standards, Applied Mathematics Series 33.
        """
        z = self._allowed(self._penalised(at_least_float32(logits), seen))
        xp = namespace(z)
        if self.temperature == 0:
            tokens = xp.argmax(z, axis=-1)
        else:
            z = (z - xp.max(z, axis=-1, keepdims=True)) / self.temperature
            tokens = self._drawn(z, gumbel(z, Key(word0, word1)))
        lost = xp.any(logits != logits, axis=-1)
        return xp.where(lost, xp.full_like(tokens, NO_NUMBER), tokens)

    def _penalised(self, z: Array, seen: Array) -> Array:
        """Logits of tokens that were there before are divided by the penalty if above 0, else multiplied by it [1]_.

        References
        ----------
        .. [1] Keskar, McCann, Varshney, Xiong & Socher (2019), CTRL, section 4.1. arXiv:1909.05858.
        """
        if self.repetition_penalty == 1.0:
            return z
        xp = namespace(z)
        penalised = xp.where(z > 0, z / self.repetition_penalty, z * self.repetition_penalty)
        return xp.where(seen, penalised, z)

    def _allowed(self, z: Array) -> Array:
        """Logits, -inf for the tokens of `never`."""
        if not self.never:
            return z
        xp = namespace(z)
        number = xp.arange(z.shape[-1], dtype=xp.int32, device=device_of(z))
        for token in sorted(self.never):
            z = xp.where(number == token, -xp.inf, z)
        return z

    def _drawn(self, z: Array, noise: Array) -> Array:
        xp = namespace(z)
        if self.top_k is None and self.top_p is None:
            return xp.argmax(z + noise, axis=-1)
        order = xp.argsort(z, axis=-1, descending=True, stable=True)
        z, noise = (xp.take_along_axis(each, order, axis=-1) for each in (z, noise))
        scores = xp.where(self._kept(z), z + noise, -xp.inf)
        return xp.take_along_axis(order, xp.argmax(scores, axis=-1)[:, None], axis=-1)[:, 0]

    def _kept(self, z: Array) -> Array:
        """Which of the sorted tokens are left: the `top_k` most likely, and of them those that have `top_p` together.

        Each token is left before which the probabilities sum to less than `top_p` [1]_.

        References
        ----------
        .. [1] Holtzman, Buys, Du, Forbes & Choi (2020), The curious case of neural text degeneration. ICLR.
        """
        xp, count = namespace(z), z.shape[-1]
        rank = xp.arange(count, dtype=xp.int32, device=device_of(z))
        kept = rank < (count if self.top_k is None else self.top_k)
        if self.top_p is None:
            return xp.broadcast_to(kept, z.shape)
        p = kernels.softmax(xp.where(kept, z, -xp.inf))
        return kept & ((_sums_before(p) < self.top_p) | (rank == 0))


def _sums_before(x: Array) -> Array:
    """0, x_0, x_0 + x_1, ... along the last axis: sums of two, four, eight, ... entries, which round little."""
    xp, step = namespace(x), 1
    sums = xp.concat([xp.zeros_like(x[..., :1]), x[..., :-1]], axis=-1)
    while step < sums.shape[-1]:
        sums = sums + xp.concat([xp.zeros_like(sums[..., :step]), sums[..., :-step]], axis=-1)
        step *= 2
    return sums


def gumbel(like: Array, key: Key) -> Array:
    """Draws of the Gumbel distribution, -ln(-ln(1 - u)), in the shape and dtype of `like`, one for each entry.

    u has 31 bits near 0, where the largest draws are.
    """
    xp = namespace(like)
    word = random.bits(key, tuple(like.shape), xp=xp, device=device_of(like)) & 0x7FFFFFFF
    u = (xp.astype(word, xp.float32) + 0.5) * 2.0**-31
    u = xp.astype(xp.minimum(u, 1.0 - 2.0**-24), like.dtype)
    return -xp.log(-xp.log1p(-u))
