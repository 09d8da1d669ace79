"""The same call gives the same bits, whatever the process has done before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import nnarray as nn
from tests.conftest import VARIANTS, WHY_NOT
from tests.processes import run_python

# Everything that has been a reason for other bits: optional packages imported, loops compiled, threads started.
BEFORE = """
import importlib, importlib.util
for name in ("numba", "sklearn", "scipy.optimize", "matplotlib", "pyarrow", "pandas", "polars", "torch", "jax"):
    if importlib.util.find_spec(name.partition(".")[0]):
        importlib.import_module(name)
for flag in FLAGS:
    X, y = nn.datasets.moons(40, seed=9, backend=flag, dtype="float32")
    other = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((2,), seed=8, backend=flag, dtype="float32")
    other.fit(X, y, epochs=2, batch_size=8, validation=0.25, metrics=["accuracy"])
    other.predict(X)
    other.theta
photos = nn.Network(nn.Conv2D(4, 3, activation="relu"), nn.Flatten(), nn.Dense(2)).init((8, 8, 3), dtype="float32")
photos.predict(nn.backend("numpy").xp.ones((4, 8, 8, 3), dtype="float32"))
"""

CALLS = """
import hashlib, json
host = nn.backend("numpy")

def report(name, *arrays):
    total = hashlib.sha256()
    for each in arrays:
        total.update(host.to_numpy(each).tobytes())
    print(name, total.hexdigest())

be = nn.backend(FLAG)
for engine in ENGINES:
    for dtype in ("float32", "float64") if FLAG == "numpy" else ("float32",):
        X, y = nn.datasets.moons(200, noise=0.1, seed=3, backend=be, dtype=dtype)
        for function in ("tanh", "relu", "logistic", "silu"):
            network = nn.Network(nn.Dense(16, function), nn.Dropout(0.1), nn.Dense(2))
            model = network.init((2,), seed=4, backend=be, dtype=dtype, engine=engine)
            report(f"{engine} {dtype} {function} predict", model.predict(X))
        plain = nn.Network(nn.Dense(16, "tanh"), nn.Dense(2))
        normed = nn.Network(nn.Dense(16), nn.BatchNorm(), nn.Activation("logistic"), nn.Dense(2))
        adam = nn.Adam(0.01)
        for network, rule, frozen in ((plain, nn.SGD(0.1), "0"), (plain, adam, ""), (normed, adam, "")):
            model = network.init((2,), seed=4, backend=be, dtype=dtype, engine=engine)
            if frozen:
                model.freeze(frozen)
            history = model.fit(X, y, optimizer=rule, epochs=3, seed=5, validation=0.25, metrics=["accuracy"])
            columns = {name: column for name, column in history.items() if name != "seconds"}
            report(f"{dtype} {rule} fit", model.theta, model.state)
            print(json.dumps(columns))
            report(f"{dtype} {rule} predict", model.predict(X), model(X[:1, ...]))
    if FLAG == "numpy":
        seen = nn.Conv2D(8, 3, activation="relu", padding="same"), nn.MaxPool2D(2), nn.BatchNorm()
        photos = nn.Network(*seen, nn.Flatten(), nn.Dense(2)).init((12, 12, 3), seed=1, dtype="float32", engine=engine)
        X = be.xp.reshape(nn.datasets.moons(32 * 12 * 12 * 3 // 2, seed=2, dtype="float32")[0], (32, 12, 12, 3))
        history = photos.fit(X, be.xp.arange(32) % 2, epochs=2, batch_size=8, validation=0.25)
        report("photos", photos.theta, photos.state, photos.predict(X))
"""


def printed(engines: dict[str, tuple[str, ...]], *, before: bool = False, **variables: str) -> dict[str, list[str]]:
    """What the calls print on these backends by these engines, in one process, fresh or not, with these variables."""
    parts = [f"import nnarray as nn\nFLAGS = {tuple(engines)}\n{BEFORE if before else ''}"]
    parts += [f"print('===')\nFLAG, ENGINES = {flag!r}, {names!r}\n{CALLS}" for flag, names in engines.items()]
    said = run_python("".join(parts), env=os.environ | variables).stdout.split("===\n")
    return {flag: text.splitlines() for flag, text in zip(engines, said[1:], strict=True)}


def engines_of(flag: str) -> tuple[str, ...]:
    """Those that can compute here; cuDNN cannot where there is no GPU."""
    return "auto", "layers", *(name for name in nn.backend(flag).library.engines if name != "cudnn")


@pytest.mark.timeout(600)  # for a process of each backend, and one of all
def test_bits_do_not_depend_on_what_the_process_did_before() -> None:
    """For each engine: in a fresh process, and in one that has used all backends, and everything else.

    Not on the strict library's further devices, which compute as it does.
    """
    engines = {flag: engines_of(flag) for flag, why in WHY_NOT.items() if not why and flag not in VARIANTS}
    assert {"numpy", "strict"} <= set(engines)
    later = printed(engines, before=True)
    for flag, names in engines.items():
        (fresh,) = printed({flag: names}).values()
        assert len(fresh) > 10 * len(names)
        assert later[flag] == fresh, flag


def test_bits_do_not_depend_on_what_was_compiled_before(tmp_path: Path) -> None:
    """The first process compiles every loop, and the second one finds them on the disk."""
    engines = {"numpy": ("numba",)}
    compiling, compiled = (printed(engines, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert any(tmp_path.rglob("*.nbi"))
    assert compiled == compiling
