"""A row of the table of activations is all that an engine needs: each of them computes what the definition says."""

from __future__ import annotations

import ctypes
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnarray.backends import namespace
from nnarray.kernels.expressions import recorded
from nnarray.kernels.functions import FUNCTIONS
from tests.processes import run_python
from tests.tolerances import close

ELEMENTWISE = [name for name, function in FUNCTIONS.items() if function.elementwise]
ROOT = Path(__file__).parents[2]
SOURCES = runpy.run_path(str(ROOT / "nnarray" / "kernels" / "cupy" / "sources.py"))  # the texts alone, without CuPy
ROW = '''
from nnarray.backends import namespace
from nnarray.kernels.functions import pullback_of
from nnarray.kernels.registry import kernel


@kernel
def softcap(x):
    """y = 30 tanh(x / 30)."""
    return 30.0 * namespace(x).tanh(x / 30.0)


@pullback_of(softcap, reads="y")
def softcap_pullback(dy, x, y):
    """dx = dy (1 - (y / 30)^2)."""
    return dy * (1.0 - (y / 30.0) * (y / 30.0))
'''


def entries(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and gradients, usual ones and at the edges."""
    rng = np.random.default_rng(5)
    x, dy = rng.normal(size=(2, 4, 25)).astype(dtype) * 3
    x[0, :9] = np.nan, np.inf, -np.inf, 0.0, -0.0, 3.0, -3.0, 1e4, -1e4
    x[1, :3], dy[1, :3] = (0.5, -0.4, 1.5), (np.nan, np.inf, -np.inf)
    return x, dy


def expected(name: str, x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    function, (x, dy) = FUNCTIONS[name], (x.astype(float), dy.astype(float))
    with np.errstate(all="ignore"):
        y = function.value(x)
        return y, function.pullback(dy, x, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_prepared_calls_compute_the_definition(engine: str, name: str, dtype: str) -> None:
    if engine == "numba":
        pytest.importorskip("numba", reason="Numba is not installed: its loops are not tested")
        from nnarray.kernels.numba import steps as engine_calls
    else:
        from nnarray.kernels.numpy.chain import _NumPy as engine_calls
    x, dy = entries(dtype)
    want, wanted = expected(name, x, dy)
    y, before = x.copy(), x.copy()
    with np.errstate(all="ignore"):
        for call, arguments in engine_calls.activate(FUNCTIONS[name], y, before, np.zeros(len(x), dtype=dtype)):
            call(*arguments)
        close(y, want, dtype, c=400.0)
        for call, arguments in engine_calls.back(FUNCTIONS[name], dy, before, y):
            call(*arguments)
    close(y, wanted, dtype, c=400.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_source_for_cupy_computes_the_definition(dtype: str, tmp_path: Path) -> None:
    """Compiled by a compiler of C++ in the place of CUDA's."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no compiler of C++ is installed: the source for CuPy is not compiled")
    text = ["#include <cmath>", "using namespace std;", f"using T = {'float' if dtype == 'float32' else 'double'};"]
    for name in ELEMENTWISE:
        for suffix, kernel, inputs in (("", FUNCTIONS[name].value, 1), ("_pullback", FUNCTIONS[name].pullback, 3)):
            code = SOURCES["source"](recorded(kernel, inputs, np.dtype(dtype)))
            loads = "".join(f"{each} = {each.split()[1]}s[i];" for each in code.inputs.split(", "))
            text.append(f'extern "C" void nn_{name}{suffix}(const T* x0s, const T* x1s, const T* x2s, T* y, int n) {{')
            text.append(f"for (int i = 0; i < n; ++i) {{ {loads}\nT result;\n{code.body}\ny[i] = result; }} }}")
    (tmp_path / "all.cpp").write_text("\n".join(text))
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "all.cpp", "-o", "all.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "all.so"))
    for name in ELEMENTWISE:
        x, dy = entries(dtype)
        want = expected(name, x, dy)
        y, dx = np.empty_like(x), np.empty_like(x)
        for function, (*arrays, out) in {name: (x, x, x, y), f"{name}_pullback": (dy, x, y, dx)}.items():
            pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (*arrays, out)]
            library[f"nn_{function}"](*pointers, ctypes.c_int(x.size))
        for got, exact in zip((y, dx), want, strict=True):
            close(got, exact, dtype, c=400.0)


@pytest.mark.parametrize(
    ("definition", "error", "message"),
    [
        (
            lambda x: namespace(x).sum(x),
            AttributeError,
            r"cannot make loops of xp\.sum; use abs, .*, or set elementwise=False",
        ),
        (lambda x: x if x > 0 else 0.0, TypeError, r"use xp\.where"),
        (lambda x: x @ x, TypeError, "unsupported operand"),
    ],
)
def test_what_is_not_elementwise_is_refused(definition, error, message: str) -> None:
    with pytest.raises(error, match=message):
        recorded(definition, 1, np.dtype("float32"))


def test_a_new_row_is_fast_everywhere_and_passes_the_tests_of_the_others(tmp_path: Path) -> None:
    """A stranger's function, in a process of its own; the tests that walk the table are run in another one."""
    (tmp_path / "strangers_row.py").write_text(ROW)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    run_python(
        """
        import strangers_row
        import numpy as np
        import nnarray as nn
        from nnarray.kernels.compilation import has_loops
        from nnarray.kernels.numpy.chain import Steps

        try:
            nn.Dense(5, "softcop")
        except ValueError as error:
            assert "softmax, log_softmax, softcap" in str(error) and "Did you mean 'softcap'" in str(error), error
        made = Steps._memory_for
        Steps._memory_for = lambda *args: batches.append(made(*args)) or batches[-1]
        for dtype in ("float32", "float64"):
            X, y = nn.datasets.moons(40, seed=1, dtype=dtype)
            for batch in (8, None):
                found = {}
                for engine in ("layers", "numpy", *(["numba"] if has_loops() else [])):
                    batches = []
                    network = nn.Network(nn.Dense(5, "softcap"), nn.Dense(2))
                    model = network.init((2,), seed=2, dtype=dtype, engine=engine)
                    model.fit(X, y, epochs=3, batch_size=batch)
                    assert bool(batches) == (engine != "layers")
                    assert all((each.compiled is not None) == (engine == "numba") for each in batches)
                    found[engine] = model.theta, model.predict(X)
                for each in found.values():
                    for got, want in zip(each, found["layers"]):
                        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-7)
        """,
        cwd=ROOT,
        env=env,
    )
    walking = ("kernels/test_kernels.py", "kernels/test_functions.py", "layers/test_activations.py")
    walking += ("layers/test_layers.py", "layers/test_initializers.py", "engines/test_training.py")
    chosen = "compares or escape or names_of_the or chooses"
    chosen += " or softcap and not jax and not strict and not torch and not silu"
    words = ["-q", "-x", "-p", "strangers_row", "-p", "no:cacheprovider", "-k", f"({chosen}) and not new_row"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *(f"tests/{each}" for each in walking)],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 30, done.stdout
