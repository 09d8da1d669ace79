"""What all tokenizers have: text to integers and back, batches, and a description in JSON."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from nnarray.backends import Backend
from nnarray.files import replace_by
from nnarray.kernels.loops import read
from nnarray.names import shown
from nnarray.text.batches import Batch, padded

FORMAT = "nnarray tokenizer"
"""The mark of a file of a tokenizer."""


class Tokenizer(ABC):
    """Text to integers and back, with a fixed vocabulary. The integer of a token is its place in the vocabulary.

    The classes derived from it are frozen dataclasses: two with the same settings are equal, and `to_json` has all of
    them. To keep one with a model, set `model.tokenizer`.
    """

    kind: ClassVar[str] = ""
    """Its name in files."""
    end: int | None = None
    """The token that ends a text, if there is one."""
    padding: int | None = None
    """The token that pads texts to equal length, if there is one."""
    with_padding: ClassVar[str] = "nn.text.WordPieceTokenizer(('[PAD]', ...))"
    """How one with a padding token is made."""

    @property
    @abstractmethod
    def tokens(self) -> Sequence[str]:
        """The vocabulary: the text of each token, in the order of their integers."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def fillers(self) -> frozenset[int]:
        """The tokens that no text has, so that a network may mask them."""
        return frozenset(() if self.padding is None else (self.padding,))

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""

    @property
    def around(self) -> tuple[list[int], list[int]]:
        """The tokens that `encode` puts before each text, and those behind it."""
        return [], []

    def encode_part(self, text: str) -> list[int]:
        """The tokens of a part of a text, without those that are `around` all of it."""
        before, behind = self.around
        tokens = self.encode(text)
        return tokens[len(before) : len(tokens) - len(behind)]

    def encode_prompt(self, text: str) -> list[int]:
        """The tokens of a text that goes on: with those that begin a text, and without those that end it.

        Of an empty text, it is the end of a text before it, if there is such a token.
        """
        tokens = [*self.around[0], *self.encode_part(text)]
        return tokens or ([] if self.end is None else [self.end])

    @abstractmethod
    def decode(self, tokens: Any) -> str:
        """The text of tokens: integers, or an array of any library, shape (length,)."""

    def batch(
        self,
        texts: Iterable[str],
        *,
        length: int | None = None,
        value: int | None = None,
        backend: str | Backend | None = None,
    ) -> Batch:
        """Several texts as rows of equal length, with a mask that is True where a row has a token.

        Parameters
        ----------
        texts : iterable of str
        length : int, optional
            The length of the rows: shorter texts are padded at the end, and longer ones are cut. That of the longest
            text if None.
        value : int, optional
            What shorter texts are padded with, such as the `ignore_index` of a loss for targets; the `padding` of the
            tokenizer if None.
        backend : str or Backend, optional
            Where the arrays are made, as in `nn.datasets`.

        Returns
        -------
        Batch
            `tokens`, integers, shape (texts, length), and `mask`, truth values of the same shape.

        Raises
        ------
        TypeError
            If it is one text, or an entry is not a text.
        ValueError
            If there are no texts; if one has the token that they are padded with, the `padding` of the tokenizer; if
            they have different lengths, and neither the tokenizer has a padding token nor `value` names one; or as
            `encode`.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts must be several texts; got one, {shown(texts)}. Pass [text], or call encode.")
        texts = list(texts)
        rows = [self.shortened(self.encode(text), length) for text in texts]
        value = self.padding if value is None else value
        if value is not None and value == self.padding:
            self._refuse_padding(texts, rows, value)
        if value is None:
            self._refuse_unequal(rows, length)
        return padded(rows, length=length, value=value or 0, backend=backend)

    def _refuse_padding(self, texts: list[str], rows: list[list[int]], padding: int) -> None:
        """Refuse texts that have the padding: a network could not distinguish them from shorter ones.

        Raises
        ------
        ValueError
            The message names the first one.
        """
        for number, (text, row) in enumerate(zip(texts, rows, strict=True)):
            if padding in row:
                token = shown(self.tokens[padding])
                raise ValueError(
                    f"texts: {shown(text)}, number {number}, has {token} at position {row.index(padding)}, the token "
                    f"that shorter texts are padded with. Leave it out: text.replace({token}, '')."
                )

    def _refuse_unequal(self, rows: list[list[int]], length: int | None) -> None:
        """Refuse rows that would be padded with a token that texts have.

        Raises
        ------
        ValueError
            The message has a tokenizer with a padding token.
        """
        lengths = {len(row) for row in rows} | (set() if length is None else {length})
        if len(lengths) > 1:
            raise ValueError(
                f"the rows have {min(lengths)} to {max(lengths)} tokens, and the tokenizer has no padding token: token "
                f"0 is {shown(self.tokens[0])}, which texts may have. Use one that has, such as {self.with_padding}. "
                f"Or pass value=, a token to pad with, and leave it out of the loss by the mask."
            )

    def shortened(self, tokens: list[int], length: int | None) -> list[int]:
        """At most the first `length` tokens."""
        return tokens[:length]

    def decoder(self) -> Callable[[int], str]:
        """A function that takes one token after another, and returns the text that each one adds.

        It waits where a token is only a part of a character.
        """
        seen: list[int] = []
        said = 0

        def text_of(token: int) -> str:
            nonlocal said
            seen.append(token)
            text = self.decode(seen)
            new, said = text[said:], len(text)
            return new

        return text_of

    def checked(self, tokens: Any) -> list[int]:
        """Tokens as Python integers, each in the vocabulary.

        Raises
        ------
        TypeError, ValueError
            If there is anything else; the message names it.
        """
        return checked_tokens(tokens, len(self))

    # --- Files -------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All settings as JSON values; `nn.text.tokenizer_from_json` makes the tokenizer again."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self))  # type: ignore[arg-type]
        return {"kind": self.kind} | {name: [*x] if isinstance(x, tuple) else x for name, x in values}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Tokenizer:
        """The tokenizer of settings as `to_json` returns them, without the kind; lists are tuples again."""
        known = {each.name for each in fields(cls)}  # type: ignore[arg-type]
        if unknown := set(settings) - known:
            raise ValueError(f"unknown settings {', '.join(sorted(map(str, unknown)))}")
        return cls(**{name: tuple(x) if isinstance(x, list) else x for name, x in settings.items()})

    def save(self, path: str | Path) -> None:
        """Write the tokenizer into a .json file, which `nn.text.load` reads; an old file is replaced as a whole.

        Raises
        ------
        OSError
            If the folder does not exist, may not be written to, or is full.
        ValueError
            If the path has another ending.
        """
        file = Path(path)
        if file.suffix != ".json":
            raise ValueError(f"a tokenizer is saved as a .json file; got {str(path)!r}. Pass another path.")
        replace_by(file, json.dumps({"format": FORMAT} | self.to_json(), ensure_ascii=False).encode("utf-8"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} tokens)"

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The integer of each token."""
        return {token: i for i, token in enumerate(self.tokens)}


