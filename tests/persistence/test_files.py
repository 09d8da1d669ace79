"""A file has one training at a time that writes to it."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import files
from tests.processes import LIMIT, started

MODEL = Path("m.safetensors")
HOLD = f"""
import sys
from pathlib import Path
from nnarray import files
with files.owned(Path({str(MODEL)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def another_owner() -> Generator[Any]:
    with started(sys.executable, "-c", HOLD, stdin=-1) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_second_owner_is_refused_and_learns_who_the_first_is() -> None:
    with another_owner() as process:
        said = rf"'m\.safetensors' is being written by another training \(process {process.pid} on .+\): .*another file"
        with pytest.raises(BlockingIOError, match=said), files.owned(MODEL):
            pass
        Path("link.safetensors").symlink_to(MODEL)
        with pytest.raises(BlockingIOError, match="is being written"), files.owned(Path("link.safetensors")):
            pass
        with files.owned(Path("other.safetensors")):
            pass
        process.communicate("", timeout=LIMIT)
    with files.owned(MODEL):
        assert os.listdir() != []
    assert os.listdir() == ["link.safetensors"]


def test_the_lock_of_a_killed_owner_does_not_matter() -> None:
    with another_owner() as process:
        process.send_signal(signal.SIGKILL)
        process.wait(LIMIT)
    assert os.listdir() == [".m.safetensors.lock"]
    with files.owned(MODEL):
        pass
    assert os.listdir() == []


def test_nobody_owns_twice_neither_the_owner_nor_another_thread() -> None:
    said: list[str] = []

    def own() -> None:
        try:
            with files.owned(MODEL.absolute()):
                pass
        except BlockingIOError as error:
            said.append(str(error))

    with files.owned(MODEL):
        thread = threading.Thread(target=own)
        thread.start()
        thread.join()
        own()
    assert ["is being written by another training (of this program)" in each for each in said] == [True, True]
    assert os.listdir() == []


def test_many_threads_own_it_one_after_the_other() -> None:
    """Each removes its lock while others are about to take it: never are there two owners."""
    inside, most, done = 0, 0, 0
    count = threading.Lock()

    def own() -> None:
        nonlocal inside, most, done
        for _ in range(200):
            try:
                with files.owned(MODEL):
                    with count:
                        inside += 1
                        most, done = max(most, inside), done + 1
                    with count:
                        inside -= 1
            except BlockingIOError:
                pass

    threads = [threading.Thread(target=own) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, done > 10) == (1, True)
    assert os.listdir() == []


def test_an_error_inside_is_not_one_of_the_file() -> None:
    def fail() -> None:
        with files.owned(MODEL):
            raise OSError(errno.ENOSPC, "of something else")

    with pytest.raises(OSError, match=r"^\[Errno 28\] of something else$"):
        fail()
    assert os.listdir() == []


def test_without_a_folder_there_is_nothing_to_own() -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder 'none'"), files.owned(Path("none/m.safetensors")):
        pass


def test_a_file_system_without_locks_is_reported_and_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", none)
    with files.owned(MODEL):
        assert "has no locks: let only one process write there" in caplog.text
    files.replace(Path("a"), lambda part: part.touch())
    assert os.listdir() == ["a"]


def test_a_training_into_a_file_of_another_one_trains_nothing(host: nn.Backend) -> None:
    model = nn.Network(nn.Dense(2)).init((3,), seed=0, backend=host)
    X, y = host.asarray(np.ones((8, 3))), host.asarray([0, 1] * 4)
    settings: dict[str, Any] = {"loss": "cross_entropy", "epochs": 2, "progress": False, "checkpoint": MODEL}
    with another_owner(), pytest.raises(BlockingIOError, match="is being written by another training"):
        model.fit(X, y, **settings)
    assert (model.history.steps, MODEL.exists()) == (0, False)

    def again(run: nn.Run) -> None:
        if run.epoch == 2:
            model.copy().fit(X, y, **settings)

    with pytest.raises(BlockingIOError, match=r"by another training \(of this program\)"):
        model.copy().fit(X, y, **settings, callbacks=again)
    assert len(nn.load(MODEL).history["loss"]) == 1  # the epoch of the outer one
    assert model.fit(X, y, **settings).steps == 2
    assert os.listdir() == [MODEL.name]
