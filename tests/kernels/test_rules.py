"""The definition of an optimizer's update is all that an engine needs: each of them computes what it says."""

from __future__ import annotations

import ctypes
import inspect
import os
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels
from nnarray.kernels import threads
from nnarray.kernels.compilation import loops_allowed
from nnarray.kernels.numpy import updates
from nnarray.kernels.rules import Rule, Update, rows_of, rule_of
from tests.packages import package
from tests.processes import run_python
from tests.tolerances import close

RULES = {name: kernel for name, kernel in kernels.TABLE.items() if isinstance(kernel, Update)}
NUMBERS = {"rate": 0.1, "epsilon": 1e-3, "nesterov": True, "correction1": 0.3, "correction2": 0.03, "plain": 0.0}
DTYPES = ("float32", "float64")
ROOT = Path(__file__).parents[2]
SOURCES = runpy.run_path(str(ROOT / "nnarray" / "kernels" / "cupy" / "sources.py"))  # the texts alone, without CuPy
STRANGERS = '''
from dataclasses import dataclass

import nnarray as nn
from nnarray.backends import namespace
from nnarray.kernels.rules import update


@update("rate")
def soft_update(theta, gradient, velocity, *, rate, momentum):
    """v <- mu v + g;  theta <- theta - rate tanh v."""
    velocity = momentum * velocity + gradient
    return theta - rate * namespace(theta).tanh(velocity), velocity


@dataclass(frozen=True, repr=False)
class Soft(nn.Optimizer):
    lr: float = 0.1
    momentum: float = 0.8

    slot_names = ("velocity",)
    kernel = soft_update
'''


