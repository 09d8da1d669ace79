"""Small tales that are made by a grammar: a text to learn from, in which names come back."""

from __future__ import annotations

from collections.abc import Sequence

from nnarray import random
from nnarray.backends import host_backend
from nnarray.checks import integer
from nnarray.kernels.loops import read
from nnarray.random import Key

ANIMALS = ("mouse", "fox", "owl", "hare", "bear", "frog", "crow", "cat", "dog", "goose", "otter", "mole")
KINDS = ("small", "old", "clever", "sleepy", "brave", "shy", "quick", "quiet", "hungry", "merry")
NAMES = ("Pip", "Mina", "Tobo", "Lulu", "Fenn", "Ada", "Rufo", "Nell", "Olo", "Suri", "Bram", "Kiki")
PLACES = ("under the oak", "by the river", "on the hill", "in the barn", "near the mill", "behind the wall")
THINGS = ("a red button", "a blue feather", "a silver spoon", "a round stone", "an old key", "a warm scarf")
FOODS = ("bread", "honey", "berries", "nuts", "soup", "cheese")
WEATHER = ("it rained", "the sun shone", "the wind blew", "snow fell", "it was foggy")
FEELINGS = ("happy", "proud", "tired", "glad", "calm")


class _Words:
    """Words that are drawn from a key, one after the other."""

    def __init__(self, key: Key) -> None:
        host = host_backend()
        self.drawn = iter(read(random.bits(key, (32,), xp=host.xp, device=host.device) & 0x7FFFFFFF))

    def one(self, words: Sequence[str], *but: str) -> str:
        """One of the words, but not these."""
        left = [word for word in words if word not in but]
        return left[int(next(self.drawn)) % len(left)]


def tales(count: int = 1000, *, seed: int = 0) -> str:
    """Small tales in plain English, made by a grammar: who is introduced by name comes back by that name.

    A model that looks back far enough can know names and things before they are repeated. The text is made by this
    function alone, and is free for any use.

    Parameters
    ----------
    count : int
        The number of tales, of about 300 characters each.
    seed : int
        A longer text begins with a shorter one of the same seed.

    Returns
    -------
    str
        A blank line ends each tale.

    Examples
    --------
    >>> import nnarray as nn
    >>> print(nn.datasets.tales(1, seed=2))  # doctest: +ELLIPSIS
    There was once a quick fox called Kiki. Kiki lived by the river.
    ...
    """
    key = Key(seed).fold("tales")
    return "".join(_tale(_Words(key.fold(i))) for i in range(integer(count, "count", 1, usual=1000)))


def _tale(words: _Words) -> str:
    name, other = (first := words.one(NAMES)), words.one(NAMES, first)
    animal = words.one(ANIMALS)
    friend, thing, food = words.one(ANIMALS, animal), words.one(THINGS), words.one(FOODS)
    plain = thing.split(" ", 1)[1]
    lines = [
        f"There was once a {words.one(KINDS)} {animal} called {name}. {name} lived {words.one(PLACES)}.",
        f"One day {words.one(WEATHER)}, and {name} found {thing} {words.one(PLACES)}.",
        f'"Whose {plain} is this?" asked {name}.',
        f"{other} the {friend} came by. {_answer(words, other, plain)}",
        f"So {name} gave the {plain} to {other}, and {other} gave {name} some {food}.",
        f"They ate the {food} {words.one(PLACES)}. {name} was {words.one(FEELINGS)}, and so was {other}.",
    ]
    return "\n".join(lines) + "\n\n"


def _answer(words: _Words, other: str, plain: str) -> str:
    return words.one(
        (
            f'"It is mine," said {other}.',
            f'"I lost my {plain}," said {other}.',
            f'"That {plain} is mine!" said {other}.',
            f"{other} looked for a {plain.split(' ', 1)[1]}.",
        )
    )
