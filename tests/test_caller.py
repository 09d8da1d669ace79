"""Warnings are shown at the line of the user."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import nnarray as nn
from nnarray import caller


def test_a_file_whose_name_begins_as_the_package_is_the_users() -> None:
    beside = str(Path(nn.__file__).parent) + "_of_mine.py"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile("caller.warn('hm')", beside, "exec"), {"caller": caller})
    assert [each.filename for each in caught] == [beside]


def test_frames_between_those_of_the_package_do_not_count() -> None:
    inside = str(Path(nn.__file__).parent / "inside.py")
    names = {"caller": caller, "call": lambda function: function()}
    code = compile("call(lambda: caller.warn('hm', UserWarning))", inside, "exec")
    with pytest.warns(UserWarning, match="hm") as caught:
        exec(code, names)
    assert [each.filename for each in caught] == [__file__]
