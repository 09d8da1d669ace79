"""The language model beside a transcription in PyTorch."""

from __future__ import annotations

import pytest

import nnarray as nn
from tests.packages import need, package

torch = package("torch")


@pytest.mark.once_a_library
def test_the_validation_loss_falls_as_that_of_the_transcription(be: nn.Backend) -> None:
    """From the same weights, with the same batches and AdamW: within rounding, which training lets grow."""
    need(torch)
    from benchmarks.language_losses import Compared, Setting

    small = Setting(layers=2, heads=2, size=16, length=16, batch_size=8, epochs=3, steps_per_epoch=15, rate=0.01)
    compared = Compared(nn.datasets.tales(20), small, be)
    ours, theirs = compared.ours(), compared.theirs()
    assert ours == pytest.approx(theirs, rel=1e-3)
    assert ours[-1] < 0.9 * ours[0]
