"""Loading models from files: every name, shape and number is checked before anything is used."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from nnarray.backends import Backend, backend_of, dtype_name
from nnarray.caller import warn
from nnarray.checks import integer, refuse_non_finite
from nnarray.functional.layout import Layout
from nnarray.functional.propagation import Wiring
from nnarray.kernels.compilation import quiet
from nnarray.layers.base import Layer
from nnarray.layers.kinds import specs
from nnarray.persistence import archive
from nnarray.persistence.archive import Archive
from nnarray.persistence.settings import decode, known
from nnarray.training.history import History
from nnarray.training.state import TrainingState
from nnarray.training.trainee import Trainee
from nnarray.typing import Array, Shape

if TYPE_CHECKING:
    from nnarray.losses import Loss
    from nnarray.training.callbacks import Callback, Run

UNREGISTERED = "unregistered"
"""In the place of a setting: the class of the loss was not registered when it was saved."""


class Loaded(NamedTuple):
    """The contents of a file: a model."""

    wiring: Wiring
    input_shape: Any
    theta: Array
    state: Array
    dtype: str
    frozen: frozenset[str]
    history: History
    metadata: dict[str, Any]
    loss: Loss | None
    missing: str | None
    """The class of the loss, if it is not known here."""
    training: _Training | None
    """The state of its training, if it was saved during training."""


class _Training(NamedTuple):
    """The contents of a file: a running training, on the host."""

    slots: dict[str, Any]
    apart: tuple[Any, Any] | None
    callbacks: list[dict[str, Any]]
    """The classes of the callbacks and their states: JSON values, and arrays with their original dtypes."""
    plain: bool
    stopped: str | None


def load(path: str | os.PathLike[str], be: Backend, dtype: object) -> Loaded:
    """A model from a file; described in `nn.load`."""
    file = archive.named_file(path, "To read a PyTorch file, use model.load_torch(path).")
    loaded = understood(file, archive.read(file))
    return _moved(file, loaded, be, dtype or loaded.dtype)


def understood(file: Path, saved: Archive, what: str = "loaded") -> Loaded:
    """The model that an archive describes, on the host.

    Raises
    ------
    ValueError
        If anything in it does not fit; the message names the file.
    """
    try:
        facts, reader = saved.facts, _Reader(dict(saved.arrays), saved.facts["dtype"])
        network, shape = decode(facts["network"], reader.arrays), _shape(facts["input_shape"])
        if not isinstance(network, Layer):
            raise ValueError("its network is not a layer")
        specs(network.takes, shape)
        network.out_shape(shape)
        wiring = Wiring.of(network, shape)
        theta, state = reader.vector("params", wiring.params), reader.vector("state", wiring.state)
        history = _history(facts["history"], reader)
        training, (loss, missing) = _read_training(facts.get("training"), reader, wiring), _loss(facts.get("loss"))
        reader.refuse_rest()
        names = {slot.name for slot in wiring.params.slots}
        if not set(facts["frozen"]) <= names or not isinstance(facts["metadata"], dict):
            raise ValueError("its frozen parameters or its metadata are damaged")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        _refuse(file, error, what)
    frozen = frozenset(facts["frozen"])
    metadata, dtype = facts["metadata"], facts["dtype"]
    return Loaded(wiring, shape, theta, state, dtype, frozen, history, metadata, loss, missing, training)


def _loss(noted: Any) -> tuple[Loss | None, str | None]:
    """The loss that a model was trained with, or the name of its class if that is not known here."""
    if noted is None:
        return None, None
    if not isinstance(noted, dict) or not isinstance(noted.get("type"), str):
        raise ValueError("its loss is damaged")
    name, own, function = noted["type"], UNREGISTERED in noted, noted.get("function")
    if isinstance(function, dict) and known(function.get("type")) is None:
        return None, str(function.get("type"))
    if known(name) is None or (own and not set(noted) > {"type", UNREGISTERED}):
        return None, name
    from nnarray.losses import Loss

    try:
        loss = decode({key: value for key, value in noted.items() if key != UNREGISTERED})
    except ValueError:
        if own:  # the class that now has the name is another one
            return None, name
        raise
    if not isinstance(loss, Loss):
        raise ValueError("its loss is none")
    return loss, None


def warn_of_missing(path: Any, name: str) -> None:
    """Warn that a model was loaded without its loss, before `evaluate` misses it or `fit` takes another one."""
    warn(
        f"{str(path)!r} was trained with the loss {name[:80]}, which is not registered here, so model.loss is None. "
        f"Decorate the class or function with @nn.register and import its module before loading, or set model.loss.",
        UserWarning,
    )


@quiet  # what overflows is reported by an error
def _moved(file: Path, loaded: Loaded, be: Backend, dtype: object) -> Loaded:
    """The model on a backend, in another dtype."""
    try:
        chosen = be.floating(dtype)
    except ValueError as error:
        raise ValueError(
            f"{str(file)!r}: {error} Pass dtype='float32' (--dtype float32), or another backend."
        ) from error
    try:
        theta, state = (be.asarray(each, dtype=chosen) for each in (loaded.theta, loaded.state))
    except ValueError as error:
        raise ValueError(f"{str(file)!r}: {error} Load it in a dtype with a wider range.") from error
    return loaded._replace(theta=theta, state=state)


def _refuse(file: Path, error: Exception, what: str) -> NoReturn:
    fault = str(error) if isinstance(error, ValueError) else f"it is damaged ({type(error).__name__}: {error})"
    raise ValueError(f"{str(file)!r} cannot be {what}: {fault.rstrip('.')}.") from error


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(each) for name, each in value.items()}
    if not isinstance(value, list):
        raise ValueError("its input shape is not a list")
    return tuple(integer(size, "input shape", 1, usual=1) for size in value)


@dataclass
class _Reader:
    """The arrays of a file, each used once; the network determines their shapes."""

    arrays: dict[str, np.ndarray]
    dtype: str

    def vector(self, prefix: str, layout: Layout) -> Any:
        """The vector, concatenated from its parts, each of which must have the given shape and dtype."""
        wanted = {f"{prefix}/{slot.name}": slot.param.shape for slot in layout.slots}
        missing = [name for name in wanted if name not in self.arrays]
        extra = [name for name in self.arrays if name.startswith(f"{prefix}/") and name not in wanted]
        wrong = [
            f"{name} {self.arrays[name].shape} for {shape}"
            for name, shape in wanted.items()
            if name in self.arrays and self.arrays[name].shape != shape
        ]
        if missing or extra or wrong:
            faults = {"missing": missing, "unexpected": extra, "of another shape": wrong}
            raise ValueError("; ".join(f"{what}: {', '.join(names[:8])}" for what, names in faults.items() if names))
        parts = [self.take(name).reshape(-1) for name in wanted]
        if prefix == "state" and any(
            name.endswith(".variance") and (part < 0).any() for name, part in zip(wanted, parts, strict=True)
        ):
            raise ValueError("a variance of its batch normalisation is negative")
        return np.concatenate(parts) if parts else np.zeros(0, self.stored)

    def take(self, name: str, *, dtypes: Sequence[str] = (), shape: Shape | None = None) -> Any:
        """One array, of finite numbers."""
        x: Any = self.arrays.pop(name)
        if x.dtype.name not in (dtypes or (self.stored,)):
            raise ValueError(f"array {name!r} has dtype {x.dtype}, not {' or '.join(dtypes or (self.stored,))}")
        if shape is not None and x.shape != shape:
            raise ValueError(f"array {name!r} has shape {x.shape}, not {shape}")
        refuse_non_finite(x, f"array {name!r}", "Repair the model, or use an earlier file.")
        return x

    @property
    def stored(self) -> str:
        """The dtype of the model's numbers in the file."""
        if self.dtype not in ("float16", "bfloat16", "float32", "float64"):
            raise ValueError(f"its dtype {str(self.dtype)[:20]!r} is not a dtype of models")
        return "float32" if self.dtype == "bfloat16" else self.dtype

    def refuse_rest(self) -> None:
        """Refuse arrays that were not used."""
        if self.arrays:
            raise ValueError(f"unexpected arrays {', '.join(sorted(self.arrays)[:8])}")


