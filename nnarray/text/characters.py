"""The two simplest tokenizers: a token for each character, and a token for each byte."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from nnarray.arguments import explain_settings
from nnarray.names import shown
from nnarray.text.tokenizer import Tokenizer, checked_text, checked_vocabulary


@explain_settings
@dataclass(frozen=True, repr=False)
class CharacterTokenizer(Tokenizer):
    r"""A token for each character.

    Parameters
    ----------
    characters : str
        The vocabulary: each character once. `CharacterTokenizer.of(text)` has those of a text. U+0000 pads rows if it
        is there, `CharacterTokenizer.of("\0" + text)`.

    Raises
    ------
    TypeError, ValueError
        If it is not a text, or a character is there twice.

    Examples
    --------
    >>> import nnarray as nn
    >>> tokenizer = nn.text.CharacterTokenizer.of("to be or not to be")
    >>> tokenizer.characters, tokenizer.encode("robe")
    (' benort', [5, 4, 1, 2])
    >>> tokenizer.decode([3, 4, 6])
    'not'
    """

    kind: ClassVar[str] = "characters"
    with_padding: ClassVar[str] = "nn.text.CharacterTokenizer.of('\\0' + text)"

    characters: str

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str):
            raise TypeError(f"characters must be a text, such as 'abc'; got {shown(self.characters)}.")
        checked_vocabulary(tuple(self.characters), "characters")

    @classmethod
    def of(cls, texts: str | Iterable[str]) -> CharacterTokenizer:
        """With the characters of a text, or of the parts of one, in the order of their code points.

        Raises
        ------
        ValueError
            If the text is empty.
        """
        found = set[str]()
        for text in [texts] if isinstance(texts, str) else texts:
            found.update(text)
        if not found:
            raise ValueError("the text is empty, and a vocabulary needs at least one character. Pass another text.")
        return cls("".join(sorted(found)))

    @property
    def tokens(self) -> str:
        """The characters."""
        return self.characters

    @property
    def padding(self) -> int | None:  # type: ignore[override]
        """The number of U+0000, if it is there."""
        return self.numbers.get("\0")

    def encode(self, text: str) -> list[int]:
        """The number of each character.

        Raises
        ------
        ValueError
            If a character is not in the vocabulary.
        """
        try:
            return [self.numbers[character] for character in checked_text(text)]
        except KeyError as error:
            missing = str(error.args[0])
            at = text.index(missing)
            raise ValueError(
                f"character {missing!r} (U+{ord(missing):04X}) at position {at}, line "
                f"{text.count(chr(10), 0, at) + 1}, is not in the vocabulary of {len(self)} characters. Leave it out, "
                f"or make the tokenizer of a text that has it; a ByteTokenizer has tokens for all texts."
            ) from None

    def decode(self, tokens: Any) -> str:
        """The characters of these numbers."""
        return "".join([self.characters[token] for token in self.checked(tokens)])


class OfBytes(Tokenizer):
    """Tokens that are bytes, one or several each: the text is read from them as UTF-8."""

    @property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes of each token."""
        raise NotImplementedError

    def decode(self, tokens: Any) -> str:
        """The text of the bytes; U+FFFD stands for bytes that are not UTF-8."""
        return b"".join([self.pieces[token] for token in self.checked(tokens)]).decode("utf-8", errors="replace")

    def decoder(self) -> Callable[[int], str]:
        """As of all tokenizers: the bytes of a character are collected until it is complete."""
        reader = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: reader.decode(self.pieces[self.checked([token])[0]])


def utf8(text: str) -> bytes:
    """The bytes of a text.

    Raises
    ------
    ValueError
        If it has half a character: a lone surrogate, as some files and terminals give for bytes they cannot read.
    """
    try:
        return checked_text(text).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has half a character, U+{ord(text[error.start]):04X}, at position {error.start}, which UTF-8 "
            f"cannot hold. Read the text with its own encoding."
        ) from None


@explain_settings
@dataclass(frozen=True, repr=False)
class ByteTokenizer(OfBytes):
    """A token for each of the 256 bytes of UTF-8: it has all texts, and needs no vocabulary.

    Rows are padded with 0, the byte of U+0000, which texts do not have.

    Examples
    --------
    >>> import nnarray as nn
    >>> tokenizer = nn.text.ByteTokenizer()
    >>> tokenizer.encode("né"), len(tokenizer)
    ([110, 195, 169], 256)
    >>> tokenizer.decode([110, 195, 169])
    'né'
    """

    kind: ClassVar[str] = "bytes"
    padding = 0

    @cached_property
    def tokens(self) -> tuple[str, ...]:  # type: ignore[override]
        """The bytes, as Latin-1 reads them."""
        return tuple(map(chr, range(256)))

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:  # type: ignore[override]
        """The bytes."""
        return tuple(bytes([i]) for i in range(256))

    def encode(self, text: str) -> list[int]:
        """The bytes of the text in UTF-8."""
        return [*utf8(text)]
