"""Batches of a source that are read ahead: in order, by a thread that ends with the training."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.datasets import Source

COUNT = 40


class Counted(Source):
    """Rows that say who asked for them."""

    reads_ahead = True

    def __init__(self, broken: int | None = None) -> None:
        self.X = np.random.default_rng(0).normal(size=(COUNT, 3))
        self.asked: list[tuple[str, np.ndarray]] = []
        self.broken = broken

    @property
    def shape(self) -> tuple[int, ...]:
        return self.X.shape

    def rows(self, indices: Any) -> np.ndarray:
        self.asked.append((threading.current_thread().name, np.arange(COUNT)[indices]))
        if self.broken is not None and len(self.asked) > self.broken:
            raise OSError("the disk is gone")
        return self.X[indices]


class InCallersThread(Counted):
    reads_ahead = False


Y = np.arange(COUNT) % 2


def fitted(source: Any, **settings: Any) -> nn.Model:
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((3,), seed=0)
    model.fit(source, Y, **{"epochs": 2, "batch_size": 8, "check_finite": False, "progress": False} | settings)
    return model


def nobody_reads() -> bool:
    return not any(each.name == "nnarray-reader" for each in threading.enumerate())


@pytest.mark.parametrize("settings", [{}, {"shuffle": False}, {"accumulate": 2}, {"batch_size": 9}], ids=str)
def test_a_thread_reads_and_the_bits_are_those_of_memory(settings: dict[str, Any]) -> None:
    source = Counted()
    model = fitted(source, **settings)
    assert {name for name, _ in source.asked} == {"nnarray-reader"}
    assert nobody_reads()
    np.testing.assert_array_equal(
        np.sort(np.concatenate([rows for _, rows in source.asked])), np.repeat(np.arange(40), 2)
    )
    np.testing.assert_array_equal(model.theta, fitted(source.X, **settings).theta)


@pytest.mark.parametrize("kind", [InCallersThread, Counted])
def test_a_source_that_does_not_say_so_is_asked_by_nobody_else(kind: type[Counted]) -> None:
    source = kind()
    fitted(source, batch_size=None if kind is Counted else 8)  # a single batch needs no thread
    assert {name for name, _ in source.asked} == {threading.current_thread().name}


def test_an_error_is_raised_by_the_step_that_needs_the_batch() -> None:
    source, kept = Counted(broken=7), []
    with pytest.raises(OSError, match="the disk is gone"):
        fitted(source, callbacks=[lambda run: kept.append(run.epoch)])
    assert kept == [1]  # five batches an epoch: the eighth is in the second one
    assert nobody_reads()


def test_no_thread_is_left_behind() -> None:
    def stop(run: nn.Run) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(Counted(), callbacks=[stop])
    assert nobody_reads()
    source = Counted()
    source.X[17] = np.nan
    with pytest.raises(nn.DivergenceError):
        fitted(source)
    assert nobody_reads()
