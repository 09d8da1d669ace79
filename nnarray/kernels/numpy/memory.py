"""Memory that stays with the process when arrays are freed, so that the next step finds it there.

The C library gives large arrays back to the system, which fills each new one with zeros, page by page: a fifth of the
time of a training step. glibc keeps arrays as large as the largest one that it has ever given back, up to 32 MB, and
twice as much in all [1]_. So one that is never written to, and costs nothing, is given back.

References
----------
.. [1] mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD: dynamic adjustment.
"""

from __future__ import annotations

import numpy as np

LARGEST = 2**25 - 2**16  # bytes: with what glibc adds to it, less than its limit of 32 MB


def keep_what_is_freed() -> None:
    """From now on, where the C library is glibc; else nothing changes."""
    np.empty(LARGEST, dtype=np.uint8)
