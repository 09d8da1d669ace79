"""Limits on the size of reads, on memory, and on archives."""

from __future__ import annotations

BLOCK = 4 << 20  # bytes of text parsed at a time, of which about ten blocks are read ahead; no row may be longer
RESERVE = 16 * BLOCK  # reading stops with less free memory, as the system or pyarrow may kill the process
LARGE, SQUEEZED = 1 << 30, 100  # an archive that inflates to more bytes than this, by more than this factor, is refused
