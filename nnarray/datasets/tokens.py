"""Windows over a long row of tokens, in memory or in a file that is larger than the memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from nnarray import files, random
from nnarray.backends import host_backend, library_of
from nnarray.checks import integer
from nnarray.datasets.scratch import address_space
from nnarray.datasets.sources import Source
from nnarray.datasets.streams import Stream
from nnarray.random import Key
from nnarray.text.reading import text_in
from nnarray.text.tokenizer import Tokenizer
from nnarray.typing import Shape


class TokenWindows(Source):
    """Windows of a row of tokens as examples; `token_windows` makes them.

    Attributes
    ----------
    tokens : NumPy array of integers, shape (count,)
        It may be an array of a mapped file.
    length : int
        The number of tokens in a window.
    stride : int
        From the beginning of a window to that of the next one.
    """

    reads_ahead = True

    def __init__(self, tokens: np.ndarray, length: int, stride: int, first: int = 0) -> None:
        self.tokens, self.length, self.stride, self._first = tokens, length, stride, first

    def __repr__(self) -> str:
        return f"TokenWindows({len(self)} windows of {self.length} tokens, of {len(self.tokens)})"

    @property
    def shape(self) -> Shape:
        """(windows, length)."""
        return ((len(self.tokens) - 1 - self.length) // self.stride + 1, self.length)

    @property
    def targets(self) -> TokenWindows:
        """y: for each token, the one that follows."""
        return TokenWindows(self.tokens, self.length, self.stride, 1)

    def rows(self, indices: Any) -> np.ndarray:
        """The windows at `indices`, integers, shape (n, length)."""
        numbers = np.arange(len(self))[indices] if isinstance(indices, slice) else np.asarray(indices)
        return self._at(numbers.astype(np.int64) * self.stride)

    def _at(self, starts: np.ndarray) -> np.ndarray:
        found = np.empty((len(starts), self.length), np.int64)
        for row, start in zip(found, (starts + self._first).tolist(), strict=True):
            row[:] = self.tokens[start : start + self.length]
        return found

    def batches(self, batch_size: int = 32, *, steps_per_epoch: int | None = None, seed: int = 0) -> Stream:
        """A stream of batches for `fit`: windows that begin anywhere, drawn from the seed in each epoch.

        Only the windows of a batch are in memory. So the row of tokens may be larger than the memory, and so may y.

        Parameters
        ----------
        batch_size : int
        steps_per_epoch : int, optional
            The number of batches; if None, so many that they have as many tokens as the row.
        seed : int

        Returns
        -------
        Stream
            Of batches (X, y), integers, shape (batch_size, length).
        """
        size = integer(batch_size, "batch_size", 1, usual=32)
        usual = max(len(self.tokens) // (size * self.length), 1)
        steps = usual if steps_per_epoch is None else integer(steps_per_epoch, "steps_per_epoch", 1, usual=100)
        key = Key(seed).fold("windows")

        def batches(epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for step in range(steps):
                starts = _draws(key.fold(epoch).fold(step), size, len(self.tokens) - self.length)
                yield self._at(starts), self.targets._at(starts)

        return Stream(batches)


def _draws(key: Key, count: int, below: int) -> np.ndarray:
    """Integers from 0 to below - 1, as good as equally likely: the rest of 63 random bits."""
    host = host_backend()
    words: Any = np.asarray(random.bits(key, (count, 2), xp=host.xp, device=host.device), np.int64) & 0xFFFFFFFF
    return ((words[:, 0] << 31) | (words[:, 1] >> 1)) % below


def token_windows(tokens: Any, length: int, *, stride: int | None = None) -> TokenWindows:
    """Windows of a row of tokens, for a model that predicts the next token at each position.

    With w_i the token at position i, window n is x_n = (w_s, ..., w_(s + length - 1)) with s = n stride. Its targets
    are one token later. The last token is a target only. A rest that is shorter than a window is left out.

    Parameters
    ----------
    tokens : array or sequence of integers, shape (count,)
        An array of a mapped file stays in the file.
    length : int
        The number of tokens in a window: that of the model.
    stride : int, optional
        From a window to the next one; `length` if None, so that windows do not overlap.

    Returns
    -------
    TokenWindows
        A `Source` for `fit` and `evaluate`: X, with y as its `targets`. For rows that are larger than the memory, fit
        on its `batches`.

    Raises
    ------
    TypeError
        If tokens are not integers along one axis.
    ValueError
        If there are fewer than length + 1.

    Examples
    --------
    >>> import nnarray as nn
    >>> windows = nn.datasets.token_windows([5, 3, 1, 4, 2, 0], length=2)
    >>> windows.shape, windows.rows(slice(0, 2)).tolist(), windows.targets.rows(slice(0, 2)).tolist()
    ((2, 2), [[5, 3], [1, 4]], [[3, 1], [4, 2]])
    >>> model = nn.Network(nn.Embedding(6, 4), nn.Dense(6)).init((2,), seed=0)
    >>> history = model.fit(windows, windows.targets, epochs=2)
    >>> history = model.fit(windows.batches(8, steps_per_epoch=3), epochs=2)
    """
    owner = library_of(tokens)
    row = tokens if isinstance(tokens, np.ndarray) else owner.to_host(tokens) if owner else np.asarray(tokens)
    if row.dtype.kind not in "iu" or row.ndim != 1:
        raise TypeError(
            f"tokens must be integers along one axis; got {row.dtype} of shape {row.shape}. Encode text with a "
            f"tokenizer first: tokenizer.encode(text)."
        )
    integer(length, "length", 1, usual=64)
    if len(row) <= length:
        raise ValueError(
            f"windows of {length} tokens, and the token after them, need at least {length + 1} tokens; got {len(row)}. "
            f"Pass a longer text, or a smaller length."
        )
    return TokenWindows(row, length, length if stride is None else integer(stride, "stride", 1, usual=length))


def tokenized(
    path: str | os.PathLike[str],
    tokenizer: Tokenizer,
    out: str | os.PathLike[str] | None = None,
    *,
    encoding: str = "utf-8",
) -> np.ndarray:
    """The tokens of a text file. The text is read in parts, so that it may be larger than the memory.

    Parameters
    ----------
    path : path of a text file
    tokenizer : Tokenizer
    out : path of a .npy file, optional
        Where the tokens are written. Then the result is its mapped array, and takes no memory. A file that is there is
        replaced when all tokens are written; arrays that are mapped from it stay as they are.
    encoding : str
        That of the text.

    Returns
    -------
    NumPy array of unsigned integers, shape (count,)
        The narrowest that the vocabulary fits into.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    MemoryError
        If the memory cannot hold the tokens, and there is no `out`.
    ValueError
        If the file is empty, has another encoding (the message names the byte and the line), or has text that the
        tokenizer does not know; or if `out` has another ending.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import nnarray as nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "text.txt")
    ...     _ = file.write_text("to be or not to be")
    ...     nn.datasets.tokenized(file, nn.text.ByteTokenizer())[:5].tolist()
    [116, 111, 32, 98, 101]
    """
    if out is None:
        try:
            return np.concatenate([*tokens_in(path, tokenizer, encoding)])
        except MemoryError as error:
            raise MemoryError(
                f"the memory cannot hold the tokens of {str(path)!r}. Pass out='tokens.npy': then they are written "
                f"into that file, part by part, and only mapped."
            ) from error
    file = Path(out)
    if file.suffix != ".npy":
        raise ValueError(f"out must be the path of a .npy file; got {str(out)!r}.")

    def write(part: Path) -> None:
        with part.open("wb") as opened:
            write_tokens(opened, tokens_in(path, tokenizer, encoding), tokens_dtype(tokenizer))

    files.replace(file, write)
    with address_space(file.stat().st_size):
        return np.load(file, mmap_mode="r")


def tokens_dtype(tokenizer: Tokenizer) -> np.dtype[Any]:
    """The narrowest dtype of the tokens of a vocabulary."""
    return np.min_scalar_type(max(len(tokenizer) - 1, 0))


def tokens_in(path: str | os.PathLike[str], tokenizer: Tokenizer, encoding: str) -> Iterator[np.ndarray]:
    """The tokens of a text file, part by part; errors as `tokenized`."""
    dtype, lines = tokens_dtype(tokenizer), 0
    before, behind = tokenizer.around
    yield np.asarray(before, dtype)
    for text in text_in(path, encoding):
        try:
            yield np.asarray(tokenizer.encode_part(text), dtype)
        except ValueError as error:
            after = f", after {lines} lines" if lines else ""
            raise ValueError(f"{str(path)!r}{after}: {error}") from error
        lines += text.count("\n")
    yield np.asarray(behind, dtype)


def write_tokens(file: IO[bytes], parts: Iterator[np.ndarray], dtype: np.dtype[Any]) -> int:
    """Write parts of a row as one .npy array, and return its length, which is known only at the end."""
    count = 0
    for _ in range(2):  # the head has room for any length
        file.seek(0)
        head = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(file, head)
        if not count:
            for part in parts:
                file.write(part.tobytes())
                count += len(part)
    return count