def given(name: str, dtype: str, size: int = 41) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Arrays and numbers of a kernel; the last entries of the gradient are too large to be squared, or no numbers."""
    parameters = inspect.signature(RULES[name].definition).parameters.values()
    arrays = [x.name for x in parameters if x.kind is not x.KEYWORD_ONLY]
    found = [np.random.default_rng(i).uniform(0.1, 1.0, size).astype(dtype) for i in range(len(arrays))]
    found[1] -= 0.5
    found[1][-4:] = np.sqrt(np.finfo(dtype).max), np.nan, np.inf, -np.inf
    return found, {x.name: NUMBERS.get(x.name, 0.9) for x in parameters if x.kind is x.KEYWORD_ONLY}


def tuple_of(found: Any) -> tuple[np.ndarray, ...]:
    return found if isinstance(found, tuple) else (found,)


def expected(name: str, arrays: list[np.ndarray], numbers: dict[str, Any]) -> tuple[np.ndarray, ...]:
    with np.errstate(all="ignore"):
        return tuple_of(RULES[name].definition(*(a.copy() for a in arrays), **numbers))


def alike(got: Any, want: Any, dtype: str) -> None:
    """Where numbers are large, relatively; none that is one becomes none."""
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(np.isfinite(g), np.isfinite(w))
        close(g[:-4], w[:-4].astype(float), dtype)
        np.testing.assert_allclose(g[-4], w[-4], rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_updates_in_place_compute_the_definition(engine: str, name: str, dtype: str) -> None:
    if engine == "numba":
        pytest.importorskip("numba", reason="Numba is not installed: its loops are not tested")
    arrays, numbers = given(name, dtype)
    want = expected(name, arrays, numbers)
    with np.errstate(all="ignore"), loops_allowed(engine == "numba"):
        got = tuple_of(RULES[name](*arrays, **numbers))
    assert all(g is a for g, a in zip(got, [arrays[0], *arrays[2:]], strict=True))
    alike(got, want, dtype)


@pytest.mark.parametrize("name", sorted(RULES))
def test_blocks_compute_the_definition(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of them with gradients that are too large, and a rest."""
    monkeypatch.setattr(updates, "BLOCK", 12)
    arrays, numbers = given(name, "float64")
    want = expected(name, arrays, numbers)
    with np.errstate(all="ignore"), loops_allowed(False):
        alike(tuple_of(RULES[name](*arrays, **numbers)), want, "float64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_source_for_cupy_computes_the_definition(dtype: str, tmp_path: Path) -> None:
    """Compiled by a compiler of C++ in the place of CUDA's."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no compiler of C++ is installed: the source for CuPy is not compiled")
    text = ["#include <cmath>", "using namespace std;", f"using T = {'float' if dtype == 'float32' else 'double'};"]
    rules: dict[str, Rule] = {}
    for name, kernel in RULES.items():
        arrays, numbers = given(name, dtype)
        rule = rules[name] = kernel.rule(len(arrays), np.dtype(dtype), *(numbers[x] for x in kernel.settings))
        code = SOURCES["source_of_rule"](rule)
        singles = [
            f"const double {each.split()[1]} = ns[{each.split()[1][1:]}];" for each in code.inputs.split(", ")[1:]
        ]
        loads = "".join(f"T& a{i} = as[{i}][i];" for i in range(len(arrays)))
        text.append(f'extern "C" void {name}(T** as, const double* ns, int n) {{ {"".join(singles)}')
        text.append(f"for (int i = 0; i < n; ++i) {{ {loads}\n{code.body}\n }} }}")
        assert code.inputs.startswith("T a1, float64 n0")
        assert code.outputs == ", ".join(f"T a{i}" for i in rule.targets)
    (tmp_path / "all.cpp").write_text("\n".join(text))
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "all.cpp", "-o", "all.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "all.so"))
    for name, rule in rules.items():
        arrays, numbers = given(name, dtype)
        want = expected(name, arrays, numbers)
        every = np.asarray([*(numbers[x] for x in RULES[name].changing), *rule.program.lifted()[1]])
        places = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        library[name](places, every.ctypes.data_as(ctypes.c_void_p), ctypes.c_int(arrays[0].size))
        alike([arrays[i] for i in rule.targets], want, dtype)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_what_is_remembered_may_change_places(engine: str) -> None:
    """Two slots swapped, and one that becomes the gradient."""
    if engine == "numba":
        pytest.importorskip("numba", reason="Numba is not installed: its loops are not tested")
    rule = rule_of(lambda t, g, a, b, c, n: (t - n * a, b, a, g), 5, ["n"], np.dtype(float))
    arrays = [np.full(3, float(i)) for i in range(5)]
    with loops_allowed(engine == "numba"):
        step = updates.prepared(rule, arrays)
        step(step.table([[2.0]])[0])
    assert [float(each[0]) for each in (arrays[0], *arrays[2:])] == [-4.0, 3.0, 2.0, 1.0]


def test_numbers_of_steps_are_asked_for_at_once_or_one_by_one() -> None:
    asked = []

    def numbers(rate: Any, step: Any) -> dict[str, Any]:
        asked.append(step)
        return {"rate": rate, "correction": 1.0 - 0.9**step, "settled": 2.0}

    def choosing(rate: float, step: int) -> dict[str, Any]:
        return {"rate": rate, "first": 1.0 if step == 1 else 0.0}

    rows = rows_of(numbers)
    asked.clear()
    np.testing.assert_allclose(rows([0.1, 0.2], 3), [[0.1, 1 - 0.9**3, 2.0], [0.2, 1 - 0.9**4, 2.0]])
    assert len(asked) == 1
    np.testing.assert_array_equal(rows_of(choosing)([0.1, 0.2], 1), [[0.1, 1.0], [0.2, 0.0]])


def test_a_new_optimizer_is_fast_everywhere_and_passes_the_tests_of_the_others(tmp_path: Path) -> None:
    """A stranger's, in a process of its own; the tests that walk the table are run in another one."""
    (tmp_path / "strangers_rule.py").write_text(STRANGERS)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    run_python(
        """
        from strangers_rule import Soft
        import numpy as np
        import nnarray as nn
        from nnarray.kernels.compilation import has_loops
        from nnarray.kernels.numpy.chain import Steps

        made = Steps._memory_for
        Steps._memory_for = lambda *args: batches.append(made(*args)) or batches[-1]
        for dtype in ("float32", "float64"):
            X, y = nn.datasets.moons(40, seed=1, dtype=dtype)
            found = {}
            for engine in ("layers", "numpy", *(["numba"] if has_loops() else [])):
                batches = []
                model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=2, dtype=dtype, engine=engine)
                model.fit(X, y, epochs=3, batch_size=8, optimizer=Soft(0.05, weight_decay=0.1))
                assert bool(batches) == (engine != "layers")
                assert all((each.compiled is not None) == (engine == "numba") for each in batches)
                found[engine] = model.theta
            for each in found.values():
                np.testing.assert_allclose(each, found["layers"], rtol=2e-4, atol=1e-6)
        """,
        cwd=ROOT,
        env=env,
    )
    words = ["-q", "-x", "-p", "strangers_rule", "-p", "no:cacheprovider", "-k", "soft or source or blocks"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "tests/kernels/test_rules.py"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 10, done.stdout


@dataclass(frozen=True)
class Normed(nn.Optimizer):
    """theta <- theta - rate g / max |g|, with NumPy's own functions: no rule entry by entry."""

    lr: float = 0.1

    def apply(self, theta: Any, gradient: Any, slots: Any, numbers: Any) -> Any:
        return theta - numbers["rate"] * gradient / np.max(np.abs(gradient)), slots


class Factor(nn.SGD):
    """Of a class that is no dataclass: its `factor` is none of the fields by which two are compared."""

    factor = 1.0

    def apply(self, theta: Any, gradient: Any, slots: Any, numbers: Any) -> Any:
        return theta - self.factor * numbers["rate"] * gradient, slots


def steps_of_two_engines(*optimizers: nn.Optimizer) -> list[list[np.ndarray]]:
    """theta after three steps by the layers and by what is prepared, for each optimizer."""
    X, y = nn.datasets.moons(60, seed=0)
    found = []
    for optimizer in optimizers:
        both = [nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((2,), seed=0) for _ in range(2)]
        for model, engine in zip(both, ("layers", "numpy"), strict=True):
            model.fit(X, y, optimizer=optimizer, epochs=3, batch_size=None, engine=engine, progress=False)
        found.append([np.asarray(model.theta) for model in both])
    return found


def test_functions_of_all_entries_are_no_operations_of_a_rule() -> None:
    [(layers, prepared)] = steps_of_two_engines(Normed())
    np.testing.assert_allclose(prepared, layers, rtol=1e-12)


def test_what_equals_another_optimizer_may_compute_something_else() -> None:
    slow, fast = Factor(0.1), Factor(0.1)
    object.__setattr__(fast, "factor", 3.0)
    assert slow == fast
    for layers, prepared in steps_of_two_engines(slow, fast):
        np.testing.assert_allclose(prepared, layers, rtol=1e-12)


def test_threads_that_share_an_update_compute_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    package("numba")

    def updated(count: int) -> Any:
        threads._team.cache_clear()
        monkeypatch.setattr(threads, "_threads", lambda: count)
        rng = np.random.default_rng(0)
        arrays = [rng.random(300_007).astype(np.float32) for _ in range(4)]
        numbers = {"rate": 0.1, "correction1": 0.9, "correction2": 0.8}
        settings = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
        kernels.adam_update(*arrays, **numbers, **settings)
        return arrays[0], *arrays[2:]

    alone = updated(1)
    for count in (2, 3):
        assert all(np.array_equal(a, b) for a, b in zip(updated(count), alone, strict=True))
    threads._team.cache_clear()
