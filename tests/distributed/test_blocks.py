"""Training on Dask arrays and dataframes: their blocks stay where they are, and the bits are those of an array."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.distributed.test_training import cluster_of, digest, distributed, five

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
    pytest.mark.timeout(120),
]
array = pytest.importorskip("dask.array")
__all__ = ["five"]
X = np.random.default_rng(0).normal(size=(203, 6)).astype("float32")


def given(kind: str) -> Any:
    """The examples in blocks."""
    if kind == "frame":
        return array.from_array(X, chunks=(50, 6)).to_dask_dataframe(columns=list("abcdef"))
    chunks = {"even": (50, 6), "uneven": ((1, 100, 30, 72), (2, 4)), "one": (203, 6)}
    blocks = array.from_array(X, chunks=chunks.get(kind, (40, 6)))
    return blocks[blocks[:, 0] > -99] if kind == "unknown lengths" else blocks


@pytest.mark.parametrize("kind", ["even", "uneven", "one", "unknown lengths", "frame"])
def test_blocks_come_to_the_bits_of_an_array(five: Any, kind: str) -> None:
    for settings in ({}, {"validation": 0.2, "shuffle": False, "batch_size": 64}):
        assert digest(fitted(five, given(kind), **settings)) == digest(fitted(None, X, **settings))


def fitted(cluster: Any, examples: Any, y: Any = None, **settings: Any) -> nn.Model:
    labels = np.random.default_rng(1).integers(0, 3, 203) if y is None else y
    model = nn.Network(nn.Dense(16, "relu"), nn.Dropout(0.3), nn.Dense(3)).init((6,), seed=0, dtype="float32")
    model.fit(examples, labels, cluster=cluster, **{"epochs": 3, "grains": 8} | settings)
    return model


def test_labels_weights_and_validation_may_be_blocks(five: Any) -> None:
    y, w = np.random.default_rng(1).integers(0, 3, 203), np.random.default_rng(2).random(203)
    lazy = [array.from_array(each, chunks=100) for each in (y, w)]
    got = fitted(five, given("even"), lazy[0], sample_weight=lazy[1], validation=(given("uneven"), lazy[0]))
    assert digest(got) == digest(fitted(None, X, y, sample_weight=w, validation=(X, y)))


def test_examples_in_memory_with_labels_in_blocks(five: Any) -> None:
    y = np.random.default_rng(1).integers(0, 3, 203)
    assert digest(fitted(five, X, array.from_array(y, chunks=70))) == digest(fitted(None, X, y))


def test_blocks_that_are_lost_are_computed_again(tmp_path: Path) -> None:
    with cluster_of(3, tmp_path, processes=True) as local, distributed.Client(local) as client:
        victim = next(iter(client.run(os.getpid).values()))

        def look(run: nn.Run) -> None:
            if run.epoch == 1:
                threading.Timer(0.05, lambda: os.kill(victim, signal.SIGKILL)).start()

        got = fitted(client, given("even"), epochs=20, callbacks=[look])
    assert digest(got) == digest(fitted(None, X, epochs=20))


@pytest.mark.parametrize(
    ("examples", "error", "message"),
    [
        (np.where(np.arange(203)[:, None] == 120, np.nan, X), ValueError, r"X\[100:150\] contains NaN"),
        (X[:, :5], ValueError, r"the network expects \(batch, 6\)"),
        (X[:100], ValueError, "X has 100 examples, but y has shape"),
        (np.full((203, 6), "a"), TypeError, "X must have real numbers; got dtype"),
    ],
)
def test_blocks_that_do_not_fit(five: Any, examples: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fitted(five, array.from_array(examples, chunks=(50, -1)))


def test_without_a_cluster_it_says_what_helps() -> None:
    with pytest.raises(TypeError, match=r"predict, and fit with cluster=, take it\."):
        fitted(None, given("even"))
