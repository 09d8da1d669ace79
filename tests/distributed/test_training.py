"""Training on a Dask cluster: any number of workers, whatever becomes of them, come to the bits of one process."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.distributed import member, training
from tests.conftest import WHY_NOT
from tests.processes import started

# Dask leaves sockets open that it looks for free ports with.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
    pytest.mark.timeout(120),
]
dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")


def cluster_of(workers: int, folder: Path, *, processes: bool = False) -> Any:
    """A scheduler with workers, in threads of this process unless they are to be killed."""
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=processes,
        protocol="tcp://",
        dashboard_address=":0",
        local_directory=str(folder),
    )


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with cluster_of(5, tmp_path_factory.mktemp("workers")) as local, distributed.Client(local) as client:
        yield client


def digest(model: nn.Model) -> str:
    """Of parameters, state and history."""
    total = hashlib.sha256()
    for vector in (model.theta, model.state):
        total.update(nn.backend("numpy").asarray(vector).tobytes())
    total.update(repr({name: each for name, each in model.history.columns.items() if name != "seconds"}).encode())
    return total.hexdigest()


def trained(cluster: Any, flag: str = "numpy", **settings: Any) -> nn.Model:
    be, rng = nn.backend(flag), np.random.default_rng(0)
    X, y = settings.pop("X", rng.normal(size=(203, 6)).astype("float32")), rng.integers(0, 3, 203)
    layers = nn.Dense(16, "relu"), nn.Dropout(0.3), nn.Dense(16, "tanh"), nn.BatchNorm(), nn.Dense(3)
    model = nn.Network(*layers).init((6,), seed=0, backend=be, dtype="float32")
    settings = {"epochs": 3, "batch_size": 32, "optimizer": nn.Adam(0.01), "grains": 8} | settings
    model.fit(X if isinstance(X, nn.datasets.Source) else be.asarray(X), be.asarray(y), cluster=cluster, **settings)
    return model


SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "momentum, weights, average": {
        "optimizer": nn.SGD(0.05, momentum=0.9),
        "sample_weight": np.random.default_rng(1).random(203),
        "ema": 0.9,
    },
    "validation, metrics, early stopping": {
        "validation": 0.2,
        "metrics": ["accuracy"],
        "callbacks": [nn.EarlyStopping("val_loss", patience=1)],
        "epochs": 8,
    },
    "a warm-up in steps, groups": {
        "optimizer": nn.Adam(nn.schedules.WarmUp(steps=7, then=0.01), groups={"*.bias": {"lr": 0.1}})
    },
    "a schedule, two grains": {"optimizer": nn.SGD(nn.schedules.Cosine(0.1, epochs=3), clip_norm=1.0), "grains": 2},
}


@pytest.mark.parametrize("flag", ["numpy", "torch"])
@pytest.mark.parametrize("name", SETTINGS)
def test_five_workers_come_to_the_bits_of_one_process(five: Any, flag: str, name: str) -> None:
    if flag == "torch":
        pytest.importorskip("torch")
    own = SETTINGS[name]
    if "sample_weight" in own:
        own = own | {"sample_weight": nn.backend(flag).asarray(own["sample_weight"])}
    assert digest(trained(five, flag, **own)) == digest(trained(None, flag, **own))


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_any_number_of_workers(tmp_path: Path, workers: int) -> None:
    with cluster_of(workers, tmp_path) as local, distributed.Client(local) as client:
        assert digest(trained(client)) == digest(trained(None))
        assert digest(trained(local.scheduler_address)) == digest(trained(None))


def test_long_vectors_are_added_in_parts(five: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "SHORT", 10)
    assert digest(trained(five)) == digest(trained(None))


def test_a_mapped_file_is_read_by_each_worker(five: Any, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(203, 6)).astype("float32")
    np.save(tmp_path / "X.npy", X)
    assert digest(trained(five, X=nn.datasets.memory_mapped(tmp_path / "X.npy"))) == digest(trained(None, X=X))


@pytest.mark.parametrize("flag", [flag for flag in ("torch", "cupy:1") if not WHY_NOT[flag]])
def test_workers_compute_where_they_are_told(five: Any, flag: str) -> None:
    """The model stays where it is; its parameters have the bits of a model that is there."""
    there = trained(None, flag)
    got = trained(nn.distributed.Cluster(five, backend=flag))
    assert isinstance(got.theta, np.ndarray)
    assert got.theta.tobytes() == nn.backend("numpy").asarray(there.theta).tobytes()
    assert got.history["loss"] == pytest.approx(there.history["loss"], rel=1e-6)  # the mean is taken here


def test_several_inputs_by_name(five: Any) -> None:
    rng = np.random.default_rng(0)
    X = {"a": rng.normal(size=(100, 3)).astype("float32"), "b": rng.normal(size=(100, 2)).astype("float32")}
    y = rng.integers(0, 2, 100)
    network = nn.Network(nn.Inputs({"a": nn.Dense(4, "tanh"), "b": nn.Dense(4)}), nn.Dense(2))
    models = []
    for cluster in (five, None):
        model = network.init({"a": (3,), "b": (2,)}, seed=0, dtype="float32")
        model.fit(X, y, validation=(X, y), cluster=cluster, grains=8, epochs=2)
        models.append(digest(model))
    assert models[0] == models[1]


def test_a_training_goes_on_elsewhere(five: Any, tmp_path: Path) -> None:
    """Begun on a cluster, gone on with in one process, and the other way round."""
    want = digest(trained(None, epochs=4))
    for first, second in ((five, None), (None, five)):
        file = tmp_path / f"{first is None}.safetensors"
        trained(first, epochs=2, checkpoint=file)
        assert digest(trained(second, epochs=4, checkpoint=file, resume=True)) == want


def test_what_callbacks_change_is_gone_on_with(five: Any) -> None:
    def half(run: nn.Run) -> None:
        run.model.theta = 0.5 * run.model.theta

    assert digest(trained(five, callbacks=[half])) == digest(trained(None, callbacks=[half]))


def test_the_command_trains_on_a_cluster(five: Any, tmp_path: Path) -> None:
    from nnarray.apps.workflow import steps

    table, rng = tmp_path / "t.csv", np.random.default_rng(0)
    table.write_text("a,b,y\n" + "".join(f"{a},{b},{int(a > b)}\n" for a, b in rng.normal(size=(200, 2))))
    models = []
    for settings in ({"grains": 8}, {"scheduler": five.scheduler.address}):
        plan = steps.Plan(target=("y",), epochs=2, **settings)
        examples = steps.read(table, plan)
        model = steps.model_for(table, examples, plan, nn.backend("numpy"))
        models.append(steps.train(model, examples, plan, tmp_path / "m.safetensors").model)
    assert digest(models[0]) == digest(models[1])
    streamed = steps.read(table, steps.Plan(target=("y",), stream=True))
    with pytest.raises(ValueError, match=r"no other process can open.*or --cache FOLDER, where all"):
        steps.train(model, streamed, plan, tmp_path / "n.safetensors")


def test_the_command_trains_on_images_that_are_kept(five: Any, tmp_path: Path) -> None:
    from PIL import Image

    from nnarray.apps.workflow import steps

    X, y = nn.datasets.pets(40, size=8, seed=0)
    for i, (pixels, label) in enumerate(zip(np.asarray(X), np.asarray(y), strict=True)):
        place = tmp_path / "pets" / ("cat", "dog")[int(label)]
        place.mkdir(exist_ok=True, parents=True)
        Image.fromarray((pixels * 255).astype(np.uint8)).save(place / f"{i}.png")
    models, settings = [], {"epochs": 2, "size": 8, "hidden": (4,), "batch_size": 16, "grains": 8}
    for how in ({"stream": False}, {"cache": tmp_path, "scheduler": five.scheduler.address}):
        plan = steps.Plan(**settings, **how)
        examples = steps.read(tmp_path / "pets", plan)
        model = steps.model_for(tmp_path / "pets", examples, plan, nn.backend("numpy"))
        models.append(steps.train(model, examples, plan, tmp_path / "m.safetensors").model)
    assert digest(models[0]) == digest(models[1])


# --- Workers that are lost ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    # Dask gives up a worker that is away 15 s after it was lost, even if it came back between and was lost once more.
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    folder = tmp_path_factory.mktemp("processes")
    with patient, cluster_of(3, folder, processes=True) as local, distributed.Client(local) as client:
        yield client


def while_training(client: Any, harm: Callable[[], None], **settings: Any) -> nn.Model:
    """A training in whose second epoch something happens, which is at work for some seconds."""
    happened = threading.Event()

    def look(run: nn.Run) -> None:
        if run.epoch == 1:
            threading.Timer(0.05, lambda: (harm(), happened.set())).start()

    model = trained(client, **{"epochs": 30} | settings, callbacks=[look])
    assert happened.is_set()
    return model


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_hangs(processes: Any, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(training, "PATIENCE", 1.0)
    pids = processes.run(os.getpid)
    victim = next(iter(pids.values()))
    begun = time.monotonic()
    try:
        model = while_training(processes, lambda: os.kill(victim, number))
    finally:
        if number == signal.SIGSTOP:
            os.kill(victim, signal.SIGCONT)
    assert digest(model) == digest(while_training(None, lambda: None))
    assert time.monotonic() - begun < 60
    processes.wait_for_workers(3, timeout=60)


def test_all_workers_die(processes: Any) -> None:
    """Their nannies start them again, and the epoch is taken once more."""
    pids = processes.run(os.getpid)
    with pytest.warns(RuntimeWarning, match="all workers of the Dask scheduler at .* left the training"):
        model = while_training(processes, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids.values()])
    assert digest(model) == digest(while_training(None, lambda: None))
    processes.wait_for_workers(3, timeout=60)


def test_a_scheduler_that_dies_is_reported_as_soon_as_it_is_known(tmp_path: Path) -> None:
    """Its workers leave with it, and none can come."""
    file, where = str(tmp_path / "scheduler.json"), ("--no-dashboard", "--scheduler-file")
    dask_command, killed = (sys.executable, "-m", "dask"), []
    with (
        started(*dask_command, "scheduler", "--host", "127.0.0.1", "--port", "0", *where, file) as scheduler,
        started(*dask_command, "worker", "--no-nanny", "--nthreads", "1", *where, file, cwd=tmp_path),
        distributed.Client(scheduler_file=file, timeout="60 s") as client,
    ):
        client.wait_for_workers(1, timeout=60)

        def kill() -> None:
            scheduler.kill()
            killed.append(time.monotonic())

        with (
            pytest.warns(RuntimeWarning, match="left the training. Waiting for others"),
            pytest.raises(
                ConnectionError, match=r"The scheduler is gone, too\. Start it again, and workers; fit\(.*res"
            ),
        ):
            while_training(client, kill, epochs=10_000)
        assert time.monotonic() - killed[0] < 20


def test_a_worker_that_comes_takes_part(tmp_path: Path) -> None:
    with cluster_of(1, tmp_path) as local, distributed.Client(local) as client:
        model = while_training(client, lambda: local.scale(3))
        client.wait_for_workers(3, timeout=30)
    assert digest(model) == digest(while_training(None, lambda: None))


# --- What is refused -------------------------------------------------------------------------------------------------


def test_workers_that_round_otherwise(five: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    proofs = iter("ABABA")
    monkeypatch.setattr(member, "proof", lambda trainer: next(proofs))
    with pytest.warns(
        RuntimeWarning, match="takes no part in the training: its processor or libraries round differently"
    ):
        model = trained(five)
    assert digest(model) == digest(trained(None))
    proofs = iter("ABCDE")
    assert digest(trained(nn.distributed.Cluster(five, exact=False))) == digest(model)


def test_a_file_that_workers_do_not_find(five: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "X.npy", np.ones((203, 6), np.float32))
    X = nn.datasets.memory_mapped(tmp_path / "X.npy")
    monkeypatch.setattr(member.Member, "_made", lambda self, sent: (_ for _ in ()).throw(FileNotFoundError("no X.npy")))
    with (
        pytest.warns(RuntimeWarning, match=r"takes no part in the training: no X\.npy"),
        pytest.raises(FileNotFoundError, match=r"no X\.npy"),
    ):
        trained(five, X=X)


class TwoWords(Exception):
    """Which cannot be sent, as it is made otherwise than it is kept."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


