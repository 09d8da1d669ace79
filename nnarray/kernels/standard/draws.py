"""Counter-based random bits: a pure function of key and position, the same on every library and device."""

from __future__ import annotations

from typing import Any

from nnarray.backends import device_of, namespace
from nnarray.kernels.registry import kernel
from nnarray.typing import Array

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA


def signed(word: int) -> int:
    """The 32 bits of `word` read as a signed integer, as int32 is the only word type that every library supports."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


@kernel
def threefry(counter: Array, high: Any, key0: Any, key1: Any) -> tuple[Array, Array]:
    """The Threefry-2x32 block cipher with 20 rounds: two random words for each counter.

    In each round, (a, b) becomes (a + b, rotate(b, r) ^ (a + b)); every four rounds the key is added, modulo 2**32.

    Parameters
    ----------
    counter : array of int32, any shape
        The low words of the counters.
    high, key0, key1 : int in [-2**31, 2**31), or array of int32, shape ()
        The high word of the counters, and the key.

    Returns
    -------
    tuple of two arrays of int32, the shape of `counter`

    References
    ----------
    .. [1] Salmon, Moraes, Dror & Shaw (2011), Parallel random numbers: as easy as 1, 2, 3. SC11.
    """
    xp, shape = namespace(counter), counter.shape
    counter = xp.reshape(counter, (-1,))  # sums of single numbers would warn when they overflow
    options = {"dtype": xp.int32, "device": device_of(counter)}
    k0, k1, high = (xp.asarray(word, **options) for word in (key0, key1, high))
    keys = (k0, k1, k0 ^ k1 ^ xp.asarray(_PARITY, **options))
    a, b = counter + k0, xp.zeros_like(counter) + high + k1
    for i in range(5):
        for r in _ROTATIONS[:4] if i % 2 == 0 else _ROTATIONS[4:]:
            a = a + b
            b = ((b << r) | ((b >> (32 - r)) & ((1 << r) - 1))) ^ a  # >> keeps the sign, the mask takes it off
        a, b = a + keys[(i + 1) % 3], b + keys[(i + 2) % 3] + (i + 1)
    return xp.reshape(a, shape), xp.reshape(b, shape)


@kernel
def words(like: Array, key0: Any, key1: Any) -> Array:
    """The random words of a key: what `threefry` makes of the counters 0, 1, ..., both words one after the other.

    Parameters
    ----------
    like : array of int32, shape (n,)
        Says how many words, and where; what is in it does not matter.
    key0, key1 : int in [-2**31, 2**31), or array of int32, shape ()

    Returns
    -------
    array of int32, shape (n,)
    """
    xp, count = namespace(like), like.shape[0]
    counter = xp.arange((count + 1) // 2, dtype=xp.int32, device=device_of(like))
    pairs = xp.stack(threefry(counter, 0, key0, key1), axis=-1)
    return xp.reshape(pairs, (-1,))[:count]


@kernel
def dropped(x: Array, kept: Array, *, scale: float) -> Array:
    """y = x scale where an entry is kept, else 0.

    Parameters
    ----------
    x : array, any shape, real floating
    kept : array of bool, broadcast to the shape of x
    """
    return namespace(x).where(kept, x * scale, 0.0)
