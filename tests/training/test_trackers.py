"""Trackers, against the real packages; nothing here reaches the network."""

from __future__ import annotations

import copy
import json
import pickle
import socket
import struct
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nnarray as nn
from nnarray.layers.base import described
from nnarray.training import trackers

EPOCHS = 3
COLUMNS = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In an empty folder, without the network, and without word to those who made the packages."""
    monkeypatch.chdir(tmp_path)
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
    quiet |= {"MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri(), "WANDB_ERROR_REPORTING": "false"}
    quiet |= {f"WANDB_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "CACHE", "DATA")}
    quiet |= {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true", "WANDB_CONSOLE": "off"}
    for name, value in quiet.items():
        monkeypatch.setenv(name, value)
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test reaches for the network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with warnings.catch_warnings():  # what the packages warn about is not for us to mend
        for package in ("mlflow", "wandb", "tensorboardX", "google", "pydantic"):
            warnings.filterwarnings("ignore", module=rf"{package}(\..*)?$")
        yield


def train(*callbacks: Any, epochs: int = EPOCHS) -> nn.History:
    X, y = nn.datasets.moons(40, seed=0)
    model = nn.Network(nn.Dense(3, "tanh"), nn.Dense(2)).init((2,), seed=0)
    return model.fit(
        X, y, epochs=epochs, validation=0.25, metrics=["accuracy"], callbacks=list(callbacks), progress=False
    )


def interrupt(run: nn.Run) -> None:
    if run.epoch == 2:
        raise KeyboardInterrupt


# --- Reading back ----------------------------------------------------------------------------------------------


def events_of(folder: Path) -> list[Any]:
    """What is in the event files: records of a length, its checksum, the event, and its checksum."""
    from tensorboardX.proto import event_pb2

    found: list[Any] = []
    for path in sorted(folder.glob("events*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            found.append(event_pb2.Event.FromString(data[at + 12 : at + 12 + size]))
            at += size + 16
    return found


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events_of(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def texts_of(folder: Path) -> dict[str, str]:
    values = [value for event in events_of(folder) for value in event.summary.value]
    return {v.tag.split("/")[0]: v.tensor.string_val[0].decode() for v in values if v.WhichOneof("value") == "tensor"}


def records_of(folder: Path) -> list[Any]:
    """What W&B wrote offline; its own process may write the last record a little later."""
    for _ in range(100):
        found = records_now(folder)
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        time.sleep(0.1)
    raise AssertionError("W&B has not written to the end of the run within 10 seconds")


def records_now(folder: Path) -> list[Any]:
    """A log in blocks of 32 KiB, of records that may be in several pieces."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, at, record, found = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last piece of one
            found.append(wandb_internal_pb2.Record.FromString(record))
            record = b""
    return found


# --- TensorBoard -----------------------------------------------------------------------------------------------


def test_tensorboard_gets_every_column_at_every_epoch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    tracker = trackers.TensorBoard(tmp_path / "runs", hyperparameters={"batch": 32})
    history = train(tracker)
    found = scalars_of(tmp_path / "runs")
    assert set(found) == set(history) == COLUMNS
    for name, column in history.items():
        assert found[name] == [(i + 1, pytest.approx(value, rel=1e-6)) for i, value in enumerate(column)]
    texts = texts_of(tmp_path / "runs")
    assert "| parameters | 17 |" in texts["hyperparameters"]
    assert "| batch | 32 |" in texts["hyperparameters"]
    assert "Dense(3, activation='tanh')" in texts["network"]


def test_tensorboard_has_an_epoch_before_the_training_ends(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")

    class Wait(nn.Callback):
        def on_epoch_end(self, run: Any) -> None:
            limit = time.monotonic() + 30
            while run.epoch == 1 and not scalars_of(tmp_path / "runs").get("loss") and time.monotonic() < limit:
                time.sleep(0.1)
            assert scalars_of(tmp_path / "runs").get("loss")

    train(trackers.TensorBoard("runs"), Wait())


def test_tensorboard_closes_when_interrupted(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    tracker = trackers.TensorBoard("runs")
    with pytest.raises(KeyboardInterrupt):
        train(tracker, interrupt)
    assert tracker._writer is None
    assert [step for step, _ in scalars_of(tmp_path / "runs")["loss"]] == [1, 2]


def test_what_fails_at_the_start_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboardX")
    tracker = trackers.TensorBoard("runs")
    monkeypatch.setattr(nn.Model, "summary", None)
    with pytest.raises(TypeError):
        train(tracker)
    assert tracker._writer is None


# --- MLflow ----------------------------------------------------------------------------------------------------


@pytest.fixture
def mlflow() -> Iterator[Any]:
    library = pytest.importorskip("mlflow")
    yield library
    while library.active_run():
        library.end_run()


def test_mlflow_gets_every_column_at_every_epoch(mlflow: Any) -> None:
    history = train(trackers.MLflow(run_name="moons", hyperparameters={"batch": 32}))
    assert mlflow.active_run() is None
    (run,) = mlflow.search_runs(output_format="list")
    assert (run.info.run_name, run.info.status) == ("moons", "FINISHED")
    assert set(run.data.metrics) == COLUMNS
    client = mlflow.MlflowClient()
    for name, column in history.items():
        found = client.get_metric_history(run.info.run_id, name)
        assert [(m.step, m.value) for m in found] == list(enumerate(column, start=1))
    facts = {"parameters": "17", "dtype": "float64", "backend": "numpy (cpu)", "epochs": "3", "batch": "32"}
    assert run.data.params == facts | {"network": "Network(Dense(3, activation='tanh'), Dense(2))"}


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ZeroDivisionError, "FAILED")])
def test_mlflow_records_how_a_training_ended(mlflow: Any, error: type[BaseException], status: str) -> None:
    def fail(run: nn.Run) -> None:
        raise error

    with pytest.raises(error):
        train(trackers.MLflow(), fail)
    (run,) = mlflow.search_runs(output_format="list")
    assert run.info.status == status


