"""Frames of the playground: how often they come, and what they hold."""

from __future__ import annotations

from typing import Any

import pytest

from nnarray.apps.playground import session as sessions
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
