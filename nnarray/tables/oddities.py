"""Entries that are computed with, though the training has met none like them: which, and how many rows have some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Masks = dict[str, np.ndarray]
"""By kind, which entries of a column are odd, shape (n,), bool; only kinds of which there are any."""
Odd = Mapping[str, Masks]
"""The masks of each column that has odd entries."""

UNKNOWN, MISSING, FAR = "unknown", "missing", "far"
SAID = {
    UNKNOWN: "have categories that were not in the training, and count as none there",
    MISSING: "have missing entries where the training had none",
    FAR: "have numbers far outside the range of the training",
}


def masks(**kinds: np.ndarray) -> Masks:
    """Those kinds of which there are any."""
    return {kind: mask for kind, mask in kinds.items() if mask.any()}


@dataclass
class Oddities:
    """How many rows have odd entries, by kind, added up part by part."""

    of: int = 0
    rows: Counter[str] = field(default_factory=Counter[str])
    columns: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    """By kind: the number of odd entries in each column."""

    def add(self, rows: int, odd: Odd) -> None:
        """Add the rows of a part."""
        self.of += rows
        for kind in SAID if odd else ():
            of_kind = {name: each[kind] for name, each in odd.items() if kind in each}
            if of_kind:
                self.rows[kind] += int(np.any(list(of_kind.values()), axis=0).sum())
                self.columns.setdefault(kind, Counter()).update({name: int(m.sum()) for name, m in of_kind.items()})

    @property
    def described(self) -> dict[str, str]:
        """A sentence for each kind of which there are any."""
        return {
            kind: f"{self.rows[kind]} of {self.of} rows {said}: column {_each(self.columns[kind])}"
            for kind, said in SAID.items()
            if self.rows[kind]
        }

    def to_json(self, kind: str) -> dict[str, Any]:
        """One kind for JSON."""
        return {"rows": self.rows[kind], "columns": dict(self.columns.get(kind, {}))}


def _each(columns: Counter[str]) -> str:
    return ", ".join(f"{name!r} in {count}" for name, count in columns.most_common())
