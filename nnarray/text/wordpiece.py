"""WordPiece, the tokenizer of BERT: words are split into the longest known pieces."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from nnarray.arguments import explain_settings
from nnarray.checks import existing, switch
from nnarray.text.reading import lines_of
from nnarray.text.tokenizer import Tokenizer, checked_text, checked_vocabulary

PADDING, UNKNOWN, BEGIN, SEPARATOR, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
LONGEST = 100  # characters of a word; a longer one is unknown, as in BERT
REMEMBERED = 2**16  # words whose tokens are kept
CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""The ideographs that BERT takes as words of one character."""


@explain_settings
@dataclass(frozen=True, repr=False)
class WordPieceTokenizer(Tokenizer):
    """WordPiece as in BERT: a text is split at blanks and punctuation, and each word into the longest known pieces.

    `from_file` reads a published `vocab.txt`.

    Parameters
    ----------
    vocabulary : tuple of str
        The tokens in the order of their integers. A piece within a word begins with "##". "[UNK]" must be there; it
        stands for words that have a part which is not known.
    lower : bool
        Whether letters become lower case, as for models that are called "uncased".
    strip_accents : bool, optional
        Whether accents are removed; as `lower` if None.
    ends : bool
        Whether `encode` begins with "[CLS]" and ends with "[SEP]".

    Raises
    ------
    TypeError, ValueError
        If a token is there twice, or one of those needed is missing.

    References
    ----------
    .. [1] Schuster & Nakajima (2012), Japanese and Korean voice search. ICASSP.
    .. [2] Devlin, Chang, Lee & Toutanova (2019), BERT. NAACL.

    Examples
    --------
    >>> import nnarray as nn
    >>> words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##known", "word", "##s", "!")
    >>> tokenizer = nn.text.WordPieceTokenizer(words)
    >>> tokenizer.encode("Unknown wörds!")
    [2, 4, 5, 6, 7, 8, 3]
    >>> tokenizer.decode(tokenizer.encode("Unknown wörds!"))
    'unknown words !'
    """

    kind: ClassVar[str] = "word pieces"

    vocabulary: tuple[str, ...]
    lower: bool = True
    strip_accents: bool | None = None
    ends: bool = True

    def __post_init__(self) -> None:
        checked_vocabulary(self.vocabulary, "vocabulary")
        switch(self.lower, "lower")
        switch(self.ends, "ends")
        needed = (UNKNOWN, BEGIN, SEPARATOR) if self.ends else (UNKNOWN,)
        missing = [token for token in needed if token not in self.numbers]
        if missing:
            remedy = "" if UNKNOWN in missing else " Add them, or pass ends=False."
            raise ValueError(f"a vocabulary of word pieces needs {' and '.join(missing)}, and has none.{remedy}")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **settings: Any) -> WordPieceTokenizer:
        """The tokenizer of a published `vocab.txt`, with one token in each line. Settings are those of the class.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not such a file; the message names it.
        """
        file = existing(path, "a vocab.txt")
        try:
            return cls(tuple(lines_of(file)), **settings)
        except ValueError as error:
            raise ValueError(f"{str(file)!r} is not a vocab.txt of word pieces: {error}") from error

    @property
    def tokens(self) -> tuple[str, ...]:
        """The vocabulary."""
        return self.vocabulary

    @property
    def end(self) -> int | None:  # type: ignore[override]
        """The number of "[SEP]", if there is one."""
        return self.numbers.get(SEPARATOR)

    @property
    def padding(self) -> int | None:  # type: ignore[override]
        """The number of "[PAD]", if there is one."""
        return self.numbers.get(PADDING)

    def words(self, text: str) -> list[str]:
        """The words of a text, before they are split into pieces: cleaned, in lower case, without accents.

        Examples
        --------
        >>> import nnarray as nn
        >>> nn.text.WordPieceTokenizer(("[UNK]",), ends=False).words("Ein Café, 東京!")
        ['ein', 'cafe', ',', '東', '京', '!']
        """
        text = checked_text(text).translate(self._cleaning)
        if self._strips:
            text = unicodedata.normalize("NFD", text)
        return text.translate(self._simplifying).split()

    @property
    def _strips(self) -> bool:
        return self.lower if self.strip_accents is None else self.strip_accents

    @cached_property
    def _cleaning(self) -> dict[int, str]:
        return _Table(_cleaned)

    @cached_property
    def _simplifying(self) -> dict[int, str]:
        return _Table(self._simplified)

    def _simplified(self, character: str) -> str:
        """Punctuation stands alone; letters are lower case; accents, which are characters of their own now, go."""
        if _is_punctuation(character):
            return f" {character} "
        if self._strips and unicodedata.category(character) == "Mn":
            return ""
        return character.lower() if self.lower else character  # one by one: a sigma at the end is like the others

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, between "[CLS]" and "[SEP]" unless `ends` is False."""
        before, behind = self.around
        return before + [token for word in self.words(text) for token in self._pieces_of(word)] + behind

    @property
    def around(self) -> tuple[list[int], list[int]]:
        """The tokens "[CLS]" and "[SEP]", unless `ends` is False."""
        return ([self.numbers[BEGIN]], [self.numbers[SEPARATOR]]) if self.ends else ([], [])

    def shortened(self, tokens: list[int], length: int | None) -> list[int]:
        """At most `length` tokens; with `ends`, the last one stays the last."""
        if length is None or len(tokens) <= length or not self.ends:
            return tokens[:length]
        return [*tokens[: length - 1], tokens[-1]]

    @cached_property
    def _remembered(self) -> dict[str, list[int]]:
        """The tokens of the words that came first."""
        return {}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.vocabulary))

    def _pieces_of(self, word: str) -> list[int]:
        known = self._remembered.get(word)
        if known is not None:
            return known
        found = self._longest_pieces(word)
        if len(self._remembered) < REMEMBERED:
            self._remembered[word] = found
        return found

    def _longest_pieces(self, word: str) -> list[int]:
        """The longest piece that begins the word, then of the rest; unknown as a whole if a part is not known."""
        unknown, found, start = [self.numbers[UNKNOWN]], list[int](), 0
        if len(word) > LONGEST:
            return unknown
        while start < len(word):
            mark, most = "##" if start else "", min(len(word), start + self._longest)
            ends = range(most, start, -1)
            end = next((end for end in ends if mark + word[start:end] in self.numbers), None)
            if end is None:
                return unknown
            found.append(self.numbers[mark + word[start:end]])
            start = end
        return found

    def decode(self, tokens: Any) -> str:
        """The words with blanks between them, and pieces joined; without "[CLS]", "[SEP]" and "[PAD]"."""
        names = [self.vocabulary[token] for token in self.checked(tokens)]
        kept = [name for name in names if name not in (PADDING, BEGIN, SEPARATOR)]
        return " ".join(kept).replace(" ##", "")


class _Table(dict[int, str]):
    """A table for `str.translate` that is filled by a function when a character comes for the first time."""

    def __init__(self, function: Callable[[str], str]) -> None:
        self.function = function

    def __missing__(self, code: int) -> str:
        text = self[code] = self.function(chr(code))
        return text


def _cleaned(character: str) -> str:
    """Blanks become spaces, control characters go, and ideographs stand alone."""
    code = ord(character)
    if character in "\t\n\r" or (character.isspace() and unicodedata.category(character) != "Cc"):
        return " "
    if code == 0xFFFD or unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs"):
        return ""
    return f" {character} " if any(low <= code <= high for low, high in CHINESE) else character


def _is_punctuation(character: str) -> bool:
    """Whether it is punctuation, or a sign of ASCII that is neither letter nor digit, such as "$"."""
    code = ord(character)
    if code < 128:
        return code >= 33 and not character.isalnum() and code != 127
    return unicodedata.category(character)[0] == "P"