def _history(facts: dict[str, Any], reader: _Reader) -> History:
    history = History()
    for name in facts["columns"]:
        column = reader.arrays.pop(f"history/{name}")
        if column.ndim != 1 or column.dtype != np.float64:  # nan is valid: a metric may be nan
            raise ValueError(f"column {name!r} of its history is damaged")
        history.columns[name] = column.tolist()
    if not isinstance(facts["settings"], dict):
        raise ValueError("its history is damaged")
    history.steps, history.settings = integer(facts["steps"], "steps", 0, usual=0), facts["settings"]
    return history


def _read_training(facts: Any, reader: _Reader, wiring: Wiring) -> _Training | None:
    if facts is None:
        return None
    floats = ("float32", "float64")
    slots = {name: reader.take(f"optimizer/{name}", dtypes=floats) for name in facts["slots"]}
    apart = None
    if "position/theta" in reader.arrays:
        sizes = {"theta": wiring.params.size, "state": wiring.state.size}
        theta, state = (reader.take(f"position/{name}", shape=(size,)) for name, size in sizes.items())
        apart = theta, state
    callbacks: list[dict[str, Any]] = []
    for i, each in enumerate(facts["callbacks"]):
        arrays = {name: (reader.arrays.pop(f"callbacks/{i}/{name}"), dtype) for name, dtype in each["arrays"].items()}
        callbacks.append({"type": each["type"], "state": json.loads(each["state"]), "arrays": arrays})
    if not isinstance(facts["plain"], bool) or not isinstance(facts["stopped"], str | None):
        raise ValueError("its training is damaged")
    return _Training(slots, apart, callbacks, facts["plain"], facts["stopped"])


