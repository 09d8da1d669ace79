"""Packages that tests compare with: what is compared is skipped without them, and the rest of a file still runs."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import pytest

MISSING = "could not import"  # as pytest.importorskip says it
# A file of tests that imports one of these at its head is about it, and is left out where it is not installed.
OPTIONAL = {"hypothesis", "matplotlib", "nbclient", "nbformat", "pandas", "PIL", "pyarrow", "scipy", "sklearn"}
OPTIONAL |= {"httpx", "onnx", "onnxruntime", "starlette"}


def hide(names: Iterable[str]) -> None:
    """From now on no package of these names is found, as if it were not installed."""
    hidden = {name for name in names if name}

    class Visible(PathFinder):
        @classmethod
        def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
            return None if fullname.partition(".")[0] in hidden else super().find_spec(fullname, path, target)

    if hidden:
        sys.meta_path[:] = [Visible if finder is PathFinder else finder for finder in sys.meta_path]


class Absent:
    """Stands for a package that is not installed, and for whatever is in it, in the tables at the head of a file.

    A test that calls any of it is skipped.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> Absent:
        if attribute.startswith("__"):  # which Python asks for by itself
            raise AttributeError(attribute)
        return self

    def __call__(self, *arguments: Any, **options: Any) -> Absent:
        if "PYTEST_CURRENT_TEST" in os.environ:
            pytest.importorskip(self.name)
        return self

    def __instancecheck__(self, instance: object) -> bool:
        return False


def package(name: str) -> Any:
    """The module of this name, or what stands for it where the package is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return Absent(name)


def need(x: object) -> None:
    """Skip the test if this is what stands for an absent package's."""
    if isinstance(x, Absent):
        pytest.importorskip(x.name)


def missing(file: Path) -> list[str]:
    """The optional packages that a file imports at its head, and that are not installed."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return sorted(name for name in names & OPTIONAL if importlib.util.find_spec(name) is None)
