"""All settings of a playground as one frozen tree: checked, to and from JSON, and short enough for an address."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from nnarray.apps.playground import catalog
from nnarray.apps.playground.checking import (
    Check,
    Wrong,
    at,
    from_json,
    number,
    numbers_by_name,
    object_of,
    one_of,
    optional,
    several,
    switch,
    text,
    whole,
)

LONGEST = 65_536
"""The largest number of characters of all settings as JSON."""
DIGITS = 4
"""Decimals of a drawn point."""

SEED = whole(0, 2**32 - 1)
UNLIMITED = 100_000
"""Epochs of a training, at most: its script prints the loss of each."""


def by(check: Check) -> dict[str, Check]:
    """The metadata of a field with this check."""
    return {"check": check}


def point(value: Any) -> tuple[float, float, int]:
    """A drawn point: two coordinates and a class."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise Wrong("must be a point, [x1, x2, class].")
    place = number(-1000.0, 1000.0)
    return round(place(value[0]), DIGITS), round(place(value[1]), DIGITS), whole(0, 9)(value[2])


@dataclass(frozen=True)
class Part:
    """A part of the tree: an object of JSON, each entry of which has a check."""

    @classmethod
    def of(cls, tree: Any) -> Self:
        """The part that a JSON object describes; what it leaves out has its default value.

        Raises
        ------
        Wrong
            If an entry is unknown or out of range; `at` says which.
        """
        checks = {each.name: each.metadata["check"] for each in fields(cls)}
        tree = object_of(tree, [*checks])
        return cls(**{name: at(name, checks[name], value) for name, value in tree.items()})

    @property
    def tree(self) -> dict[str, Any]:
        """The part as a JSON object, with all entries."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Part):
        return value.tree
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True)
class DataSettings(Part):
    """What is learned."""

    kind: str = field(default="moons", metadata=by(one_of(catalog.DATA, "kind of data")))
    n: int = field(default=200, metadata=by(whole(4, catalog.EXAMPLES)))
    noise: float = field(default=0.1, metadata=by(number(0.0, 10.0)))
    seed: int = field(default=0, metadata=by(SEED))
    test: float = field(default=0.25, metadata=by(number(0.0, 0.9)))
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], metadata=by(numbers_by_name))
    formula: str = field(default="sin(6*x)", metadata=by(text(200)))
    low: float = field(default=-1.0, metadata=by(number(-1000.0, 1000.0)))
    high: float = field(default=1.0, metadata=by(number(-1000.0, 1000.0)))
    points: tuple[tuple[float, float, int], ...] = field(default=(), metadata=by(several(point, catalog.POINTS)))
    columns: tuple[str, ...] = field(default=(), metadata=by(several(text(200), 2)))
    target: str = field(default="", metadata=by(text(200)))

    def __post_init__(self) -> None:
        refuse_others(self.options, catalog.DATA[self.kind].options, "options", self.kind)
        if not self.low < self.high:
            raise Wrong(f"must be above low, {self.low:g}; got {self.high:g}.", "high")


@dataclass(frozen=True)
class LayerSettings(Part):
    """A hidden layer."""

    units: int = field(default=8, metadata=by(whole(1, catalog.UNITS)))
    kernel: int = field(default=3, metadata=by(whole(1, catalog.KERNEL)))
    """Rows and columns of the filters, for images."""
    activation: str = field(default="tanh", metadata=by(one_of(catalog.ACTIVATIONS, "activation")))
    dropout: float = field(default=0.0, metadata=by(number(0.0, 0.9)))
    batch_norm: bool = field(default=False, metadata=by(switch))


@dataclass(frozen=True)
class NetworkSettings(Part):
    """The network; its output layer follows from the data."""

    layers: tuple[LayerSettings, ...] = field(
        default=(LayerSettings(),), metadata=by(several(LayerSettings.of, catalog.LAYERS))
    )
    init: str = field(default=catalog.AUTO, metadata=by(one_of(catalog.INITS, "initializer")))
    seed: int = field(default=0, metadata=by(SEED))
    precision: str = field(default="float32", metadata=by(one_of(catalog.PRECISIONS, "precision")))


@dataclass(frozen=True)
class TrainingSettings(Part):
    """How it is trained."""

    loss: str = field(default=catalog.AUTO, metadata=by(one_of(catalog.ALL_LOSSES, "loss")))
    optimizer: str = field(default="adam", metadata=by(one_of(catalog.STEPPERS, "optimizer")))
    options: Mapping[str, Any] = field(default_factory=lambda: {"lr": 0.01}, metadata=by(numbers_by_name))
    schedule: str = field(default="constant", metadata=by(one_of(catalog.SCHEDULES, "schedule")))
    schedule_options: Mapping[str, Any] = field(default_factory=dict[str, Any], metadata=by(numbers_by_name))
    batch_size: int | None = field(default=32, metadata=by(optional(whole(1, catalog.EXAMPLES))))
    l1: float = field(default=0.0, metadata=by(number(0.0, 10.0)))
    l2: float = field(default=0.0, metadata=by(number(0.0, 10.0)))
    seed: int = field(default=0, metadata=by(SEED))
    epochs: int = field(default=UNLIMITED, metadata=by(whole(1, UNLIMITED)))

    def __post_init__(self) -> None:
        refuse_others(self.options, catalog.STEPPERS[self.optimizer], "options", self.optimizer)
        refuse_others(self.schedule_options, catalog.SCHEDULES[self.schedule], "schedule_options", self.schedule)


def refuse_others(options: Mapping[str, Any], known: Mapping[str, Any], where: str, of: str) -> None:
    """Refuse options that the thing chosen does not have."""
    for name in options:
        if name not in known:
            raise Wrong(f"is no option of {of}; it has {', '.join(known) or 'none'}.", f"{where}.{name}")


OWNERS = {"kind": "options", "optimizer": "options", "schedule": "schedule_options"}
"""Choices, and the options that belong to them: another choice begins with its own default values."""


@dataclass(frozen=True)
class Settings(Part):
    """All settings.

    Examples
    --------
    >>> from nnarray.apps.playground.settings import Settings
    >>> settings = Settings().changed({"data": {"kind": "spirals", "options": {"turns": 2.0}}})
    >>> settings.data.kind, settings.network.layers[0].units
    ('spirals', 8)
    >>> Settings.from_link(settings.link) == settings
    True
    """

    data: DataSettings = field(default=DataSettings(), metadata=by(DataSettings.of))
    network: NetworkSettings = field(default=NetworkSettings(), metadata=by(NetworkSettings.of))
    training: TrainingSettings = field(default=TrainingSettings(), metadata=by(TrainingSettings.of))

    def changed(self, tree: Any) -> Settings:
        """The settings with some entries changed; lists are replaced as a whole.

        Raises
        ------
        Wrong
            If an entry is unknown or out of range.
        """
        return Settings.of(merged(self.tree, tree))

    @property
    def json(self) -> str:
        """All settings as a JSON text."""
        return json.dumps(self.tree, indent=1)

    @property
    def link(self) -> str:
        """What differs from the default settings, as a part of an address."""
        short = json.dumps(_difference(self.tree, Settings().tree), separators=(",", ":"))
        return "s=" + base64.urlsafe_b64encode(zlib.compress(short.encode(), 9)).decode().rstrip("=")

    @classmethod
    def from_link(cls, link: Any) -> Settings:
        """The settings that a link has, with or without what stands before it.

        Raises
        ------
        Wrong
            If it is damaged, or has settings that are refused.
        """
        if not isinstance(link, str) or len(link) > LONGEST:
            raise Wrong(f"must be a text of at most {LONGEST} characters.", "link")
        packed = link.rpartition("s=")[2]
        try:
            unpacking = zlib.decompressobj()
            raw = base64.b64decode(packed + "=" * (-len(packed) % 4), b"-_", validate=True)
            plain = unpacking.decompress(raw, LONGEST)
        except (ValueError, zlib.error):
            raise Wrong("is damaged; copy all of it.", "link") from None
        if not unpacking.eof:
            raise Wrong("is damaged or too long; copy all of it.", "link")
        return _completed(from_json(plain))


def _completed(difference: Any) -> Settings:
    """The settings that differ in these entries from the default ones."""
    tree = Settings().tree
    for name, part in object_of(difference, [*tree]).items():
        tree[name] |= object_of(part, [*tree[name]])
    return Settings.of(tree)


def merged(tree: Any, change: Any) -> Any:
    """A tree with a change; objects are merged, everything else is replaced."""
    if not isinstance(tree, Mapping) or not isinstance(change, Mapping):
        return change
    free = {options for choice, options in OWNERS.items() if choice in change and tree.get(choice) != change[choice]}
    kept = {name: {} if name in free else value for name, value in tree.items()}
    return {**kept, **{name: merged(kept.get(name), value) for name, value in change.items()}}


def _difference(tree: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of each part that differ from the usual ones."""
    parts = {
        name: {each: value for each, value in part.items() if value != usual[name][each]} for name, part in tree.items()
    }
    return {name: part for name, part in parts.items() if part}
