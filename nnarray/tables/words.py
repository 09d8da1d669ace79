"""Columns of short free text: words and pairs of words, hashed to a fixed number of inputs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar
from zlib import crc32

import numpy as np

from nnarray.tables.arrow import arrow
from nnarray.tables.cells import Rows, refuse_kind, text_of
from nnarray.tables.oddities import Masks
from nnarray.tables.saved import object_of, string

BUCKETS = 256
TOGETHER = 4_096  # entries whose words are in memory at a time
WORD = re.compile(r"\w+")
SEVERAL = r"\pL\S*\s+(\S+\s+)*\S*\pL"  # words with a letter, a blank between them
SENTENCES, WORDS, ALIKE = 30, 3, 100  # more values than this, so many words each and fewer rows: sentences, no names
OFTEN = 0.5  # of the entries have several words: a text, and not a code or a name of the row


@dataclass(frozen=True)
class TextColumn:
    """256 inputs: the words of an entry, and pairs of neighbours, each add 1 or -1 to one of them; then of length 1.

    Which input, and which sign, the CRC-32 of the word in lower case says, so that nothing is learned from the
    training, and new words are welcome. An entry without words, or a missing one, is 0 in all of them.

    References
    ----------
    .. [1] Weinberger, Dasgupta, Langford, Smola & Attenberg (2009), Feature hashing for large scale multitask learning.
       ICML.
    """

    name: str
    note: str = field(default="", compare=False, repr=False)

    kind: ClassVar[str] = "text"

    @classmethod
    def fit(cls, name: str) -> TextColumn:
        """Nothing is learned; what is done is noted, for the column may be names that say nothing."""
        note = f"column {name!r} is taken as free text; if it only names the rows, leave it out: --drop {name}"
        return cls(name, note)

    @classmethod
    def of_sentences(cls, name: str, count: int) -> TextColumn:
        """Of so many different sentences, which could be categories as well: but then a new one would be refused."""
        note = f"column {name!r} has {count} different sentences, and is taken as free text"
        return cls(name, f"{note}; for an input for each instead: --categories {name}")

    @property
    def features(self) -> list[str]:
        """The names of its inputs."""
        return [f"{self.name} words {k}" for k in range(BUCKETS)]

    @property
    def done(self) -> str:
        """What was done, for a report."""
        return f"words and pairs of words, hashed to {BUCKETS} inputs"

    def write(self, out: np.ndarray, column: Any, rows: Rows, ignore: bool) -> Masks:
        """Fill the inputs of this column, shape (n, 256); no entry is odd."""
        refuse_kind(column, self.name, "text")
        text = text_of(column)
        for start in range(0, len(text), TOGETHER):
            _hash(text.slice(start, TOGETHER).to_pylist(), out[start : start + TOGETHER])
        return {}

    def to_json(self) -> dict[str, Any]:
        """The column's settings, as they are saved in a file."""
        return {"kind": self.kind, "name": self.name, "buckets": BUCKETS}

    @classmethod
    def from_json(cls, data: object, what: str) -> TextColumn:
        """The column from saved settings; refuses what is not valid, and calls it `what`."""
        fields = object_of(data, {"kind", "name", "buckets"}, what)
        if fields["buckets"] != BUCKETS or isinstance(fields["buckets"], bool):
            raise ValueError(f"the buckets of {what} must be {BUCKETS}; got {str(fields['buckets'])[:60]}.")
        return cls(string(fields["name"], f"the name of {what}"))


def _hash(texts: list[str | None], out: np.ndarray) -> None:
    """Fill the inputs of some entries, shape (n, 256)."""
    out[:] = 0
    known = [(i, crc32(term.encode())) for i, text in enumerate(texts) for term in terms(text)]
    if not known:
        return
    row, code = np.asarray(known, dtype=np.int64).T
    sign = 1 - 2 * (code >> 31)  # another bit than those of the input
    np.add.at(out, (row, code % BUCKETS), sign.astype(out.dtype))
    length = np.sqrt(np.sum(out**2, axis=1, keepdims=True))
    np.divide(out, length, out=out, where=length > 0)


def terms(text: str | None) -> Iterator[str]:
    """The words of a text in lower case, and its pairs of neighbouring ones."""
    words = WORD.findall((text or "").lower())
    yield from words
    yield from (f"{first} {second}" for first, second in pairwise(words))


def are_sentences(text: Any, values: list[str]) -> bool:
    """Whether the different values of a text are sentences of few rows each, of which new data have others."""
    if len(values) <= SENTENCES or len(text) - text.null_count >= ALIKE * len(values):
        return False
    return sum(len(value.split()) for value in values) >= WORDS * len(values) and is_free_text(text)


def is_free_text(text: Any) -> bool:
    """Whether most entries that are not missing have several words."""
    known = len(text) - text.null_count
    several = arrow().compute.sum(arrow().compute.match_substring_regex(text, SEVERAL)).as_py() or 0
    return known > 0 and several > OFTEN * known
