"""In words: what is happening in a training, why, and which control helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from nnarray.apps.playground import english, japanese
from nnarray.apps.playground.built import rate_of, shown_paths
from nnarray.apps.playground.catalog import CLASSES, UNITS
from nnarray.apps.playground.packing import numbers
from nnarray.apps.playground.settings import Settings
from nnarray.backends import namespace
from nnarray.functional.hooks import Passage
from nnarray.typing import Array

LANGUAGES = {"en": english, "ja": japanese}

WARNING, NOTE, GOOD = "warning", "note", "good"
MOST = 3
"""How many things are said at once."""

LATELY = 20
"""Epochs that are looked back at."""
RISE, JUMPS = 1.05, 6
"""A loss that rose by this factor jumped; so many jumps lately say that the learning rate is too high."""
SMALL_LOSS = 0.02
"""Below this part of its first value, the loss may jump as it likes."""
STILL = 0.002
"""The relative change of the loss lately that is hardly one."""
TINY_RATE = 1e-4
FLAT = {"tanh": 0.97, "softsign": 0.97, "logistic": 0.97}
"""Bounded activations, and the part of their range beyond which they are flat."""
WORSE = 1.2
"""The test loss, relative to its best value, from which the network overfits."""
VANISHED = 1000.0
RIGHT, NOT_RIGHT = 0.97, 0.85


@dataclass(frozen=True)
class Sight:
    """What is known of a training at one moment.

    Attributes
    ----------
    settings : Settings
    task : str
    epoch : int
    losses : sequence of float
        Of the last epochs.
    first_loss : float
    seen : sequence of rows (epoch, train loss, test loss, train accuracy, test accuracy)
    gradients : mapping of str to float
        The norm of each layer's.
    passages : mapping of str to Passage
        Of some training examples.
    diverged : bool
    """

    settings: Settings
    task: str
    epoch: int
    losses: Sequence[float]
    first_loss: float
    seen: Sequence[Sequence[float | None]]
    gradients: Mapping[str, float]
    passages: Mapping[str, Passage]
    diverged: bool = False


@dataclass(frozen=True)
class Remark:
    """One thing that is seen: its key among the texts, its facts, and the change of the settings that may help."""

    key: str
    level: str
    facts: Mapping[str, Any]
    control: str = ""
    change: Mapping[str, Any] | None = None
    resets: bool = False
    """Whether the weights should be drawn again after the change."""

    def event(self, language: str) -> dict[str, Any]:
        """The remark as the page gets it."""
        text, why, button = (each.format(**self.facts) for each in LANGUAGES[language].WORDS[self.key])
        said = {"key": self.key, "level": self.level, "text": text, "why": why, "control": self.control or None}
        return said | {"try": self.change, "reset": self.resets, "button": button or None}


def remarks(sight: Sight) -> list[Remark]:
    """The most important things that are seen, at most three; one at least."""
    if sight.diverged:
        return [replace(_with_rate("diverged", sight, 0.1, epoch=sight.epoch + 1), resets=True)]
    if not sight.epoch:
        return [Remark("untrained", NOTE, {})]
    said = [*_of_rate(sight), *_of_units(sight), *_of_gradients(sight), *_of_fit(sight)]
    return said[:MOST] or [Remark("learning", NOTE, {})]


def _with_rate(key: str, sight: Sight, factor: float, **facts: Any) -> Remark:
    """A remark whose remedy is another learning rate."""
    rate = rate_of(sight.settings.training)
    lr = float(f"{factor * rate:.3g}")
    change = {"training": {"options": {"lr": lr}}}
    return Remark(key, WARNING, {"rate": rate, "lr": lr, **facts}, "training.options.lr", change)


def _of_rate(sight: Sight) -> Iterator[Remark]:
    losses = sight.losses[-LATELY:]
    if len(losses) < LATELY:
        return
    jumps = sum(after > RISE * before for before, after in pairwise(losses))
    if jumps >= JUMPS and losses[-1] > SMALL_LOSS * sight.first_loss:
        yield _with_rate("rate_too_high", sight, 0.3)
    elif rate_of(sight.settings.training) < TINY_RATE and abs(losses[-1] - losses[0]) < STILL * abs(losses[0]):
        yield _with_rate("rate_too_low", sight, 10.0)


# --- Units -----------------------------------------------------------------------------------------------------------


def _of_units(sight: Sight) -> Iterator[Remark]:
    """Units that cannot learn."""
    paths = shown_paths(sight.settings.network)
    for i, (layer, path) in enumerate([*paths.items()][:-1]):
        each, passage = sight.settings.network.layers[i], sight.passages.get(path)
        if passage is None:
            continue
        facts = {"layer": layer, "units": each.units, "activation": each.activation}
        if each.activation == "relu" and (dead := _dead(passage.y)):
            level = WARNING if 4 * dead >= each.units else NOTE
            change = _layer_changed(sight.settings, i, activation="leaky_relu")
            yield Remark("dying_relu", level, facts | {"count": dead}, f"network.layers.{i}.activation", change)
        limit = FLAT.get(each.activation)
        if limit and not each.batch_norm and 2 * (count := _flat(passage.y, each.activation, limit)) > each.units:
            change = _layer_changed(sight.settings, i, batch_norm=True)
            yield Remark("saturation", WARNING, facts | {"count": count}, f"network.layers.{i}.batch_norm", change)


def _dead(y: Array) -> int:
    """The number of units that are 0 for all examples."""
    xp = namespace(y)
    return int(xp.sum(xp.astype(xp.all(xp.reshape(y, (-1, y.shape[-1])) == 0.0, axis=0), xp.int32)))


def _flat(y: Array, activation: str, limit: float) -> int:
    """The number of units that are at the ends of their range for most examples."""
    xp = namespace(y)
    centred = 2.0 * y - 1.0 if activation == "logistic" else y
    often = xp.mean(xp.astype(xp.abs(xp.reshape(centred, (-1, y.shape[-1]))) > limit, xp.float32), axis=0)
    return sum(part > 0.8 for part in numbers(often))


def _layer_changed(settings: Settings, position: int, **change: Any) -> dict[str, Any]:
    """The change of the settings that changes one layer, or all if the position is -1."""
    layers = [each.tree | (change if position in (i, -1) else {}) for i, each in enumerate(settings.network.layers)]
    return {"network": {"layers": layers}}


def _of_gradients(sight: Sight) -> Iterator[Remark]:
    norms = [*sight.gradients.items()]
    if len(norms) < 3:
        return
    (first, least), last = norms[0], norms[-1][1]
    if last > 0.0 and least * VANISHED < last:
        facts = {"layer": first, "ratio": min(last / max(least, 1e-30), 1e9)}
        change = _layer_changed(sight.settings, -1, activation="relu")
        yield Remark("vanishing", WARNING, facts, "network.layers.0.activation", change)


# --- The fit ---------------------------------------------------------------------------------------------------------


def _of_fit(sight: Sight) -> Iterator[Remark]:
    if not sight.seen:
        return
    _, train, test, right, right_of_test = sight.seen[-1]
    network, lately = sight.settings.network, sight.losses[-LATELY:]
    still = len(lately) == LATELY and lately[0] - lately[-1] < 0.01 * abs(lately[0])
    bends = any(each.activation != "identity" for each in network.layers)
    is_right = right is not None and right >= RIGHT
    if not bends and sight.task == CLASSES and still and not is_right:
        change = {"network": {"layers": [{"units": 8, "activation": "tanh"}]}}
        yield Remark("linear", WARNING, {}, "network.layers", change)
    elif bends and train is not None and test is not None and (remark := _overfitting(sight, train, test)):
        yield remark
    elif is_right and (right_of_test is None or right_of_test >= 0.95 * RIGHT):
        yield Remark("learned", GOOD, {})
    elif still and right is not None and right < NOT_RIGHT and sight.epoch > 5 * LATELY and network.layers:
        units = min(2 * network.layers[0].units, UNITS)
        change = _layer_changed(sight.settings, 0, units=units)
        yield Remark("underfitting", NOTE, {"units": units}, "network.layers.0.units", change)


def _overfitting(sight: Sight, train: float, test: float) -> Remark | None:
    """That the test loss rose from its best value, while the training loss fell."""
    rows = [(row[2], row[1]) for row in sight.seen if row[2] is not None and row[1] is not None]
    best, train_then = min(rows)
    if not (test > WORSE * best and train < train_then and test > 1.5 * train):
        return None
    before = sight.settings.training.l2
    l2 = float(f"{3.0 * before:.3g}") if before else 0.001
    facts = {"best": best, "test": test, "l2": min(l2, 10.0)}
    return Remark("overfitting", WARNING, facts, "training.l2", {"training": {"l2": facts["l2"]}})
