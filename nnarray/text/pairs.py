"""Byte-pair encoding: frequent neighbours are joined, byte by byte, as in GPT-2."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from nnarray.arguments import explain_settings
from nnarray.checks import existing
from nnarray.names import shown
from nnarray.text.characters import OfBytes, utf8
from nnarray.text.pair_training import learned_pairs
from nnarray.text.reading import json_in, lines_of
from nnarray.text.splitting import bytes_of_symbols, pattern, symbols
from nnarray.text.tokenizer import checked_vocabulary

END = "<|endoftext|>"
PADDINGS = ("<|padding|>", "<pad>", "[PAD]")
"""What a special token that pads is called."""
REMEMBERED = 2**16  # words whose tokens are kept


@explain_settings
@dataclass(frozen=True, repr=False)
class BytePairTokenizer(OfBytes):
    """Byte-pair encoding as in GPT-2: a text is split into words, and in each the pairs of lowest rank are joined.

    `from_files` reads the published files of GPT-2, and `train` learns the pairs of a text.

    Parameters
    ----------
    vocabulary : tuple of str
        The tokens in the order of their integers, in GPT-2's spelling: a visible character for each byte, such as
        "Ġ" for a space.
    merges : tuple of str
        The pairs that are joined, such as "Ġ t"; the first has the lowest rank.

    Attributes
    ----------
    specials : tuple of str
        The tokens that are no bytes, such as "<|endoftext|>". `encode` finds them in a text only with `special=True`.

    Raises
    ------
    TypeError, ValueError
        If a token is there twice, or a pair and the vocabulary do not belong together.

    References
    ----------
    .. [1] Sennrich, Haddow & Birch (2016), Neural machine translation of rare words with subword units. ACL.
    .. [2] Radford, Wu, Child, Luan, Amodei & Sutskever (2019), Language models are unsupervised multitask learners.

    Examples
    --------
    >>> import nnarray as nn
    >>> tokenizer = nn.text.BytePairTokenizer.train("low lower lowest, " * 10, size=264)
    >>> [tokenizer.decode([token]) for token in tokenizer.encode("lower slow")]
    ['low', 'e', 'r', ' ', 's', 'low']
    """

    kind: ClassVar[str] = "byte pairs"
    with_padding: ClassVar[str] = (
        "nn.text.BytePairTokenizer.train(text, size, specials=('<|padding|>', '<|endoftext|>'))"
    )

    vocabulary: tuple[str, ...]
    merges: tuple[str, ...]

    def __post_init__(self) -> None:
        checked_vocabulary(self.vocabulary, "vocabulary")
        if not isinstance(self.merges, tuple) or not all(isinstance(pair, str) for pair in self.merges):
            raise TypeError(f"merges must be a tuple of texts, such as 'Ġ t'; got {shown(self.merges)}.")
        for i, merge in enumerate(self.merges):
            self._check(i, merge)

    def _check(self, i: int, merge: str) -> None:
        pair = merge.split(" ")
        if len(pair) != 2 or not all(pair):
            raise ValueError(f"merges: number {i} must be two parts with a space between them; got {merge!r}.")
        missing = [part for part in (*pair, "".join(pair)) if part not in self.numbers]
        if missing:
            raise ValueError(
                f"merges: number {i}, {merge!r}, needs the token {missing[0]!r}, which the vocabulary of {len(self)} "
                f"tokens does not have. The two do not belong together: take both files from one model."
            )
        if not all(symbol in bytes_of_symbols() for part in pair for symbol in part):
            raise ValueError(
                f"merges: number {i}, {merge!r}, has a character that stands for no byte in GPT-2's files."
            )

    @classmethod
    def from_files(cls, vocabulary: str | os.PathLike[str], merges: str | os.PathLike[str]) -> BytePairTokenizer:
        """The tokenizer of the published files `vocab.json` and `merges.txt`, as GPT-2 has them.

        Raises
        ------
        FileNotFoundError
            If one does not exist.
        ValueError
            If one is damaged, or they do not belong together; the message names the file.
        """
        tokens, file = _vocabulary_of(vocabulary), existing(merges, "a merges.txt")
        lines = [line for line in lines_of(file) if line and not line.startswith("#version")]
        try:
            return cls(tokens, tuple(lines))
        except ValueError as error:
            raise ValueError(f"{str(file)!r} with {str(vocabulary)!r}: {error}") from error

    @classmethod
    def train(cls, texts: str | Iterable[str], size: int, *, specials: Iterable[str] = (END,)) -> BytePairTokenizer:
        """Learn the pairs of a text: the most frequent pair becomes a token, until there are `size` tokens.

        Pairs that occur only once are not joined, so a short text gives fewer tokens.

        Parameters
        ----------
        texts : str or iterable of str
            One text, or the parts of it.
        size : int
            The number of tokens, at least 256 for the bytes and one for each special token.
        specials : iterable of str
            Tokens that are no bytes. They come last, as in GPT-2.

        Raises
        ------
        TypeError
            If `specials` is one text.
        ValueError
            If `size` is too small.

        References
        ----------
        .. [1] Sennrich, Haddow & Birch (2016), Neural machine translation of rare words with subword units. ACL.
        """
        if isinstance(specials, str):  # its letters would be the tokens
            raise TypeError(f"specials must be several texts; got one, {shown(specials)}. Pass ({shown(specials)},).")
        names = tuple(specials)
        alphabet = sorted(symbols())
        if size < len(alphabet) + len(names):
            raise ValueError(
                f"size must be at least {len(alphabet) + len(names)}, 256 bytes and {len(names)} special tokens; got "
                f"{shown(size)}. Use for example size=1000."
            )
        parts = (_symbols_of(word) for text in ([texts] if isinstance(texts, str) else texts) for word in _words(text))
        pairs = learned_pairs(parts, alphabet, size - len(alphabet) - len(names))
        return cls((*alphabet, *map("".join, pairs), *names), tuple(map(" ".join, pairs)))

    @property
    def tokens(self) -> tuple[str, ...]:
        """The vocabulary, in GPT-2's spelling."""
        return self.vocabulary

    @cached_property
    def specials(self) -> tuple[str, ...]:
        """The tokens that are neither bytes nor joined ones, such as "<|endoftext|>"."""
        joined = {merge.replace(" ", "") for merge in self.merges} | set(symbols())
        return tuple(token for token in self.vocabulary if token not in joined)

    @property
    def end(self) -> int | None:  # type: ignore[override]
        """The number of "<|endoftext|>", if there is one."""
        return self.numbers.get(END)

    @property
    def padding(self) -> int | None:  # type: ignore[override]
        """The number of the special token "<|padding|>", "<pad>" or "[PAD]", if there is one."""
        return next((self.numbers[token] for token in PADDINGS if token in self.specials), None)

    @property
    def fillers(self) -> frozenset[int]:
        """The padding; if there is none, all special tokens."""
        return super().fillers or frozenset(self.numbers[token] for token in self.specials)

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:  # type: ignore[override]
        """The bytes of each token; special tokens stand for their names."""
        special, byte = set(self.specials), bytes_of_symbols()
        return tuple(
            token.encode() if token in special else bytes(byte[symbol] for symbol in token) for token in self.vocabulary
        )

    @cached_property
    def _ranks(self) -> Mapping[tuple[str, ...], int]:
        return {tuple(merge.split(" ")): rank for rank, merge in enumerate(self.merges)}

    @cached_property
    def _remembered(self) -> dict[str, list[int]]:
        """The tokens of the words that came first."""
        return {}

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The tokens of a text.

        Parameters
        ----------
        text : str
        special : bool
            Whether names of special tokens in the text, such as "<|endoftext|>", are these tokens. By default they are
            text like any other, so that a text of strangers cannot use them.

        Raises
        ------
        ValueError
            If the vocabulary has no token for one of its bytes.
        """
        if not special or not self.specials:
            return [token for word in _words(text) for token in self._tokens_of(word)]
        known = "|".join(map(re.escape, sorted(self.specials, key=len, reverse=True)))
        parts = re.split(f"({known})", text)
        return [
            token for i, part in enumerate(parts) for token in ([self.numbers[part]] if i % 2 else self.encode(part))
        ]

    def _tokens_of(self, word: str) -> list[int]:
        known = self._remembered.get(word)
        if known is not None:
            return known
        found = [self._number(part) for part in self._joined(list(_symbols_of(word)))]
        if len(self._remembered) < REMEMBERED:
            self._remembered[word] = found
        return found

    def _number(self, part: str) -> int:
        if part not in self.numbers:
            raise ValueError(
                f"the vocabulary of {len(self)} tokens has none for the byte {part!r} (in GPT-2's spelling). Use a "
                f"vocabulary that has all 256 bytes."
            )
        return self.numbers[part]

    def _joined(self, parts: list[str]) -> list[str]:
        """The pair of the lowest rank is joined first, of equal ones the leftmost, until no pair has a rank.

        A heap has the pairs by rank; a part that was joined to the one before it is empty.
        """
        ranks, size = self._ranks, len(parts)
        before, after = list(range(-1, size)), list(range(1, size + 1))
        waiting = [(ranks[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in ranks]
        heapify(waiting)
        while waiting:
            rank, i = heappop(waiting)
            j = after[i]
            if j >= size or ranks.get((parts[i], parts[j])) != rank:  # one of the two has been joined since
                continue
            parts[i], parts[j], after[i] = parts[i] + parts[j], "", after[j]
            before[after[j]] = i
            for left, right in ((before[i], i), (i, after[i])):
                if left >= 0 and right < size and (new := ranks.get((parts[left], parts[right]))) is not None:
                    heappush(waiting, (new, left))
        return [part for part in parts if part]


def _words(text: str) -> list[str]:
    return pattern().findall(text)


def _symbols_of(word: str) -> tuple[str, ...]:
    """A visible character for each byte of a word."""
    known = symbols()
    return tuple(known[byte] for byte in utf8(word))


def _vocabulary_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The tokens of a vocab.json, in the order of their numbers."""
    file = existing(path, "a vocab.json")
    return tokens_in_order(json_in(file), file, "vocab.json")


def tokens_in_order(numbers: Any, file: Path, kind: str) -> tuple[str, ...]:
    """The tokens of a file that has a number for each, in the order of their numbers.

    Raises
    ------
    ValueError
        If they have not the numbers from 0 on.
    """
    if not isinstance(numbers, dict) or not all(type(number) is int for number in numbers.values()):
        raise ValueError(f"{str(file)!r} is not a {kind}: it must have an integer for each token.")
    tokens = sorted(numbers, key=numbers.__getitem__)
    wrong = next((i for i, token in enumerate(tokens) if numbers[token] != i), None)
    if wrong is not None:
        raise ValueError(
            f"{str(file)!r}: the tokens must have the numbers 0 to {len(tokens) - 1}; {tokens[wrong]!r} has "
            f"{numbers[tokens[wrong]]} in the place of {wrong}. Is the file complete?"
        )
    return tuple(tokens)
