"""Callbacks for experiment trackers: TensorBoard, MLflow and Weights & Biases.

`model.fit(X, y, callbacks=[TensorBoard("runs/1")])` writes the columns of the history after every epoch, with the
epoch as the step. A tracker keeps no library object or open file between trainings, so it can be copied and pickled.
"""

from __future__ import annotations

import importlib
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from nnarray.backends import dtype_name, place
from nnarray.layers.base import described
from nnarray.training.callbacks import Callback, Run


class Tracker(Callback):
    """The base of the trackers; subclasses define how to open, write and close.

    Parameters
    ----------
    hyperparameters : mapping, optional
        Further settings to record, such as {"lr": 1e-3, "batch_size": 32}, next to those that the callback knows.

    Raises
    ------
    ImportError
        If the package is not installed; the message has the command to install it.
    """

    package: ClassVar[str]
    extra: ClassVar[str]

    def __init__(self, hyperparameters: Mapping[str, Any] | None = None) -> None:
        self.hyperparameters = dict(hyperparameters or {})
        self._before: BaseException | None = None
        self._library()

    def _library(self) -> Any:
        try:
            return importlib.import_module(self.package)
        except ModuleNotFoundError as error:
            if error.name != self.package:
                raise
            raise ImportError(
                f"{type(self).__name__} needs the package {self.package}; pip install 'nnarray[{self.extra}]'."
            ) from error

    def on_fit_start(self, run: Run) -> None:
        """Open the run, and write the facts about the network."""
        self._before = sys.exc_info()[1]
        try:
            self._open(run, _facts(run) | self.hyperparameters)
        except BaseException:
            self.on_fit_end(run)
            raise

    def on_epoch_end(self, run: Run) -> None:
        """Write the epoch's row of the history."""
        self._write({name: values[-1] for name, values in run.history.items()}, run.epoch)

    def on_fit_end(self, run: Run) -> None:
        """Close the run if it was opened here; an interrupted or failed training is marked as such."""
        error, before = sys.exc_info()[1], self._before
        self._before = None
        self._close(None if error is before else error)  # fit itself may be called while an error is handled

    def _open(self, run: Run, facts: dict[str, Any]) -> None:
        raise NotImplementedError

    def _write(self, row: dict[str, float], epoch: int) -> None:
        raise NotImplementedError

    def _close(self, error: BaseException | None) -> None:
        raise NotImplementedError


def _facts(run: Run) -> dict[str, Any]:
    """The facts about a training at its start."""
    theta = run.model.theta
    return {
        "network": described(run.model.network),
        "parameters": int(theta.shape[0]),
        "dtype": dtype_name(theta.dtype),
        "backend": place(theta),
        "epochs": run.epochs,
    }


class TensorBoard(Tracker):
    """Write event files that TensorBoard shows: `tensorboard --logdir runs`. Needs `nnarray[tensorboard]`.

    The package is tensorboardX: only the writer, without TensorFlow or PyTorch.

    Parameters
    ----------
    folder : path
        The folder to write to. Use one for each training, as TensorBoard draws all files in a folder as one curve.
    hyperparameters : mapping, optional
        Further settings to record, such as {"lr": 1e-3, "batch_size": 32}.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    """

    package = "tensorboardX"
    extra = "tensorboard"

    def __init__(self, folder: str | Path, *, hyperparameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(hyperparameters)
        self.folder = Path(folder)
        self._writer: Any = None

    def _open(self, run: Run, facts: dict[str, Any]) -> None:
        self._writer = self._library().SummaryWriter(logdir=str(self.folder), flush_secs=1)
        table = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
        self._writer.add_text("hyperparameters", f"| | |\n|---|---|\n{table}", 0)
        self._writer.add_text("network", "\n".join("    " + line for line in str(run.model.summary()).splitlines()), 0)

    def _write(self, row: dict[str, float], epoch: int) -> None:
        for name, value in row.items():
            self._writer.add_scalar(name, value, epoch)

    def _close(self, error: BaseException | None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class MLflow(Tracker):
    """Write to MLflow: to the active run, or else to a new one. Needs `nnarray[mlflow]`.

    MLflow's own settings determine the destination: `mlflow.set_tracking_uri`, `mlflow.set_experiment`, or its
    environment variables.

    Parameters
    ----------
    hyperparameters : mapping, optional
        Further settings to record, such as {"lr": 1e-3, "batch_size": 32}. MLflow never changes a parameter: if two
        trainings share a run, those of the first are kept.
    **options
        Options of `mlflow.start_run`, such as `run_name="moons"`; they have no effect on a run that is already active.

    Raises
    ------
    ImportError
        If MLflow is not installed.
    """

    package = extra = "mlflow"

    def __init__(self, *, hyperparameters: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(hyperparameters)
        self.options = options
        self._client: Any = None
        self._run_id = ""
        self._own = False

    def _open(self, run: Run, facts: dict[str, Any]) -> None:
        mlflow = self._library()
        active = mlflow.active_run()
        self._own = active is None
        self._run_id = (active or mlflow.start_run(**self.options)).info.run_id
        self._client = mlflow.MlflowClient()
        logged = self._client.get_run(self._run_id).data.params
        for name, value in facts.items():
            if name not in logged:
                self._client.log_param(self._run_id, name, value)

    def _write(self, row: dict[str, float], epoch: int) -> None:
        entities, now = importlib.import_module("mlflow.entities"), int(time.time() * 1000)
        metrics = [
            entities.Metric(re.sub(r"[^\w\-. /]", "_", name), value, now, epoch)  # MLflow does not accept "<lambda>"
            for name, value in row.items()
        ]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _close(self, error: BaseException | None) -> None:
        if self._own and self._run_id:
            interrupted = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            self._library().end_run("FINISHED" if error is None else interrupted)
        self._client, self._run_id, self._own = None, "", False


class WandB(Tracker):
    """Write to Weights & Biases: to the open run, or else to a new one. Needs `nnarray[wandb]`.

    Parameters
    ----------
    hyperparameters : mapping, optional
        Further settings to record, such as {"lr": 1e-3, "batch_size": 32}, in the config of the run.
    **options
        Options of `wandb.init`, such as `project="moons"` or `mode="offline"`; they have no effect on a run that is
        already open.

    Raises
    ------
    ImportError
        If wandb is not installed.

    Notes
    -----
    In a new run the epoch is the step. In a run that was open, which has its own steps, it is the column "epoch".
    """

    package = extra = "wandb"

    def __init__(self, *, hyperparameters: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(hyperparameters)
        self.options = options
        self._run: Any = None
        self._own = False

    def _open(self, run: Run, facts: dict[str, Any]) -> None:
        wandb = self._library()
        self._own = wandb.run is None
        self._run = wandb.init(**self.options) if self._own else wandb.run
        self._run.config.update(facts, allow_val_change=True)

    def _write(self, row: dict[str, float], epoch: int) -> None:
        self._run.log(row, step=epoch if self._own else None)

    def _close(self, error: BaseException | None) -> None:
        if self._own and self._run is not None:
            self._run.finish(exit_code=0 if error is None else 1)
        self._run, self._own = None, False
