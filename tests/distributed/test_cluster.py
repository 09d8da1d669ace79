"""Work in order on a Dask cluster, and what is said where there is none."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.distributed import cluster

# Dask leaves sockets open that it looks for free ports with.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
distributed = pytest.importorskip("distributed")
SETTINGS: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a scheduler with two workers, in threads of this process."""
    folder = str(tmp_path_factory.mktemp("workers"))
    with distributed.LocalCluster(**SETTINGS, processes=False, local_directory=folder, protocol="tcp://") as local:
        yield local.scheduler_address


def scaled(factor: float, x: int) -> float:
    if x < 0:
        raise ValueError(f"{x} is below 0")
    return factor * x


def test_items_come_in_order_and_few_are_on_their_way(address: str) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            taken.append(i)
            yield i

    with cluster.connected(address) as client:
        results = cluster.in_order(client, scaled, 2.0, items())
        assert next(results) == (0, 0.0)
        assert len(taken) == 2 * cluster.EACH
        assert list(results) == [(i, 2.0 * i) for i in range(1, 50)]


def test_an_error_is_the_function_s_own(address: str) -> None:
    with cluster.connected(address) as client, pytest.raises(ValueError, match="-1 is below 0"):
        list(cluster.in_order(client, scaled, 2.0, [3, -1, 4]))


def test_where_no_scheduler_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    message = r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'.*Start one with `dask scheduler`"
    with pytest.raises(ConnectionError, match=message), cluster.connected("tcp://127.0.0.1:9"):
        pass


def test_a_scheduler_without_workers(tmp_path: Path) -> None:
    settings = SETTINGS | {"n_workers": 0, "processes": False, "local_directory": str(tmp_path), "protocol": "tcp://"}
    message = "has no workers. Start some with `dask worker tcp://"
    with (
        distributed.LocalCluster(**settings) as local,
        pytest.raises(ConnectionError, match=message),
        cluster.connected(local.scheduler_address),
    ):
        pass


def killing(_: Any, x: int) -> None:
    if x == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def test_work_that_kills_its_workers(tmp_path: Path) -> None:
    """Neither it nor anything after it waits for ever."""
    with (
        distributed.LocalCluster(**SETTINGS, local_directory=str(tmp_path)) as local,
        cluster.connected(local.scheduler_address) as client,
        pytest.raises(ConnectionError, match="several workers died at the same task"),
    ):
        list(cluster.in_order(client, killing, None, range(3)))


def test_the_command_predicts_on_a_cluster(address: str, tmp_path: Path) -> None:
    from nnarray.apps.workflow import steps, using

    table = tmp_path / "t.csv"
    rng = np.random.default_rng(0)
    table.write_text("a,b,y\n" + "".join(f"{a},{b},{int(a > b)}\n" for a, b in rng.normal(size=(200, 2))))
    plan, be = steps.Plan(target=("y",), epochs=2), nn.backend("numpy")
    examples = steps.read(table, plan)
    trained = steps.train(steps.model_for(table, examples, plan, be), examples, plan, tmp_path / "m.safetensors")
    here, there = (
        list(using.predict(trained.model, trained.inputs, table, scheduler=each)) for each in (None, address)
    )
    assert len(here) == len(there) == 1
    for name in here[0]:
        np.testing.assert_array_equal(np.asarray(here[0][name]), np.asarray(there[0][name]), err_msg=name)
