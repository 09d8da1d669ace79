"""How much is read at a time, and how much memory and how large an archive are too much."""

from __future__ import annotations

BLOCK = 4 << 20  # bytes of text that are parsed at a time, and some ten of them read ahead; no row may be longer
RESERVE = 16 * BLOCK  # bytes without which reading goes no further: systems and pyarrow may kill a process for more
LARGE, SQUEEZED = 1 << 30, 100  # an archive that inflates to more bytes than this, and by more than this factor: a bomb
