"""Saving models and running trainings to files, so that both can continue as if they had not stopped.

A file has the parameters by name, the state, the architecture as JSON, and the history. During training it also has
the slots of the optimizer and the position. All draws follow from the seed and the number of the step, so a resumed
training takes bitwise the same steps.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from nnarray import files
from nnarray.arguments import explain_settings
from nnarray.backends import backend_of, dtype_name
from nnarray.checks import integer
from nnarray.layers.kinds import arrays_in
from nnarray.persistence import archive
from nnarray.persistence.archive import Archive, on_host
from nnarray.persistence.settings import encode, known
from nnarray.training.callbacks import Callback, Run
from nnarray.training.data import Data
from nnarray.training.loading import UNREGISTERED, understood
from nnarray.training.state import TrainingState
from nnarray.training.trainee import Trainee
from nnarray.typing import Array

log = logging.getLogger("nnarray")

FEW = 1024  # examples in a fingerprint


@explain_settings
@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a training is saved, and how many checkpoints are kept.

    The file at `path` is always the newest. With `keep` above 1, the last checkpoints also have names of their own,
    such as `run-epoch00010.safetensors` next to `run.safetensors`.

    Parameters
    ----------
    path : path of a .safetensors file
    every : int
        The number of epochs between two saves. The last epoch, and the last one before an interrupt, are always saved.
    keep : int

    Raises
    ------
    TypeError, ValueError
        If the path does not end in .safetensors, or a number is below 1.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.Checkpoint("run.safetensors", every=5, keep=3).every
    5
    """

    path: str | os.PathLike[str]
    every: int = 1
    keep: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", archive.named_file(self.path))
        integer(self.every, "Checkpoint every", 1, usual=1)
        integer(self.keep, "Checkpoint keep", 1, usual=3)

    @property
    def file(self) -> Path:
        """The newest checkpoint."""
        return Path(self.path)

    def of_epoch(self, epoch: int) -> Path:
        """The checkpoint of this epoch, if several are kept."""
        return self.file.with_name(f"{self.file.stem}-epoch{epoch:05d}{archive.SUFFIX}")

    def _copy(self, part: Path) -> None:
        shutil.copyfile(self.file, part)

    def write(self, saved: Archive, epoch: int) -> None:
        """Save, and remove checkpoints that are older than those to keep."""
        write(self.file, saved)
        if self.keep == 1:
            return
        own = self.of_epoch(epoch)
        own.unlink(missing_ok=True)
        try:
            os.link(self.file, own)  # a hard link to the same file
        except OSError:  # a file system without hard links
            files.replace(own, self._copy)
        own_names = re.compile(re.escape(self.file.stem) + r"-epoch[0-9]{5,}" + re.escape(archive.SUFFIX))
        others = [each for each in self.file.parent.iterdir() if own_names.fullmatch(each.name)]
        newest_first = sorted(others, key=lambda each: (each.stat().st_mtime_ns, each.name), reverse=True)
        for old in newest_first[self.keep :]:
            old.unlink(missing_ok=True)


def checkpoint_of(checkpoint: Any) -> Checkpoint:
    """A checkpoint; a path becomes one."""
    return checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)


# --- Saving ----------------------------------------------------------------------------------------------------------


def archive_of(model: Trainee, theta: Array, state: Array) -> Archive:
    """The model with these parameters, its history, and its metadata."""
    history, tensors = model.history, dict[str, Any]()
    facts = {
        "network": encode(model.wiring.network, tensors=tensors),
        "input_shape": _shape_as_json(model.input_shape),
        "dtype": dtype_name(theta.dtype),
        "frozen": sorted(model.frozen),
        "metadata": model.metadata,
        "loss": _loss_as_json(model.loss),
        "history": {"columns": list(history.columns), "steps": history.steps, "settings": history.settings},
    }
    wiring, columns = model.wiring, {name: np.asarray(x, dtype=float) for name, x in history.columns.items()}
    arrays = _named("params", wiring.params.views(on_host(theta))) | _named("state", wiring.state.views(on_host(state)))
    return Archive(arrays | tensors | _named("history", columns), facts)


def _loss_as_json(loss: Any) -> Any:
    """The loss; of one that is not registered the name, and the settings if they are plain values."""
    if loss is None:
        return None
    name = type(loss).__name__
    if known(name) is type(loss):
        with suppress(ValueError):
            return encode(loss, "the loss")
    own = {"type": loss.label, UNREGISTERED: True}
    if "__dataclass_fields__" in vars(type(loss)):  # else its fields are those of its base
        with suppress(ValueError):
            return own | {each.name: encode(getattr(loss, each.name), "the loss") for each in fields(loss)}
    return own


def _shape_as_json(shape: Any) -> Any:
    """An input shape, or the shapes of several inputs by name, in JSON's types."""
    return {name: _shape_as_json(each) for name, each in shape.items()} if isinstance(shape, Mapping) else list(shape)


def write(file: Path, saved: Archive) -> None:
    """Write it to the file if it can be read back, so that a readable file is never replaced by an unreadable one."""
    understood(file, saved, "saved")
    archive.write(file, saved)


def _named(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}/{name}": x for name, x in arrays.items()}


def save(model: Trainee, path: str | os.PathLike[str]) -> None:
    """`Model.save`."""
    write(archive.named_file(path), archive_of(model, model.theta, model.state))