def checked_vocabulary(tokens: Any, what: str) -> None:
    """Refuse anything but different texts, none of them empty.

    Raises
    ------
    TypeError, ValueError
        The message names the first fault.
    """
    if not isinstance(tokens, tuple) or not all(isinstance(token, str) for token in tokens):
        raise TypeError(f"{what} must be a tuple of texts, one for each token; got {shown(tokens)}.")
    if not tokens:
        raise ValueError(f"{what} must have at least one token; got none.")
    seen: dict[str, int] = {}
    _refuse_half_characters(tokens, what)
    for i, token in enumerate(tokens):
        if not token or token in seen:
            fault = (
                f"is empty (number {i})" if not token else f"{token!r} is there twice (numbers {seen[token]} and {i})"
            )
            raise ValueError(f"{what}: a token {fault}. Each token must be there once.")
        seen[token] = i


HALF = re.compile("[\ud800-\udfff]")  # a lone surrogate, which UTF-8 and so no file of a model can hold


def _refuse_half_characters(tokens: tuple[str, ...], what: str) -> None:
    """Refuse a token with half a character.

    Raises
    ------
    ValueError
        The message has its code.
    """
    half = HALF.search("".join(tokens))
    if half is not None:
        number = next(i for i, token in enumerate(tokens) if half[0] in token)
        raise ValueError(
            f"{what}: token {number} has half a character, U+{ord(half[0]):04X}, which UTF-8 cannot hold. Read the "
            f"text with its own encoding, or leave it out: text.encode('utf-8', 'ignore').decode('utf-8')."
        )


def checked_text(text: Any) -> str:
    """The argument, a text.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if not isinstance(text, str):
        remedy = " Decode it first: text.decode('utf-8')." if isinstance(text, bytes) else ""
        raise TypeError(f"text must be a str; got {shown(text)}.{remedy}")
    return text


def checked_tokens(tokens: Any, size: int, name: str = "tokens") -> list[int]:
    """Tokens, shape (length,), as Python integers from 0 to `size` - 1.

    Raises
    ------
    TypeError, ValueError
        If there is anything else; the message names it.
    """
    if isinstance(tokens, str):
        raise TypeError(f"{name} must be integers; got text, {shown(tokens)}. Encode it first.")
    numbers = list(read(tokens)) if hasattr(tokens, "shape") else list(tokens)
    for i, token in enumerate(numbers):
        if isinstance(token, bool) or not _is_integer(token):
            raise TypeError(f"{name} must be integers along one axis; got {shown(token)} at position {i}.")
        if not 0 <= token < size:
            raise ValueError(
                f"{name}: {int(token)} at position {i} is not in the vocabulary, which has 0 to {size - 1}. Use the "
                f"tokenizer that the tokens were made with."
            )
    return [int(token) for token in numbers]


def _is_integer(x: Any) -> bool:
    """Whether a number is an integer; some libraries give the entries of an array of integers as floats."""
    return hasattr(x, "__index__") or (isinstance(x, float) and x.is_integer())
