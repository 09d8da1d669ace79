"""The package as one name: what importing it costs, and that every public name is there when somebody asks for it."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from types import ModuleType

import pytest

import nnarray as nn
from tests.processes import run_python


def test_importing_the_package_imports_nothing_else() -> None:
    """In one process, step by step: each line of it brings what it names, and no more."""
    done = run_python(
        """
        import sys
        before = set(sys.modules)
        import nnarray as nn

        def own():
            return {name.split(".")[1] for name in sys.modules if name.startswith("nnarray.")}

        others = {name.split(".")[0] for name in set(sys.modules) - before} - {"nnarray", *sys.stdlib_module_names}
        print(sorted(others), sorted(own()))
        nn.Dense
        print(sorted(own() & {"training", "model", "datasets", "persistence", "drawing", "functional", "losses"}))
        nn.Model, nn.Network, nn.Adam, nn.datasets.moons
        print(sorted(own() & {"explanations", "plotting", "tables", "apps", "models", "gradients", "testing"}))
        """
    )
    assert done.stdout == "[] ['names']\n[]\n[]\n"


def test_every_public_name_is_there_whatever_was_imported_before() -> None:
    done = run_python(
        f"""
        import pickle
        assert repr(pickle.loads({pickle.dumps(nn.Dense(3, "tanh"))!r})) == {repr(nn.Dense(3, "tanh"))!r}
        import nnarray.explanations, nnarray.layers.dense, nnarray.random
        import nnarray as nn
        assert callable(nn.explain) and nn.layers is nnarray.layers and nn.layers.Dense is nn.Dense is nnarray.Dense
        from nnarray import *
        assert Dense is nn.Dense and initializers is nn.layers.initializers and random is nnarray.random
        assert [name for name in nn.__all__ if name not in globals()] == []
        assert pickle.loads(pickle.dumps(Model)) is nn.Model and pickle.loads(pickle.dumps(explain)) is nn.explain
        """
    )
    assert not done.stderr


def test_each_part_may_be_imported_first() -> None:
    """No part relies on what another one has imported before it."""
    done = run_python(
        """
        import importlib, pkgutil, sys
        import nnarray

        parts = [each.name for each in pkgutil.iter_modules(nnarray.__path__)]
        for part in sorted({*parts} - {"__main__", "cli", "estimators"}):  # which need what the others do not
            for name in [name for name in sys.modules if name.partition(".")[0] == "nnarray"]:
                del sys.modules[name]
            importlib.import_module(f"nnarray.{part}")
        print(len(parts))
        """
    )
    assert int(done.stdout) > 20


def test_the_package_lists_its_names() -> None:
    assert set(nn.__all__) <= set(dir(nn))


@pytest.mark.parametrize("name", nn.__all__)
def test_a_public_name_is_a_module_or_no_module_has_it(name: str) -> None:
    """Python gives a package the attribute of each of its modules, in place of a function of that name."""
    assert isinstance(getattr(nn, name), ModuleType) or find_spec(f"nnarray.{name}") is None


def test_settings_are_explained_whatever_was_imported_before() -> None:
    done = run_python(
        """
        from nnarray.layers.dense import Dense
        try:
            Dense(3, use_bias=False)
        except TypeError as error:
            print(error)
        """
    )
    assert done.stdout == "Dense has no argument 'use_bias'. Did you mean bias=?\n"
