"""The digits of notebook 5, and what a reader draws."""

from __future__ import annotations

import numpy as np
import pytest

import nnarray as nn
from nnarray.notebooks.digits import SIDE, centred, digits, drawing

ONE = [".......##......."] * SIDE


def test_digits_are_ink_or_paper_and_in_the_middle(be: nn.Backend) -> None:
    X, y = digits(40, seed=3, backend=be)
    assert (X.shape, X.dtype, y.shape) == ((40, 256), be.dtype(), (40,))
    assert be.to_numpy(y).tolist() == list(range(10)) * 4
    images = be.to_numpy(X).reshape(-1, SIDE, SIDE)
    assert set(np.unique(images)) == {0.0, 1.0}
    for image in images:
        assert image.any()
        assert not image[[0, -1]].all()
        np.testing.assert_array_equal(centred(image), image)


def test_a_seed_is_the_same_digits_and_another_seed_others(host: nn.Backend) -> None:
    (first, _), (again, _), (other, _) = (digits(10, seed=seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any(axis=1).all()


def test_a_network_learns_them_in_a_moment(host: nn.Backend) -> None:
    X, y = digits(600, seed=0)
    X_new, y_new = digits(200, seed=1)
    model = nn.Network(nn.Dense(48, "relu"), nn.Dense(10)).init((256,), seed=0)
    model.fit(X, y, optimizer=nn.AdamW(0.003, weight_decay=1.0), epochs=15, progress=False)
    assert float(nn.metrics.accuracy(model(X_new), y_new)) > 0.85


def test_a_drawing_is_a_row_and_is_moved_into_the_middle(be: nn.Backend) -> None:
    x = drawing("\n".join(ONE), backend=be)
    assert (x.shape, x.dtype) == ((1, 256), be.dtype())
    left = ["1" * 2 + "0" * 14] * SIDE
    assert be.to_numpy(drawing("\n".join(left), backend=be)).tolist() == be.to_numpy(x).tolist()
    corner = ["#" + "." * 15] + ["." * 16] * 15
    assert be.to_numpy(drawing("\n".join(corner), backend=be)).reshape(SIDE, SIDE)[7, 7] == 1.0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (ONE[:-1], "a drawing has 16 lines; yours has 15"),
        ([], "yours has 0"),
        ([*ONE[:3], ONE[3][:-1], *ONE[4:]], "each line of a drawing has 16 signs; line 4 has 15"),
        ([*ONE[:-1], "x" * 16], "line 16 has 'x'"),
        (["." * 16] * 16, "the drawing is empty"),
    ],
)
def test_what_is_no_drawing_is_refused(rows: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        drawing("\n".join(rows))


@pytest.mark.parametrize("settings", [{"n": 0}, {"n": 10, "seed": -1}])
def test_wrong_numbers_are_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match="must be an integer of at least"):
        digits(**settings)