class Broken(nn.datasets.Source):
    """Whose rows cannot be read any more, after a while."""

    def __init__(self, kind: type[BaseException], *words: str, left: int = 40) -> None:
        self.kind, self.words, self.left = kind, words, left

    @property
    def shape(self) -> tuple[int, ...]:
        return (203, 6)

    def rows(self, indices: Any) -> np.ndarray:
        count = len(range(203)[indices]) if isinstance(indices, slice) else len(indices)
        self.left -= 1
        if self.left < 0:
            raise self.kind(*self.words)
        return np.zeros((count, 6), np.float32)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ((OSError, "the disk is gone"), OSError, "the disk is gone"),
        ((TwoWords, "one", "two"), RuntimeError, "TwoWords: one two"),
        ((SystemExit, "over"), RuntimeError, "SystemExit: over"),
    ],
)
def test_an_error_at_a_worker_is_the_user_s(
    five: Any, error: tuple[Any, ...], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        trained(five, X=Broken(*error), epochs=100)
    assert digest(trained(five)) == digest(trained(None))  # the workers are as they were
    assert left_over(five) == 0


def test_an_error_of_all_workers_is_raised_itself(five: Any) -> None:
    class AtWorkers(Broken):
        def rows(self, indices: Any) -> np.ndarray:
            self.left = 0 if threading.current_thread().name.startswith("nnarray-member") else 1
            return super().rows(indices)

    broken = AtWorkers(ValueError, "no rows here")
    with pytest.warns(RuntimeWarning, match="takes no part"), pytest.raises(ValueError, match="no rows here"):
        trained(five, X=broken)
    assert left_over(five) == 0


def test_what_cannot_be_sent_is_refused_here(five: Any) -> None:
    X = Broken(ValueError)
    X.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"cannot be sent to the workers: cannot pickle '_thread.lock' object"):
        trained(five, X=X, check_finite=False)