# --- Going on --------------------------------------------------------------------------------------------------------


def resume(
    file: Path, model: Trainee, run: Run, callbacks: Sequence[Callback], slots: dict[str, Array]
) -> TrainingState:
    """Restore the training from the file; everything is checked before anything is changed.

    `slots` are the initial slots of the optimizer, which give the expected shapes.

    Raises
    ------
    ValueError
        If the file has another network, or a training with other settings; the message names them.
    """
    be, loaded = backend_of(model.theta), understood(file, archive.read(file))
    loaded = _moved(file, loaded, be, loaded.dtype)
    training = loaded.training
    try:
        if training is None:
            raise ValueError(
                "it has a model, but no training to resume; it must be written by fit(..., checkpoint=...), not "
                "with L-BFGS"
            )
        _refuse_others(model, run, loaded)
        wanted = {name: tuple(slot.shape) for name, slot in slots.items()}
        if {name: slot.shape for name, slot in training.slots.items()} != wanted:
            raise ValueError(f"its optimizer has the slots {sorted(training.slots)}, but this one has {sorted(wanted)}")
        theta, state = training.apart or (loaded.theta, loaded.state)
        _continue_callbacks(callbacks, training.callbacks, be)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        _refuse(file, error, "resumed")
    run.history.columns, run.history.steps = loaded.history.columns, loaded.history.steps
    run.stopped = _still_stopped(training.stopped, callbacks, run)
    model.restore((loaded.theta, loaded.state))
    at = TrainingState(theta, state, training.slots, loaded.history.steps, run.epoch, training.plain)
    return at.on(be, TrainingState(model.theta, model.state, slots))


def _still_stopped(reason: str | None, callbacks: Sequence[Callback], run: Run) -> str | None:
    """Why the training stays stopped; None if it never was, or if its early stopping now has more patience."""
    from nnarray.training.callbacks import EarlyStopping

    stoppers = [each for each in callbacks if isinstance(each, EarlyStopping) and each.reason == reason]
    if reason is None or (stoppers and not any(each.is_over(run) for each in stoppers)):
        return None
    if run.epoch < run.epochs:
        most = run.epoch - max((each.best_epoch for each in stoppers), default=0)
        more = f"To continue it, pass EarlyStopping with patience={most} or more. " if stoppers else ""
        warn(
            f"nothing is trained: the training in the file ended after epoch {run.epoch}, as {reason}. {more}To train "
            f"its model further, with a new optimizer, call nn.load(path).fit(...)."
        )
    return reason


def _refuse_others(model: Trainee, run: Run, loaded: Loaded) -> None:
    now = {
        "network": model.wiring.network,
        "input shape": model.input_shape,
        "dtype": dtype_name(model.theta.dtype),
        "frozen": sorted(model.frozen),
        **run.history.settings,
    }
    then = {
        "network": loaded.wiring.network,
        "input shape": loaded.input_shape,
        "dtype": loaded.dtype,
        "frozen": sorted(loaded.frozen),
        **loaded.history.settings,
    }
    for name in now | then:
        if then.get(name) != now.get(name):
            before, here = _differing(repr(then.get(name)), repr(now.get(name)))
            raise ValueError(
                f"its {name} is {before}, but here it is {here}. Resume with the same "
                f"settings and data, or start a new training (resume=False, without --resume)"
            )


def _differing(*texts: str) -> list[str]:
    """Texts, of which long ones are cut to the part in which they differ."""
    most, longest = 120, max(map(len, texts))
    alike = next((i for i, letters in enumerate(zip(*texts, strict=False)) if len({*letters}) > 1), 0)
    start = max(alike - most // 2, 0) if longest > most else 0
    return [f"{'...' * bool(start)}{x[start : start + most]}{'...' * (len(x) > start + most)}" for x in texts]


def _continue_callbacks(callbacks: Sequence[Callback], saved: list[dict[str, Any]], be: Backend) -> None:
    then, now = [each["type"] for each in saved], [callback for callback in callbacks if callback.state_dict()]
    if then != [type(callback).__name__ for callback in now]:
        raise ValueError(
            f"it was trained with the callbacks {', '.join(then) or 'none'}, but here they are "
            f"{', '.join(type(each).__name__ for each in now) or 'none'} (counting those with a state). Pass the same"
        )
    for callback, each in zip(now, saved, strict=True):
        arrays = {name: _remembered(x, dtype, be) for name, (x, dtype) in each["arrays"].items()}
        callback.load_state_dict(each["state"] | arrays)


def _remembered(x: np.ndarray, dtype: str, be: Backend) -> Array:
    """An array of a callback. bfloat16 is float32 in the file, and stays float32 if the backend has no bfloat16."""
    return be.asarray(x, dtype=dtype if dtype == "bfloat16" and dtype in be.dtypes else None)
