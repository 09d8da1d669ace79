"""How examples are dealt into parts to train on, to hold out and to test with."""

from __future__ import annotations

import numpy as np
import pytest

from nnarray.apps.workflow.splits import Split

GROUPS = np.asarray([0] * 50 + [1] * 10 + [2] * 2 + [3])


def test_each_class_gives_its_share_and_keeps_one_to_train_on() -> None:
    train, held, test = Split(0.2).of(63, GROUPS)
    assert np.bincount(GROUPS[held], minlength=4).tolist() == [10, 2, 0, 0]
    assert sorted([*train, *held]) == list(range(63))
    assert len(test) == 0
    assert np.bincount(GROUPS[Split(0.9).of(63, GROUPS).train]).min() >= 1
    train, held, _ = Split(0.25, seed=1).of(100, None)
    assert (len(train), len(held)) == (75, 25)
    assert not np.array_equal(held, Split(0.25, seed=2).of(100, None).held_out)


def test_parts_are_fractions_of_all_examples() -> None:
    train, held, test = Split(0.2, test=0.3).of(1000, np.arange(1000) % 2)
    assert (len(train), len(held), len(test)) == (500, 200, 300)
    assert sorted([*train, *held, *test]) == list(range(1000))
    assert all(np.bincount(part % 2).tolist() == [len(part) / 2] * 2 for part in (train, held, test))
    train, held, test = Split(0.0, test=0.5).of(10, None)
    assert (len(train), len(held), len(test)) == (5, 0, 5)


def test_the_test_part_does_not_hang_on_the_validation() -> None:
    parts = [Split(v, test=0.2, fold=fold).of(100, None) for v, fold in ((0.0, None), (0.5, None), (0.2, (1, 4)))]
    assert all(np.array_equal(part.test, parts[0].test) for part in parts)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_each_example_is_held_out_in_one_fold(groups: np.ndarray | None) -> None:
    folds = [Split(fold=(k, 5)).of(63, groups) for k in range(5)]
    held = np.concatenate([fold.held_out for fold in folds])
    assert len(set(held)) == len(held)
    assert set(held) == (set(range(63)) if groups is None else set(range(62)))  # the only one of class 3 never is
    assert {len(fold.train) + len(fold.held_out) for fold in folds} == {63}
    if groups is not None:
        assert all(np.bincount(groups[fold.held_out], minlength=2)[:2].tolist() == [10, 2] for fold in folds)
        assert all(np.bincount(groups[fold.train]).min() >= 1 for fold in folds)


def test_parts_without_examples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"--validation 0\.01 of 10 examples holds out none"):
        Split(0.01).of(10, None)
    with pytest.raises(ValueError, match=r"--test 0\.01 of 10 examples holds out none"):
        Split(0.2, test=0.01).of(10, None)
    with pytest.raises(ValueError, match="--folds 5 needs at least as many examples; got 4"):
        Split(fold=(0, 5)).of(4, None)
