"""The definition of an elementwise loss is all that an engine needs: each of them computes what it says."""

from __future__ import annotations

import ctypes
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import losses
from nnarray.kernels.entries import Entries, program_of
from nnarray.kernels.numpy.chain import Steps, _NumPy
from tests.packages import package
from tests.processes import run_python
from tests.tolerances import EPS, close

torch = package("torch")

DTYPES = ("float32", "float64")
ROOT = Path(__file__).parents[2]
SOURCES = runpy.run_path(str(ROOT / "nnarray" / "kernels" / "cupy" / "sources.py"))  # the texts alone, without CuPy
STRANGERS = '''
from dataclasses import dataclass

import nnarray as nn


@dataclass(frozen=True)
class LogCosh(nn.Loss):
    """L = mean of s ln cosh(d / s), d = o - t."""

    scale: float = 2.0

    def entry(self, outputs, target):
        xp, d = nn.namespace(outputs), (outputs - target) / self.scale
        far = xp.abs(d)
        return self.scale * (far + xp.log1p(xp.exp(-2.0 * far)) - 0.6931471805599453), xp.tanh(d)
'''


def below(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from below(each)


def is_elementwise(kind: type) -> bool:
    return kind.entry is not nn.Loss.entry and kind.per_example is nn.Loss.per_example


ELEMENTWISE: dict[str, nn.Loss] = {
    each.__name__: each()
    for each in below(nn.Loss)
    if is_elementwise(each) and not each.__module__.startswith("tests.")
}
EDGES = (None, np.nan, np.inf, -np.inf, 1e30, -1e30)


def engine_calls(engine: str) -> Any:
    if engine == "numpy":
        return _NumPy
    pytest.importorskip("numba", reason="Numba is not installed: its loops are not tested")
    from nnarray.kernels.numba import steps

    return steps


def given(dtype: str, edge: float | None = None, count: int = 7, outputs: int = 3) -> list[np.ndarray]:
    """Outputs, the target and weights; one of the outputs is on the edge of what is a number."""
    rng = np.random.default_rng(4)
    o, t = 3.0 * rng.normal(size=(count, outputs)), rng.uniform(0.1, 0.9, (count, outputs))
    if edge is not None:
        o[1, 2] = edge
    return [each.astype(dtype) for each in (o, t, rng.uniform(0.5, 2.0, count))]


def alike(got: Any, want: Any, dtype: str) -> None:
    """What is no number or infinite is so in both."""
    np.testing.assert_allclose(got, want, rtol=100 * EPS[dtype], atol=100 * EPS[dtype])


def test_all_elementwise_losses_are_here() -> None:
    assert {"MeanSquaredError", "MeanAbsoluteError", "Huber", "BinaryCrossEntropy"} <= set(ELEMENTWISE)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_prepared_calls_compute_the_definition(engine: str, name: str, dtype: str, edge: float | None) -> None:
    """With what overflows in the same places."""
    outputs, target, weights = given(dtype, edge)
    program = program_of(ELEMENTWISE[name].entry, np.dtype(dtype))
    assert program is not None
    with np.errstate(all="ignore"):
        want, gradients = ELEMENTWISE[name].of_prepared(outputs, target, weights)
        scaled = np.append(weights / weights.sum() / outputs.shape[1], 0.0).astype(dtype)
        z, value = outputs.T.copy(), np.empty((), dtype=dtype)
        entries = Entries(program, "mean")
        for call, arguments in engine_calls(engine).entries(entries, z, target.T.copy(), scaled, value):
            call(*arguments)
    alike(value, want, dtype)
    alike(z.T, gradients, dtype)


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_derivatives_are_those_of_pytorch_and_of_differences(name: str) -> None:
    loss, (outputs, target, _) = ELEMENTWISE[name], given("float64")
    o = torch.tensor(outputs, requires_grad=True)
    terms, derivatives = loss.entry(o, torch.tensor(target))
    terms.sum().backward()
    close(derivatives.detach().numpy(), o.grad.numpy(), "float64")
    nn.testing.check_loss(loss, outputs, target)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_source_for_cupy_computes_the_definition(dtype: str, tmp_path: Path) -> None:
    """Compiled by a compiler of C++ in the place of CUDA's."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no compiler of C++ is installed: the source for CuPy is not compiled")
    text = ["#include <cmath>", "using namespace std;", f"using T = {'float' if dtype == 'float32' else 'double'};"]
    constants: dict[str, tuple[float, ...]] = {}
    for name, loss in ELEMENTWISE.items():
        program = program_of(loss.entry, np.dtype(dtype))
        assert program is not None
        code, constants[name] = SOURCES["source_of_entries"](program), program.lifted()[1]
        arrays, numbers = code.inputs.split(", ")[:2], code.inputs.split(", ")[2:]
        assert (arrays, numbers[0], code.outputs) == (["T r0", "T r1"], "float64 count", "T term, T derivative")
        singles = "".join(f"const double {x.split()[1]} = ns[{i}];" for i, x in enumerate(numbers))
        text.append(f'extern "C" void {name}(const T* os, const T* ts, const double* ns, T* terms, T* ds, int n) {{')
        text.append(f"{singles} for (int i = 0; i < n; ++i) {{ const T r0 = os[i], r1 = ts[i];")
        text.append(f"T& term = terms[i]; T& derivative = ds[i];\n{code.body}\n }} }}")
    (tmp_path / "all.cpp").write_text("\n".join(text))
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "all.cpp", "-o", "all.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "all.so"))
    for name, loss in ELEMENTWISE.items():
        for edge in EDGES:
            outputs, target, _ = given(dtype, edge)
            terms, derivatives = np.empty_like(outputs), np.empty_like(outputs)
            numbers = np.asarray([3.0, *constants[name]])
            places = [ctypes.c_void_p(a.ctypes.data) for a in (outputs, target, numbers, terms, derivatives)]
            library[name](*places, ctypes.c_int(outputs.size))
            with np.errstate(all="ignore"):
                for got, want in zip((terms, derivatives), loss.entry(outputs, target), strict=True):
                    alike(got, want / outputs.dtype.type(3.0), dtype)


# --- Which losses are computed entry by entry -------------------------------------------------------------------------


class Tripled(losses.MeanSquaredError):
    """A definition of its own: engines take it."""

    def entry(self, outputs: Any, target: Any) -> Any:
        return tuple(3.0 * each for each in super().entry(outputs, target))


class ByExample(losses.MeanSquaredError):
    def per_example(self, outputs: Any, target: Any) -> Any:
        return tuple(3.0 * each for each in super().per_example(outputs, target))


class Entire(losses.MeanSquaredError):
    def of_prepared(self, outputs: Any, target: Any, weights: Any) -> Any:
        return tuple(3.0 * each for each in super().of_prepared(outputs, target, weights))


class Reduced(losses.MeanSquaredError):
    def reduced(self, losses: Any, gradient: Any, weights: Any) -> Any:
        return tuple(3.0 * each for each in super().reduced(losses, gradient, weights))


class Shifted(losses.MeanSquaredError):
    """Another target than the user's, of another shape."""

    def prepare(self, target: Any, shape: Any, dtype: Any) -> Any:
        target, weights = super().prepare(target, shape, dtype)
        return target[:, :1] + 1.0, weights


class Relative(nn.Loss):
    """Not elementwise: the whole batch is looked at."""

    def entry(self, outputs: Any, target: Any) -> Any:
        xp, d = nn.namespace(outputs), outputs - target
        size = xp.sum(xp.abs(target))
        return d * d / size, 2.0 * d / size


class Unequal(nn.Loss):
    """Not elementwise: each output has a factor of its own."""

    def entry(self, outputs: Any, target: Any) -> Any:
        d, factors = outputs - target, np.asarray([1.0, 4.0, 9.0])
        return factors * d * d, 2.0 * factors * d


@dataclass(frozen=True)
class Annealed(nn.Loss):
    """Two of them are equal, whatever their factor, which is no field."""

    def entry(self, outputs: Any, target: Any) -> Any:
        d = outputs - target
        return self.factor * d * d, 2.0 * self.factor * d


def annealed(factor: float) -> nn.Loss:
    loss = Annealed()
    object.__setattr__(loss, "factor", factor)
    return loss


def of_one_object() -> nn.Loss:
    """A method of the object alone."""
    loss = losses.MeanSquaredError()
    plain = loss.per_example
    object.__setattr__(loss, "per_example", lambda o, t: tuple(3.0 * each for each in plain(o, t)))
    return loss


OWN: dict[str, tuple[Callable[[], nn.Loss], bool]] = {
    "an entry of its own": (Tripled, True),
    "per_example": (ByExample, False),
    "of_prepared": (Entire, False),
    "reduced": (Reduced, False),
    "a method of the object": (of_one_object, False),
    "prepare": (Shifted, True),
    "sums": (Relative, False),
    "an array": (Unequal, False),
    "equal ones, 1": (lambda: annealed(1.0), True),
    "equal ones, 3": (lambda: annealed(3.0), True),
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_losses_of_ones_own_compute_what_they_say(engine: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine_calls(engine)
    make, is_joined = OWN[name]
    X, (_, y, _) = np.random.default_rng(0).normal(size=(23, 2)), given("float64", count=23)
    planned, start = [], Steps.__init__
    monkeypatch.setattr(Steps, "__init__", lambda self, *a, **k: planned.append(self) or start(self, *a, **k))
    thetas, values = [], []
    for each in ("layers", engine):
        model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(3)).init((2,), seed=0, dtype="float64")
        history = model.fit(X, y, loss=make(), optimizer=nn.SGD(0.05), epochs=3, batch_size=8, engine=each)
        thetas.append(model.theta)
        values.append(history["loss"])
    assert [steps.entries is not None for steps in planned] == [is_joined]
    close(thetas[1], thetas[0], "float64", c=200.0)
    close(np.asarray(values[1]), np.asarray(values[0]), "float64", c=200.0)


@pytest.mark.parametrize("last", ["tanh", "logistic"])
def test_gradients_are_not_written_over_outputs_that_a_pullback_reads(last: str) -> None:
    X, (_, y, _) = np.random.default_rng(0).normal(size=(23, 2)), given("float64", count=23)
    models = [nn.Network(nn.Dense(4, "tanh"), nn.Dense(3, last)).init((2,), seed=0, dtype="float64") for _ in range(2)]
    for model, engine in zip(models, ("layers", "auto"), strict=True):
        model.fit(X, y, loss="mse", epochs=3, batch_size=8, engine=engine)
    close(models[1].theta, models[0].theta, "float64", c=200.0)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", [None, "usual", "zero in a batch"])
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_outputs_that_are_kept_and_weights(engine: str, weights: str | None, reduction: str) -> None:
    """The training accuracy of labels that are numbers needs the outputs beside the loss."""
    engine_calls(engine)
    X, (_, y, w) = np.random.default_rng(0).normal(size=(24, 2)), given("float64", count=24)
    if weights == "zero in a batch":
        w = np.repeat([0.0, 1.0, 0.5], 8)
    settings = {"sample_weight": None if weights is None else w, "batch_size": 8, "epochs": 2, "shuffle": False}
    found = []
    for each in ("layers", engine):
        model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(3)).init((2,), seed=0, dtype="float64")
        loss = losses.BinaryCrossEntropy(reduction=reduction)
        history = model.fit(X, np.round(y), loss=loss, metrics=["accuracy"], engine=each, **settings)
        found.append((model.theta, history["loss"], history["accuracy"]))
    for got, want in zip(*found[::-1], strict=True):
        close(np.asarray(got), np.asarray(want), "float64", c=200.0)


def test_entries_that_are_none_are_refused() -> None:
    class Mean(nn.Loss):
        def entry(self, outputs: Any, target: Any) -> Any:
            d = outputs - target
            return nn.namespace(outputs).mean(d * d), 2.0 * d

    y = np.zeros((4, 3))
    with pytest.raises(TypeError, match=r"Mean\.entry must return two arrays of the outputs' shape \(4, 3\).*got \("):
        Mean()(y, y)


def test_a_new_loss_is_fast_everywhere_and_passes_the_tests_of_the_others(tmp_path: Path) -> None:
    """A stranger's, in a process of its own; the tests that walk the losses are run in another one."""
    (tmp_path / "strangers_loss.py").write_text(STRANGERS)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    run_python(
        """
        from strangers_loss import LogCosh
        import numpy as np
        import nnarray as nn
        from nnarray.kernels.compilation import has_loops
        from nnarray.kernels.numpy.chain import Steps

        made = Steps._memory_for
        Steps._memory_for = lambda *args: batches.append(made(*args)) or batches[-1]
        for dtype in ("float32", "float64"):
            rng = np.random.default_rng(0)
            X, y = rng.normal(size=(500, 2)).astype(dtype), rng.normal(size=(500, 3)).astype(dtype)
            for batch in (100, None):
                found = {}
                for engine in ("layers", "numpy", *(["numba"] if has_loops() else [])):
                    batches = []
                    model = nn.Network(nn.Dense(10, "tanh"), nn.Dense(3)).init((2,), seed=2, dtype=dtype, engine=engine)
                    model.fit(X, y, loss=LogCosh(), epochs=3, batch_size=batch, engine=engine)
                    assert [each.owner.entries is not None for each in batches] == [True] * (engine != "layers")
                    compiled = engine == "numba" and (batch or dtype == "float32")
                    assert all((each.compiled is not None) == bool(compiled) for each in batches)
                    found[engine] = model.theta
                for each in found.values():
                    np.testing.assert_allclose(each, found["layers"], rtol=2e-4, atol=1e-6)
        """,
        cwd=ROOT,
        env=env,
    )
    chosen = "(LogCosh or source) and not new_loss"
    words = ["-q", "-x", "-p", "strangers_loss", "-p", "no:cacheprovider", "-k", chosen]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "tests/kernels/test_entries.py"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 20, done.stdout
