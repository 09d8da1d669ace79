"""Random words for CuPy arrays, in one launch: integer arithmetic, and so bit for bit the definition's."""

from __future__ import annotations

from typing import Any

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray import kernels
from nnarray.kernels.cupy.sources import REGISTERS, Code

cp: Any = cupy

ROUNDS = """
    const unsigned int keys[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
    const int rotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    #pragma unroll
    for (int round = 0; round < 20; ++round) {
        const int by = rotations[round % 8], block = round / 4 + 1;
        first += second;
        second = (second << by | second >> (32 - by)) ^ first;
        if (round % 4 == 3) {
            first += keys[block % 3];
            second += keys[(block + 1) % 3] + block;
        }
    }
"""
"""Threefry-2x32 of a counter, to which the key is added already; `first` and `second` are its two words."""

THREEFRY = Code(
    "int32 counter, int32 high, int32 key0, int32 key1",
    "int32 word0, int32 word1",
    f"""
    const unsigned int k0 = key0, k1 = key1;
    unsigned int first = (unsigned int)counter + k0, second = (unsigned int)high + k1;
    {ROUNDS}
    word0 = first;
    word1 = second;
    """,
)

WORDS = Code(
    "int32 key0, int32 key1",
    "int32 word",
    f"""
    const unsigned int k0 = key0, k1 = key1;
    unsigned int first = (unsigned int)(i / 2) + k0, second = k1;
    {ROUNDS}
    word = i % 2 ? second : first;
    """,
)
"""Two threads compute the words of one counter, each for itself: the cipher takes less time than the memory."""

DROPPED = Code("T x, bool kept, float64 scale", "T y", f"{REGISTERS} y = kept ? T(R(x) * R(scale)) : T(0);")

CODES = {"threefry": THREEFRY, "words": WORDS, "dropped": DROPPED}
_LAUNCH = {name: cp.ElementwiseKernel(*code, f"nnarray_{name}") for name, code in CODES.items()}


@kernels.threefry.fast("cupy")
def threefry(counter: Any, high: Any, key0: Any, key1: Any) -> Any:
    """In one launch."""
    return _LAUNCH["threefry"](counter, high, key0, key1)


@kernels.words.fast("cupy")
def words(like: Any, key0: Any, key1: Any) -> Any:
    """In one launch."""
    return _LAUNCH["words"](key0, key1, cp.empty_like(like))


@kernels.dropped.fast("cupy")
def dropped(x: Any, kept: Any, *, scale: float) -> Any:
    """In one launch."""
    return _LAUNCH["dropped"](x, kept, scale)
