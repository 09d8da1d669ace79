"""Rows of equal length from sequences of different lengths: padded, or one behind the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, NamedTuple

from nnarray.backends import Backend
from nnarray.backends import backend as backend_called
from nnarray.checks import integer
from nnarray.names import shown
from nnarray.typing import Array


class Batch(NamedTuple):
    """Rows of tokens, and where they have some."""

    tokens: Array
    """Integers, shape (rows, length)."""
    mask: Array
    """True where a row has a token, False where it is padded, shape (rows, length)."""


def padded(
    sequences: Iterable[Sequence[int]],
    *,
    length: int | None = None,
    value: int = 0,
    backend: str | Backend | None = None,
) -> Batch:
    """Sequences as rows of equal length, padded at the end.

    Parameters
    ----------
    sequences : iterable of sequences of int
    length : int, optional
        The length of the rows; longer sequences are cut. That of the longest one if None.
    value : int
        What the rows are padded with, as `nn.Embedding(padding_index=)` and `nn.losses.CrossEntropy(ignore_index=)`
        know it.
    backend : str or Backend, optional
        Where the arrays are made; NumPy if None.

    Returns
    -------
    Batch
        Integers `tokens` and truth values `mask`, shape (sequences, length).

    Raises
    ------
    TypeError
        If one has anything but integers.
    ValueError
        If there are no sequences.

    Examples
    --------
    >>> import nnarray as nn
    >>> tokens, mask = nn.text.padded([[5, 3], [7], [2, 8, 9]])
    >>> tokens.tolist()
    [[5, 3, 0], [7, 0, 0], [2, 8, 9]]
    >>> mask.sum(axis=1).tolist()
    [2, 1, 3]
    """
    rows = [list(map(_integer, each)) for each in sequences]
    if not rows:
        raise ValueError("there are no sequences to pad. Pass at least one.")
    width = max(map(len, rows)) if length is None else integer(length, "length", 1, usual=64)
    rows = [row[:width] for row in rows]
    be: Any = backend_called(backend)
    columns = range(max(width, 1))  # one at least, for no column would have no dtype
    filled = [row + [_integer(value)] * (len(columns) - len(row)) for row in rows]
    kept = [[i < len(row) for i in columns] for row in rows]
    return Batch(*(be.asarray(each)[:, :width] for each in (filled, kept)))


def _integer(token: Any) -> int:
    """A token as a Python integer.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if isinstance(token, bool) or not hasattr(token, "__index__"):
        raise TypeError(f"tokens must be integers; got {shown(token)}. Encode text first: tokenizer.encode(text).")
    return index(token)


def packed(
    sequences: Iterable[Sequence[int]],
    length: int,
    *,
    end: int | None = None,
    value: int = 0,
    backend: str | Backend | None = None,
) -> Batch:
    """Sequences one behind the other, in rows of equal length: little is padding, and long ones go over several rows.

    With `nn.Embedding(separator=end)`, attention stays within each sequence.

    Parameters
    ----------
    sequences : iterable of sequences of int
    length : int
        The length of the rows.
    end : int, optional
        A token that is put behind each sequence, such as `tokenizer.end`. Leave it out if `encode` puts it there, as a
        WordPieceTokenizer does.
    value : int
        What the last row is padded with.
    backend : str or Backend, optional
        Where the arrays are made; NumPy if None.

    Returns
    -------
    Batch
        Integers `tokens` and truth values `mask`, shape (rows, length).

    Raises
    ------
    ValueError
        If there are no tokens.

    Examples
    --------
    >>> import nnarray as nn
    >>> tokens, mask = nn.text.packed([[5, 3], [7], [2, 8, 9]], 4, end=1)
    >>> tokens.tolist()
    [[5, 3, 1, 7], [1, 2, 8, 9], [1, 0, 0, 0]]
    """
    integer(length, "length", 1, usual=64)
    marks = [] if end is None else [end]
    row = [token for each in sequences for token in (*each, *marks)]
    if not row:
        raise ValueError("there are no tokens to pack. Pass at least one sequence that is not empty.")
    return padded(
        [row[i : i + length] for i in range(0, len(row), length)], length=length, value=value, backend=backend
    )