def test_mlflow_leaves_the_users_run_open(mlflow: Any) -> None:
    with mlflow.start_run() as mine:
        train(trackers.MLflow(), epochs=2)
        train(trackers.MLflow(), lambda run: None, epochs=3)  # a second one, with other parameters
        assert mlflow.active_run().info.run_id == mine.info.run_id
        assert mlflow.get_run(mine.info.run_id).info.status == "RUNNING"
    done = mlflow.get_run(mine.info.run_id)
    assert (done.info.status, done.data.params["epochs"]) == ("FINISHED", "2")


def test_mlflow_takes_metrics_of_any_name_and_networks_of_any_size(mlflow: Any) -> None:
    X, y = nn.datasets.moons(10)
    model = nn.Network(*(nn.Dense(2, name=f"a long name for a layer, number {i}") for i in range(300))).init((2,))
    assert len(described(model.network)) > 6000  # more than MLflow keeps
    model.fit(X, y, epochs=1, metrics=[lambda outputs, y: 0.5], callbacks=trackers.MLflow(), progress=False)
    (run,) = mlflow.search_runs(output_format="list")
    assert run.data.metrics["_lambda_"] == 0.5
    assert run.data.params["network"].startswith("Network(")


# --- Weights & Biases ------------------------------------------------------------------------------------------


@pytest.fixture
def wandb() -> Iterator[Any]:
    library = pytest.importorskip("wandb")
    yield library
    library.teardown()


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [
        {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in records_of(folder)
        if record.WhichOneof("record_type") == "history"
    ]


def config_of(folder: Path) -> dict[str, Any]:
    updates = [update for record in records_of(folder) for update in record.config.update]
    return {update.key: json.loads(update.value_json) for update in updates}


def exit_codes_of(folder: Path) -> list[int]:
    return [r.exit.exit_code for r in records_of(folder) if r.WhichOneof("record_type") == "exit"]


def test_wandb_gets_every_column_at_every_epoch(wandb: Any, tmp_path: Path) -> None:
    history = train(trackers.WandB(project="moons", mode="offline", dir=tmp_path, hyperparameters={"batch": 32}))
    assert wandb.run is None
    rows = rows_of(tmp_path)
    assert [row["_step"] for row in rows] == [1, 2, 3]
    for name, column in history.items():
        assert [row[name] for row in rows] == pytest.approx(column)
    found = config_of(tmp_path)
    assert (found["parameters"], found["batch"], found["dtype"]) == (17, 32, "float64")
    assert found["network"] == "Network(Dense(3, activation='tanh'), Dense(2))"
    assert exit_codes_of(tmp_path) == [0]


def test_wandb_records_an_interrupt(wandb: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(trackers.WandB(), interrupt)
    assert wandb.run is None
    assert len(rows_of(tmp_path)) == 2
    assert exit_codes_of(tmp_path) == [1]


def test_wandb_leaves_the_users_run_open(wandb: Any, tmp_path: Path) -> None:
    mine = wandb.init()
    mine.log({"mine": 1.0}, step=100)
    train(trackers.WandB())
    train(trackers.WandB())
    assert wandb.run is mine
    mine.finish()
    epochs = [row["epoch"] for row in rows_of(tmp_path) if "epoch" in row]
    assert epochs == [1, 2, 3, 1, 2, 3]  # nothing is lost, though the run was at step 100


# --- All of them -----------------------------------------------------------------------------------------------

MAKERS = {
    "tensorboardX": (lambda: trackers.TensorBoard("runs"), "TensorBoard", "tensorboard"),
    "mlflow": (trackers.MLflow, "MLflow", "mlflow"),
    "wandb": (trackers.WandB, "WandB", "wandb"),
}


@pytest.mark.parametrize("package", MAKERS)
def test_a_missing_package_is_reported_at_once(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, name, extra = MAKERS[package]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{name} needs the package {package}; pip install 'nnarray\[{extra}\]'\."):
        make()


@pytest.mark.parametrize("package", MAKERS)
def test_a_tracker_can_be_copied(package: str) -> None:
    pytest.importorskip(package)
    tracker = MAKERS[package][0]()
    for other in (copy.deepcopy(tracker), pickle.loads(pickle.dumps(tracker))):
        assert type(other) is type(tracker)


def test_a_training_within_the_handling_of_an_error_has_not_failed(mlflow: Any) -> None:
    try:
        raise ValueError("earlier")
    except ValueError:
        train(trackers.MLflow())
    (run,) = mlflow.search_runs(output_format="list")
    assert run.info.status == "FINISHED"