def left_over(client: Any) -> int:
    """How many trainings the workers still know, a moment after the end."""
    for _ in range(100):
        if not (known := sum(client.run(lambda dask_worker: len(dask_worker.nnarray_trainings)).values())):
            break
        time.sleep(0.02)
    return known


def test_nothing_is_left_at_the_workers(five: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(five, grains=2)
    assert left_over(five) == 0
    proofs = iter("AAAAB")
    monkeypatch.setattr(member, "proof", lambda trainer: next(proofs))
    with pytest.warns(RuntimeWarning, match="takes no part in the training"):
        trained(five)
    assert left_over(five) == 0
    assert "nnarray-member" not in str([thread.name for thread in threading.enumerate()])


def test_workers_that_do_not_hear_of_the_client_let_go(five: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it comes back, they begin anew."""
    monkeypatch.setattr(member, "SILENCE", 2.0)
    monkeypatch.setattr(training, "BEAT", 60.0)
    monkeypatch.setattr(training, "LOOK", 0.1)
    left = []

    def sleep(run: nn.Run) -> None:
        if run.epoch == 2:
            time.sleep(3)
            left.append(left_over(five))

    with pytest.warns(RuntimeWarning, match="left the training"):
        model = trained(five, callbacks=[sleep])
    assert left == [0]
    assert digest(model) == digest(trained(None, callbacks=[lambda run: None]))


def test_a_cluster_without_workers(tmp_path: Path) -> None:
    with (
        cluster_of(0, tmp_path) as local,
        distributed.Client(local) as client,
        pytest.raises(ConnectionError, match=r"can train: it has no workers\. Start workers where nnarray"),
    ):
        trained(client)


def test_an_asynchronous_client_is_refused() -> None:
    class Asynchronous(distributed.Client):
        asynchronous = True

        def __init__(self) -> None:
            pass

        def __del__(self) -> None:
            pass

    with pytest.raises(TypeError, match="asynchronous=True returns coroutines; make one without it"):
        trained(Asynchronous())


def test_ctrl_c_leaves_the_last_finished_step(five: Any) -> None:
    def interrupt(run: nn.Run) -> None:
        if run.epoch == 2:
            raise KeyboardInterrupt

    be = nn.backend("numpy")
    X = np.random.default_rng(0).normal(size=(203, 6)).astype("float32")
    model = nn.Network(nn.Dense(3)).init((6,), seed=0, dtype="float32")
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, be.asarray(X[:, 0] > 0) * 1, cluster=five, epochs=9, callbacks=[interrupt])
    assert model.history.steps == 2 * 7


def test_ctrl_c_ends_the_wait_for_workers(tmp_path: Path) -> None:
    with cluster_of(1, tmp_path) as local, distributed.Client(local) as client:

        def leave(run: nn.Run) -> None:
            if run.epoch == 1:
                local.scale(0)
                threading.Timer(2.0, signal.raise_signal, [signal.SIGINT]).start()

        begun = time.monotonic()
        with pytest.warns(RuntimeWarning, match="left the training"), pytest.raises(KeyboardInterrupt):
            trained(client, callbacks=[leave], epochs=100)
        assert time.monotonic() - begun < 30
