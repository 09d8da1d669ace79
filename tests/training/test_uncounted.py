"""Targets of which a loss leaves out all: in a batch, in an epoch, in a validation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.tolerances import to_host

LOSS = nn.losses.CrossEntropy(ignore_index=-1)
RNG = np.random.default_rng(0)
TOKENS, LABELS = RNG.integers(0, 4, (12, 4)), RNG.integers(0, 4, (12, 4))
NONE = np.full_like(LABELS, -1)
ALL_ARE = r"All labels are -1, its ignore_index, or have weight 0\. Pass targets that count"


def model(be: nn.Backend) -> nn.Model:
    return nn.Network(nn.Embedding(4, 3), nn.Dense(4)).init((4,), seed=0, backend=be, dtype="float32")


def fitted(be: nn.Backend, X: Any, y: Any, **settings: Any) -> nn.Model:
    made = model(be)
    settings = {"loss": LOSS, "optimizer": nn.SGD(0.1), "batch_size": 4, "shuffle": False, "epochs": 2} | settings
    made.fit(be.asarray(X), be.asarray(y), progress=False, **settings)
    return made


@pytest.mark.parametrize("settings", [{}, {"engine": "layers"}, {"accumulate": 2}, {"grains": 2}], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_batch_without_targets_counts_nothing(be: nn.Backend, settings: Any, reduction: str) -> None:
    """Nor in the loss of the epoch, nor in the parameters."""
    loss = nn.losses.CrossEntropy(ignore_index=-1, reduction=reduction)
    y = np.concat([NONE[:8], LABELS[8:]])
    got, want = fitted(be, TOKENS, y, loss=loss, **settings), fitted(be, TOKENS[8:], LABELS[8:], loss=loss)
    np.testing.assert_allclose(got.history["loss"], want.history["loss"], rtol=1e-5)
    np.testing.assert_allclose(to_host(be, got.theta), to_host(be, want.theta), rtol=1e-5, atol=1e-6)


def test_targets_that_are_all_left_out_are_refused(be: nn.Backend) -> None:
    for settings in ({}, {"reduction": "sum"}):
        loss = nn.losses.CrossEntropy(ignore_index=-1, **settings)
        with pytest.raises(ValueError, match=r"^y has no target that counts in CrossEntropy.* " + ALL_ARE):
            fitted(be, TOKENS, NONE, loss=loss)
        with pytest.raises(ValueError, match=r"^validation_y has no target that counts.* " + ALL_ARE):
            fitted(be, TOKENS, LABELS, loss=loss, validation=(be.asarray(TOKENS), be.asarray(NONE)))
    weights = be.asarray(np.asarray([1.0] + [0.0] * 11), dtype="float32")
    y = np.concat([NONE[:1], LABELS[1:]])
    with pytest.raises(ValueError, match="y has no target that counts"):  # those that count have weight 0
        fitted(be, TOKENS, y, sample_weight=weights)
    with pytest.raises(ValueError, match="y has no target that counts"):
        model(be).find_lr(be.asarray(TOKENS), be.asarray(NONE), loss=LOSS)


def test_an_evaluation_without_targets_is_nan(be: nn.Backend) -> None:
    found = model(be).evaluate(be.asarray(TOKENS), be.asarray(NONE), loss=LOSS, metrics="perplexity")
    assert np.isnan(found["loss"])
    assert np.isnan(found["perplexity"])


def test_a_stream_needs_targets_in_each_epoch(be: nn.Backend) -> None:
    some = [(TOKENS[:4], LABELS[:4]), (TOKENS[4:8], NONE[:4])]
    made, alone = model(be), model(be)
    for each, batches in ((made, some), (alone, some[:1])):
        each.fit(nn.datasets.stream(lambda batches=batches: iter(batches)), loss=LOSS, optimizer=nn.SGD(0.1), epochs=2)
    np.testing.assert_allclose(made.history["loss"], alone.history["loss"], rtol=1e-5)
    for count in (1, 2):
        batches, made = [(TOKENS[:4], NONE[:4])] * count, model(be)
        before = to_host(be, made.theta).copy()
        with pytest.raises(ValueError, match=r"^epoch 1 has no target that counts in CrossEntropy.* " + ALL_ARE):
            made.fit(nn.datasets.stream(lambda batches=batches: iter(batches)), loss=LOSS, optimizer=nn.AdamW(0.1))
        assert np.array_equal(to_host(be, made.theta), before)
