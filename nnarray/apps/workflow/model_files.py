"""The files of a training: that of the unfinished one, and the model that replaces an earlier one in the end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from nnarray.backends import host_backend
from nnarray.model import Model
from nnarray.network import load
from nnarray.persistence import archive
from nnarray.persistence.archive import Archive
from nnarray.training.callbacks import EarlyStopping
from nnarray.version import __version__

UNFINISHED = ".unfinished"
AGAIN = "begin again with --restart in place of --resume"
FOLDS = "folds"
"""The entry of the metadata: of how many networks a cross-validation chose the epochs."""
DIGEST = "text digest"
"""The entry of the metadata: of which text a language model is."""


def unfinished_file(out: Path) -> Path:
    """The file of a training that has not ended, beside that of its model: `m.unfinished.safetensors`."""
    return out.with_name(f"{out.stem}{UNFINISHED}{out.suffix}")


def file_to_resume(out: Path) -> Path | None:
    """The file that `--resume` continues: of an unfinished training, else the model itself, if there is one."""
    return next((file for file in (unfinished_file(out), out) if file.exists()), None)


def refuse_to_begin_again(out: Path) -> None:
    """Refuse to train from the start over an unfinished training, whose epochs would be lost.

    Raises
    ------
    FileExistsError
        If there is one; the message names both ways to go on.
    """
    unfinished = unfinished_file(out)
    if unfinished.exists():
        raise FileExistsError(
            f"{str(unfinished)!r} holds the epochs of a training that has not ended. Continue it with --resume, or "
            f"replace it by a new training with --restart."
        )


def finish(out: Path | None, metadata: dict[str, Any], *, idle: bool) -> None:
    """Let the model of the training, with these metadata, replace the file at `out`, as a whole or not at all.

    A training that had nothing to do, `idle`, leaves that file as it is.
    """
    if out is None:
        return
    unfinished = unfinished_file(out)
    if idle:
        unfinished.unlink(missing_ok=True)
        return
    saved = archive.read(unfinished)
    archive.write(out, Archive(saved.arrays, saved.facts | {"metadata": metadata}))
    unfinished.unlink()  # only now: a training that is killed before is still to be resumed


class Origin(NamedTuple):
    """What made a model, and when; empty where its file does not say it."""

    nnarray: str = ""
    """The version."""
    ended: str = ""
    """When the training ended, in UTC: 2026-11-29T20:45:52Z."""

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.ended}, nnarray {self.nnarray}" if self.ended else "not known"

    def to_json(self) -> dict[str, str] | None:
        """For JSON; null where it is not known."""
        return self._asdict() if self.ended else None


def origin_of(metadata: dict[str, Any]) -> Origin:
    """What made the model with these metadata."""
    noted: Any = metadata.get("trained")
    known = isinstance(noted, dict) and all(isinstance(noted.get(name), str) for name in Origin._fields)
    return Origin(noted["nnarray"], noted["ended"]) if known else Origin()


def origin_now() -> Origin:
    """Of a model whose training has just ended."""
    return Origin(__version__, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def has_ended(metadata: dict[str, Any]) -> bool:
    """Whether the training of `nnarray train` has ended: only then the scores are noted, also in older files."""
    return "input" not in metadata or "scores" in metadata


def epochs_if_ended(out: Path | None, before: Path | None) -> int | None:
    """The epochs of the model at `out` if its own training, which has ended, is resumed; else None."""
    if out is None or before != out:
        return None
    model = load(out, backend=host_backend())
    return len(model.history["epoch"]) if has_ended(model.metadata) else None


# --- What cannot be resumed ------------------------------------------------------------------------------------------


def refuse_to_resume(file: Path, model: Model, *, stops: bool) -> None:
    """Refuse to continue the training in a file with other data, or where early stopping came or went.

    Raises
    ------
    ValueError
        If the training differs; the message names the file.
    """
    facts = archive.read(file).facts
    _refuse_other_data(file, facts, model)
    _refuse_other_text(file, facts, model)
    _refuse_other_stopping(file, facts, stops)


def refuse_other_folds(file: Path, folds: int | None) -> None:
    """Refuse to continue a training with another number of folds, before these are trained.

    Raises
    ------
    ValueError
        If it differs; the message names the file.
    """
    before = archive.read(file).facts.get("metadata", {}).get(FOLDS)
    if before != folds:
        began, remedy = ("without --folds", "leave it out") if before is None else (f"with --folds {before}", "pass it")
        raise ValueError(
            f"{str(file)!r} cannot be resumed: its training began {began}. To continue it, {remedy}; or {AGAIN}."
        )


def _refuse_other_stopping(file: Path, facts: dict[str, Any], stops: bool) -> None:
    """A training that stops early knows its best epoch from the start, or never."""
    callbacks = facts.get("training", {}).get("callbacks", [])
    if stops != any(each["type"] == EarlyStopping.__name__ for each in callbacks):
        began, remedy = ("without", "add") if stops else ("with", "leave out")
        raise ValueError(
            f"{str(file)!r} cannot be resumed: its training began {began} early stopping. To continue it, {remedy} "
            f"--no-early-stopping; or {AGAIN}."
        )


def _refuse_other_data(file: Path, facts: dict[str, Any], model: Model) -> None:
    """Refuse to resume a training with other data."""
    before = facts.get("metadata", {})
    for name, what in (("data", "examples"), ("input", "columns, their values"), ("class counts", "classes")):
        now = model.metadata.get(name)
        then = before.get(name)
        if name == "data":
            now, then = ({k: v for k, v in (each or {}).items() if k != "name"} for each in (now, then))
        if then != now:
            differ = what if name != "data" else f"numbers of {what}: {_counts(then)}; now {_counts(now)}"
            raise ValueError(
                f"{str(file)!r} cannot be resumed: it was trained on other data, or another part of them, which differ "
                f"in their {differ}. Pass the data, --target, --validation, --test and --seed of its start, or {AGAIN}."
            )


def _refuse_other_text(file: Path, facts: dict[str, Any], model: Model) -> None:
    """Refuse to continue with another text, also if it has as many tokens."""
    now, then = model.metadata.get(DIGEST), facts.get("metadata", {}).get(DIGEST)
    if then != now:
        raise ValueError(
            f"{str(file)!r} cannot be resumed: its text or its tokenizer was another one (the digest was "
            f"{then or 'not noted'}; now it is {now}). Pass the text, --tokenizer and --encoding of its start, or "
            f"{AGAIN}."
        )


def _counts(parts: Any) -> str:
    """The number of examples in each part."""
    return ", ".join(f"{name} {count}" for name, count in parts.items()) if parts else "not known"
