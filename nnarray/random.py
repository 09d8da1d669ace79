"""Seeded draws: a key and a position give the same number on every backend and device. No generator is global."""

from __future__ import annotations

import hashlib
import math
import operator
from dataclasses import dataclass
from typing import Any

from nnarray import kernels
from nnarray.arguments import explain_settings
from nnarray.backends import namespace
from nnarray.names import shown
from nnarray.typing import Array, Device, DType, Namespace, Shape

_FOLD = 0x80000000  # the top bit of a counter separates the children of a key from its draws


@explain_settings
@dataclass(frozen=True)
class Key:
    """A node in the tree of random streams: `Key(seed)` is a root, `key.fold(name)` a child.

    Children with different names and the draws of the key itself are independent. The words of a key are Python
    integers, or int32 arrays of shape () inside a compiled training step.

    Parameters
    ----------
    seed : int
        Any integer from 0 to 2**64 - 1.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.Key(0).fold("layers").fold(3) == nn.Key(0).fold("layers").fold(3)
    True
    """

    word0: Any
    word1: Any

    def __init__(self, seed: Any, high: Any = None) -> None:
        if high is None:
            seed = _checked_seed(seed)
            seed, high = kernels.signed(seed), kernels.signed(seed >> 32)
        object.__setattr__(self, "word0", seed)
        object.__setattr__(self, "word1", high)

    def fold(self, name: int | str | Array) -> Key:
        """The child of this key called `name`: an integer, such as a step, a string, or an int32 array of shape ()."""
        if isinstance(name, str):
            name = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "little")
        if not isinstance(name, int):
            xp = namespace(name)
            return Key(*kernels.threefry(xp.astype(name, xp.int32), kernels.signed(_FOLD), self.word0, self.word1))
        low, high = kernels.signed(name), kernels.signed(name >> 32 | _FOLD)
        if isinstance(self.word0, int):
            return Key(*_threefry_of_integers(low, high, self.word0, self.word1))
        xp = namespace(self.word0)
        counter = xp.full_like(self.word0, low, dtype=xp.int32)
        return Key(*kernels.threefry(counter, high, self.word0, self.word1))


def _checked_seed(seed: object) -> int:
    try:
        number = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"seed must be an integer; got {shown(seed)}.") from None
    if not 0 <= number < 2**64:
        raise ValueError(f"seed must satisfy 0 <= seed < 2**64; got {number}.")
    return number


def _threefry_of_integers(low: int, high: int, key0: int, key1: int) -> tuple[int, int]:
    """`kernels.threefry` for one counter in Python integers, so that folding a key on the host makes no array."""
    mask = 0xFFFFFFFF
    keys = (key0 & mask, key1 & mask, (key0 ^ key1 ^ 0x1BD11BDA) & mask)
    a, b = (low + keys[0]) & mask, (high + keys[1]) & mask
    for i in range(5):
        for r in (13, 15, 26, 6) if i % 2 == 0 else (17, 29, 16, 24):
            a = (a + b) & mask
            b = ((b << r | b >> (32 - r)) & mask) ^ a
        a, b = (a + keys[(i + 1) % 3]) & mask, (b + keys[(i + 2) % 3] + i + 1) & mask
    return kernels.signed(a), kernels.signed(b)


def bits(key: Key, shape: Shape, *, xp: Namespace, device: Device) -> Array:
    """Random words of 32 bits, read as int32: uniform on [-2**31, 2**31). A longer draw begins with a shorter one."""
    count = math.prod(shape)
    if count > 2**32:
        raise ValueError(f"one draw has at most 2**32 numbers; got {count}. Draw in parts, and fold the key for each.")
    like = xp.empty((count,), dtype=xp.int32, device=device)
    return xp.reshape(kernels.words(like, key.word0, key.word1), shape)


def uniform(key: Key, shape: Shape, *, xp: Namespace, device: Device, dtype: DType) -> Array:
    """Uniform numbers on [0, 1): multiples of 2**-24, so that they are the same in float32 and float64."""
    top = (bits(key, shape, xp=xp, device=device) >> 8) & 0xFFFFFF
    return xp.astype(xp.astype(top, xp.float32) * 2.0**-24, dtype)


def normal(key: Key, shape: Shape, *, xp: Namespace, device: Device, dtype: DType) -> Array:
    """Standard normal numbers: sqrt(-2 ln u) cos(2 pi v) and sqrt(-2 ln u) sin(2 pi v), u in (0, 1], v in [0, 1).

    The draws u and v are the same on every backend. Each library has its own ln, cos and sin, equal up to rounding.

    References
    ----------
    .. [1] Box & Muller (1958), Annals of Mathematical Statistics 29(2), 610-611.
    """
    count = math.prod(shape)
    draws = uniform(key, ((count + 1) // 2, 2), xp=xp, device=device, dtype=dtype)
    radius = xp.sqrt(-2.0 * xp.log(1.0 - draws[:, 0]))
    angle = 2.0 * math.pi * draws[:, 1]
    pairs = xp.stack((radius * xp.cos(angle), radius * xp.sin(angle)), axis=-1)
    return xp.reshape(xp.reshape(pairs, (-1,))[:count], shape)


def bernoulli(key: Key, shape: Shape, probability: float, *, xp: Namespace, device: Device) -> Array:
    """True with the given probability (a multiple of 2**-32)."""
    threshold = round(probability * 2**32) - 2**31
    if threshold >= 2**31:
        return xp.ones(shape, dtype=xp.bool, device=device)
    return bits(key, shape, xp=xp, device=device) < threshold


def permutation(key: Key, count: int, *, xp: Namespace, device: Device) -> Array:
    """The integers 0 to count - 1 in random order: the ranks of `count` random words. Stays on the device."""
    return xp.argsort(bits(key, (count,), xp=xp, device=device), stable=True)
