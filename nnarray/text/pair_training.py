"""Learning the pairs of byte-pair encoding: the most frequent pair of neighbours is joined, again and again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

Pair = tuple[int, int]

LEAST = 2  # how often a pair must occur to become a token


def learned_pairs(words: Iterable[tuple[str, ...]], alphabet: Sequence[str], most: int) -> list[tuple[str, str]]:
    """At most `most` pairs of parts, in the order in which they are joined.

    Of pairs that are equally frequent, that of the lowest numbers is first; the alphabet has the lowest, then each
    joined part in turn.
    """
    number = {symbol: i for i, symbol in enumerate(alphabet)}
    counted = Counter(words)
    corpus = _Corpus([[number[symbol] for symbol in word] for word in counted], [*counted.values()])
    names, found = list(alphabet), list[tuple[str, str]]()
    while len(found) < most and (pair := corpus.most_frequent()) is not None:
        first, second = names[pair[0]], names[pair[1]]
        corpus.join(pair, len(names))
        names.append(first + second)
        found.append((first, second))
    return found


class _Corpus:
    """Different words, how often each occurs, and how often each pair of neighbours occurs in them."""

    def __init__(self, words: list[list[int]], frequencies: list[int]) -> None:
        self.words, self.frequencies = words, frequencies
        self.counts: Counter[Pair] = Counter()
        self.where: defaultdict[Pair, set[int]] = defaultdict(set)
        for i in range(len(words)):
            self._count(i, 1)
        self.waiting = [(-count, pair) for pair, count in self.counts.items()]
        heapify(self.waiting)

    def _count(self, i: int, sign: int) -> None:
        """Add the pairs of a word, or take them away."""
        for pair in pairwise(self.words[i]):
            self.counts[pair] += sign * self.frequencies[i]
            if sign > 0:
                self.where[pair].add(i)

    def most_frequent(self) -> Pair | None:
        """The most frequent pair; None if no pair occurs often enough.

        The heap may have old counts, which are too high. They are corrected when they come first.
        """
        while self.waiting:
            count, pair = heappop(self.waiting)
            now = self.counts[pair]
            if now == -count:
                return pair if now >= LEAST else None
            if now > 0:
                heappush(self.waiting, (-now, pair))
        return None

    def join(self, pair: Pair, new: int) -> None:
        """Replace a pair by one number in all words."""
        changed = set[Pair]()
        for i in self.where.pop(pair):
            self._count(i, -1)
            self.words[i] = _joined(self.words[i], pair, new)
            self._count(i, 1)
            changed.update(each for each in pairwise(self.words[i]) if new in each)
        for each in changed:
            heappush(self.waiting, (-self.counts[each], each))


def _joined(word: list[int], pair: Pair, new: int) -> list[int]:
    joined, i = list[int](), 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            joined.append(new)
            i += 2
        else:
            joined.append(word[i])
            i += 1
    return joined