@dataclass
class CheckpointWriter:
    """Saves one training, after epochs and when it is interrupted."""

    checkpoint: Checkpoint
    model: Trainee
    run: Run
    callbacks: Sequence[Callback]
    epoch: int = -1
    """The epoch that was saved last."""
    at: TrainingState | None = field(default=None, repr=False)
    saved_theta: Array | None = field(default=None, repr=False)
    """The parameters of the model that were saved last."""
    remembered: list[tuple[str, dict[str, Any]]] = field(default_factory=list, repr=False)
    """The states of the callbacks after that epoch; they drop them when training ends."""

    def prove(self) -> None:
        """Check that the model can be saved, by writing an empty file next to the checkpoint, before hours of training.

        Partial files that an earlier, killed training left are removed.
        """
        model = self.model
        understood(self.checkpoint.file, archive_of(model, model.theta, model.state), "saved")
        archive.as_json(model.metadata, "model.metadata")
        files.sweep(self.checkpoint.file)
        files.prove(self.checkpoint.file)

    def refuse_to_shorten(self) -> None:
        """Refuse to replace a longer training of the same network: somebody may have forgotten `resume=True`.

        Raises
        ------
        ValueError
            If the file holds one; the message has the calls that continue it, or keep it.
        """
        file, epochs = self.checkpoint.file, self.run.epochs
        finished = _epochs_of(file, self.model)
        if finished <= epochs:
            return
        other = str(file.with_name(f"{file.stem}-2{archive.SUFFIX}"))
        raise ValueError(
            f"{str(file)!r} holds a training of this network with {finished} epochs, and one with {epochs} would "
            f"replace it. To continue it, pass checkpoint={str(file)!r}, resume=True, epochs={finished + epochs}. To "
            f"start again and keep it, pass checkpoint={other!r}; or delete the file."
        )

    def resume(self, at: TrainingState) -> None:
        """Continue from this state: the training may be finished, but its last save missing."""
        self.at, self.remembered = at, remembering(self.callbacks)

    def end_epoch(self, at: TrainingState | None) -> None:
        """Save if it is due. L-BFGS has no state, so such a training cannot be resumed."""
        run = self.run
        if run.stopped is not None or run.epoch == run.epochs or run.epoch % self.checkpoint.every == 0:
            self.save(at)

    def interrupt(self, at: TrainingState | None) -> None:
        """Save the last finished epoch, if there is one and it is not yet saved."""
        if self.run.epoch > max(self.epoch, 0):
            self.save(at)

    def end_fit(self) -> None:
        """Save again if a callback changed the parameters at the end, for example to those of the best epoch."""
        if self.model.theta is not self.saved_theta:
            self._write(self.at, self.model.theta, self.model.state)

    def save(self, at: TrainingState | None) -> None:
        """Save now."""
        self.remembered = remembering(self.callbacks)
        theta, state = (self.model.theta, self.model.state) if at is None else at.shown
        self._write(at, theta, state)

    def _write(self, at: TrainingState | None, theta: Array, state: Array) -> None:
        saved = archive_of(self.model, theta, state)
        if at is not None:
            self._add_training(saved, at, apart=at.theta is not theta)
        self.checkpoint.write(saved, self.run.epoch)
        log.info("epoch %d is saved in %s", self.run.epoch, self.checkpoint.file)
        self.epoch, self.at, self.saved_theta = self.run.epoch, at, self.model.theta

    def _add_training(self, saved: Archive, at: TrainingState, *, apart: bool) -> None:
        saved.facts["history"]["steps"] = at.step
        callbacks: list[dict[str, Any]] = []
        for i, (kind, own) in enumerate(self.remembered):
            arrays = {name: value for name, value in own.items() if hasattr(value, "shape")}
            numbers = {name: _numbers(value, f"{name!r} of the state of {kind}") for name, value in arrays.items()}
            saved.arrays.update(_named(f"callbacks/{i}", numbers))
            plain = {name: value for name, value in own.items() if name not in arrays}
            callbacks.append(
                {
                    "type": kind,
                    "state": archive.as_json(plain, f"the state of {kind}", with_nan=True),
                    "arrays": {name: dtype_name(value.dtype) for name, value in arrays.items()},
                }
            )
        saved.facts["training"] = {
            "plain": at.plain,
            "stopped": self.run.stopped,
            "callbacks": callbacks,
            "slots": sorted(at.slots),
        }
        saved.arrays.update(_named("optimizer", {name: on_host(slot) for name, slot in at.slots.items()}))
        if apart:
            saved.arrays.update({"position/theta": on_host(at.theta), "position/state": on_host(at.state)})


def _epochs_of(file: Path, model: Trainee) -> int:
    """The number of finished epochs in a file of the same network; 0 if there is no such file."""
    try:
        saved = archive.read(file)
    except (OSError, ValueError, MemoryError):  # nothing that could be continued
        return 0
    same = {"network": encode(model.wiring.network, tensors={}), "input_shape": _shape_as_json(model.input_shape)}
    if any(saved.facts.get(name) != value for name, value in same.items()):
        return 0
    return len(saved.arrays.get("history/epoch", ()))


def _numbers(x: Any, what: str) -> np.ndarray:
    """An array of a callback on the host."""
    host = on_host(x)
    if host.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} has dtype {host.dtype}, but a file has real numbers only. Use a list of strings or numbers."
        )
    return host


def remembering(callbacks: Sequence[Callback]) -> list[tuple[str, dict[str, Any]]]:
    """The states of callbacks that have one, with the names of their classes."""
    return [(type(callback).__name__, own) for callback in callbacks if (own := callback.state_dict())]


def fingerprint(data: Data) -> str:
    """A fingerprint of these examples: a checksum of up to 1,024 of them, spread evenly."""
    total, count = hashlib.sha256(), data.examples
    rows = backend_of(data.target).asarray(sorted({i * count // FEW for i in range(FEW)}))
    for each in (x for part in data.batch(rows) if part is not None for x in arrays_in(part)):
        total.update(np.ascontiguousarray(on_host(each)).reshape(-1).view(np.uint8).data)
    return total.hexdigest()[:16]
