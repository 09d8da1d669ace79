"""What a computation asks CUDA for: exact numbers, of CuPy on the CPU."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable
from functools import cache

from tests.cupy_on_cpu import LIBRARY


@cache
def _stand_in() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))
    library.counts_until_now.restype = ctypes.c_char_p
    return library


def counted(run: Callable[[], object]) -> Counter[str]:
    """How often a call launches kernels, multiplies matrices, waits, copies and takes memory, each by its word."""
    _stand_in().counts_begin()
    run()
    lines = _stand_in().counts_until_now().decode().splitlines()
    return Counter({what: int(number) for number, what in (line.split(" ", 1) for line in lines)})
