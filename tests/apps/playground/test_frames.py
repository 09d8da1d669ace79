"""Frames of the playground: how often they come, and what they hold."""

from __future__ import annotations

from typing import Any

import pytest

from nnarray.apps.playground import columns
from nnarray.apps.playground import session as sessions
from nnarray.apps.playground.columns import Column, Curve
from tests.apps.playground.test_session import one, session

EPOCH, FRAME = 0.007, 0.002  # seconds that an epoch and a frame take on the clock of these tests


class Clock:
    """A clock that moves only with the work that is done."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def taking(self, seconds: float, work: Any) -> Any:
        """The work, which then takes so long."""

        def done(*positional: Any, **named: Any) -> Any:
            self.now += seconds
            return work(*positional, **named)

        return done


def frames_of(monkeypatch: pytest.MonkeyPatch, seconds: float, frame: float, **watch: Any) -> tuple[list[Any], int]:
    """The frames of so many seconds of training in slices of 10 ms, and the epochs in them."""
    learner, clock = session(), Clock()
    monkeypatch.setattr(sessions, "time", clock)
    monkeypatch.setattr(learner.lab, "train_epoch", clock.taking(EPOCH, learner.lab.train_epoch))
    monkeypatch.setattr(learner.frames, "frame", clock.taking(frame, learner.frames.frame))
    learner.handle({"type": "watch", "grid": 8, "units": 4, **watch})
    learner.handle({"type": "run"})
    end, found = clock.now + seconds, []
    while clock.now < end:
        found.append(learner.advance(0.01))
    return [each for each in found if each], learner.lab.epoch


@pytest.mark.parametrize("fps", [10, 30, 32])
def test_as_many_frames_come_as_are_wanted(monkeypatch: pytest.MonkeyPatch, fps: int) -> None:
    """Neither the slices of training nor the frames themselves add to the wait."""
    frames, epochs = frames_of(monkeypatch, 4.0, FRAME, fps=fps)
    assert len(frames) == pytest.approx(4 * fps, abs=1)
    assert epochs * EPOCH > 0.8 * 4.0


def test_frames_that_take_long_leave_most_of_the_time_for_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, epochs = frames_of(monkeypatch, 10.0, 0.1, fps=30)
    assert 10 <= len(frames) <= 25
    assert epochs * EPOCH == pytest.approx(0.8 * 10.0, rel=0.05)


def test_some_frames_have_all_parts_and_others_the_predictions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, _ = frames_of(monkeypatch, 4.0, FRAME, fps=30, full=10)
    full = [each for each in frames if "words" in each]
    assert len(frames) == pytest.approx(120, abs=1)
    assert len(full) == pytest.approx(40, abs=2)
    light = next(each for each in frames if "words" not in each)
    numbers = {"type", "number", "epoch", "batch", "batches", "step", "running", "preparing", "lr", "speed"}
    assert {*light} == {*numbers, "grid"}
    assert {"loss", "accuracy", "curve", "units", "weights", "gradients"} <= {*full[0]}
    losses = [loss for each in full for loss in each["curve"]["loss"]]
    assert len(losses) == full[-1]["epoch"]  # no epoch is lost, and none comes twice


def test_an_answer_has_all_parts() -> None:
    learner = session()
    learner.handle({"type": "watch", "full": 1})
    learner.handle({"type": "run"})
    learner.advance(0.01)
    assert "words" in one(learner.handle({"type": "pause"}), "frame")


# --- Memory ----------------------------------------------------------------------------------------------------------


def test_a_column_has_its_last_numbers() -> None:
    column, all_ = Column(), [float(k) for k in range(3 * columns.LATELY)]
    assert not column
    for count, number in enumerate(all_, 1):
        column.append(number)
        assert (len(column), column[-1], column[count - 1]) == (count, number, number)
        assert len(column.kept) < 2 * columns.LATELY
    assert [*column[-20:]] == all_[-20:]
    assert [*column[len(all_) - 9 :: 2]] == all_[-9::2]
    assert [*column[:]] == all_[-len(column.kept) :]
    with pytest.raises(IndexError, match="number 0 of 6144 is not kept"):
        column[0]


@pytest.mark.parametrize("count", [0, 1, 2048, 4096, 4097, 50_000])
@pytest.mark.parametrize("begin", [0, 7, 4000])
def test_a_curve_of_many_epochs_has_few_points_at_their_places(count: int, begin: int) -> None:
    curve, begin = Curve(), min(begin, count)
    curve.extend(map(float, range(count)))
    first, every, numbers = curve.thinned(begin, 2000)
    assert len(curve.points) <= columns.POINTS
    assert begin <= first < begin + curve.every or not count
    assert [*numbers] == [float(k) for k in range(first, count, every)]
    assert len(numbers) <= 2001


def test_memory_does_not_grow_with_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "LATELY", 8)
    monkeypatch.setattr(columns, "POINTS", 16)
    learner = session({"data": {"n": 8}})
    assert learner.lab._stage is None
    for epoch in range(1, 101):
        learner.lab.train_epoch()
        learner.frame()
        assert learner.lab.epoch == epoch
    rows: dict[str, Any] = {"all": learner.lab.losses, **learner.lab._stage.history.columns}  # type: ignore[union-attr]
    assert {*rows} == {"all", "epoch", "loss", "lr", "seconds"}
    assert all(len(row) == 100 and len(row.kept) < 16 for row in rows.values())
    curve = one(learner.handle({"type": "hello"}), "curve")
    assert curve["epochs"] == [*range(1, 101, 8)]
    monkeypatch.undo()
    whole = session({"data": {"n": 8}})
    for _ in range(100):
        whole.lab.train_epoch()
    assert curve["loss"] == pytest.approx(whole.lab.losses[::8].tolist())


def test_a_schedule_that_looks_at_all_losses_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "LATELY", 4)
    learner = session({"data": {"n": 8}, "training": {"schedule": "plateau"}})
    learner.handle({"type": "step", "epochs": 30})
    assert learner.lab.epoch == 30
