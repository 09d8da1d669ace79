"""Every kernel of the table on every backend, beside its definition in float64 on NumPy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import nnarray as nn
from nnarray import backends, kernels, random
from nnarray.kernels.standard.windows import Window
from nnarray.layers.activations import FUNCTIONS
from tests.tolerances import close, to_host

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def activation_case(name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    base = name.removesuffix("_pullback")
    x = normal(7, 5)
    if name == base:
        return (x,), {}
    y = kernels.TABLE[base].definition(x)
    return (normal(7, 5), x, y), {}


VECTORS = (1.0 + np.abs(normal(1001)), normal(1001), normal(1001), np.abs(normal(1001)))
PICTURES = normal(2, 7, 6, 4)
WINDOW = Window((3, 2), (2, 2), ((1, 1), (0, 1)))
COUNTS = np.abs(normal(4, 3, 1)) + 1.0
RESPONSE = {"size": 3, "alpha": 0.3, "beta": 0.6, "k": 1.5}
PROBABILITIES = np.abs(normal(6, 4)) / 4
CASES: dict[str, Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    **{name: (lambda name=name: activation_case(name)) for f in FUNCTIONS for name in (f, f"{f}_pullback")},
    "erfc": lambda: ((normal(7, 5) * 3,), {}),
    "affine": lambda: ((normal(6, 3), normal(3, 4), normal(4)), {}),
    "affine_pullback": lambda: ((normal(2, 6, 4), normal(2, 6, 3), normal(3, 4)), {}),
    "mse": lambda: ((normal(6, 4), normal(6, 4)), {}),
    "mae": lambda: ((normal(6, 4), normal(6, 4)), {}),
    "huber": lambda: ((normal(6, 4), normal(6, 4)), {"delta": 0.7}),
    "binary_cross_entropy": lambda: ((normal(6, 4), PROBABILITIES.clip(0, 1)), {}),
    "cross_entropy": lambda: ((normal(6, 4), PROBABILITIES), {}),
    "cross_entropy_of_labels": lambda: ((normal(6, 4), np.arange(6) % 4), {}),
    "sgd_update": lambda: (VECTORS[:2], {"rate": 0.1}),
    "momentum_update": lambda: (VECTORS[:3], {"rate": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam_update": lambda: (
        VECTORS,
        {"rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "correction1": 0.3, "correction2": 0.03},
    ),
    "rmsprop_update": lambda: ((*VECTORS[:2], VECTORS[3]), {"rate": 0.1, "decay": 0.9, "epsilon": 1e-8}),
    "adagrad_update": lambda: ((*VECTORS[:2], VECTORS[3]), {"rate": 0.1, "epsilon": 1e-8}),
    "convolution": lambda: ((PICTURES, normal(3, 2, 2, 6), normal(6)), {"window": WINDOW, "groups": 2}),
    "convolution_pullback": lambda: (
        (normal(2, 4, 3, 6), PICTURES, normal(3, 2, 2, 6)),
        {"window": WINDOW, "groups": 2},
    ),
    "max_pool": lambda: ((PICTURES,), {"window": WINDOW}),
    "max_pool_pullback": lambda: (
        (normal(2, 4, 3, 4), PICTURES, kernels.max_pool.definition(PICTURES, window=WINDOW)),
        {"window": WINDOW},
    ),
    "mean_pool": lambda: ((PICTURES, COUNTS), {"window": WINDOW}),
    "mean_pool_pullback": lambda: ((normal(2, 4, 3, 4), PICTURES, COUNTS), {"window": WINDOW}),
    "normalise": lambda: ((PICTURES,), {"axes": (0, 1, 2), "epsilon": 1e-5}),
    "normalise_pullback": lambda: (
        (normal(2, 7, 6, 4), *kernels.normalise.definition(PICTURES, axes=(0, 1, 2), epsilon=1e-5)[:2]),
        {"axes": (0, 1, 2)},
    ),
    "local_response": lambda: ((PICTURES,), RESPONSE),
    "local_response_pullback": lambda: ((normal(2, 7, 6, 4), PICTURES), RESPONSE),
    "threefry": lambda: ((np.arange(-50, 4951, dtype=np.int32), 7, -3, 99), {}),
}
PICTURE_KERNELS = ["convolution", "convolution_pullback", "max_pool_pullback", "mean_pool_pullback"]


def on(be: nn.Backend, dtype: str, given: Any) -> Any:
    if not isinstance(given, np.ndarray):
        return given
    return be.asarray(given, dtype=dtype if given.dtype.kind == "f" else str(given.dtype.name))


def flat(found: Any) -> list[Any]:
    return [each for each in found if each is not None] if isinstance(found, tuple) else [found]


def test_no_kernel_escapes() -> None:
    assert set(CASES) == set(kernels.TABLE)


@pytest.mark.parametrize("name", sorted(kernels.TABLE))
def test_kernel_agrees_with_its_definition(be: nn.Backend, dtype: str, name: str) -> None:
    args, options = CASES[name]()
    want = flat(kernels.TABLE[name].definition(*[on(nn.backend("numpy"), "float64", a) for a in args], **options))
    given = [on(be, dtype, a) for a in args]
    copies = [to_host(be, g).copy() if isinstance(a, np.ndarray) else None for g, a in zip(given, args, strict=True)]
    got = flat(kernels.TABLE[name](*given, **options))
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert backends.namespace(g) is be.xp
        assert backends.device_of(g) == be.device
        assert tuple(g.shape) == w.shape
        assert str(g.dtype).endswith("int32" if name == "threefry" else dtype)
        close(to_host(be, g), w.astype(float), dtype, c=0.0 if name == "threefry" else 200.0)
    if not name.endswith("_update"):  # those consume their arguments
        for g, copy in zip(given, copies, strict=True):
            if copy is not None:
                np.testing.assert_array_equal(to_host(be, g), copy)


@pytest.mark.parametrize("name", sorted(kernels.TABLE))
def test_fast_versions_have_the_same_parameters(be: nn.Backend, name: str) -> None:
    kernel = kernels.TABLE[name]
    kernel(*[on(be, "float32", a) for a in CASES[name]()[0]], **CASES[name]()[1])  # loads the library's versions
    fast = kernel.overrides.get(be.library.name)
    if fast is None:
        assert kernel._choose(be.asarray([1.0])) is kernel.definition
    elif fast.__module__.startswith("nnarray"):
        assert list(inspect.signature(fast).parameters) == list(inspect.signature(kernel.definition).parameters)


@pytest.mark.parametrize(
    "name", ["affine", "affine_pullback", "relu_pullback", "cross_entropy", "gelu", "threefry", *PICTURE_KERNELS]
)
@pytest.mark.parametrize("make", ["fortran", "strided", "reversed", "read-only"])
def test_kernels_take_any_memory_layout(name: str, make: str) -> None:
    def as_made(a: Any) -> Any:
        if not isinstance(a, np.ndarray):
            return a
        if make == "fortran":
            return np.asfortranarray(a)
        if make == "strided":
            return np.repeat(a, 2, axis=0)[::2]
        if make == "reversed":
            return a[::-1].copy()[::-1]
        a = a.copy()
        a.flags.writeable = False
        return a

    args, options = CASES[name]()
    want = flat(kernels.TABLE[name].definition(*args, **options))
    for g, w in zip(flat(kernels.TABLE[name](*map(as_made, args), **options)), want, strict=True):
        close(np.asarray(g, dtype=float), np.asarray(w, dtype=float), "float64")


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_kernels_take_few_rows(be: nn.Backend, rows: int) -> None:
    x, w, b = (be.asarray(a, dtype="float32") for a in (normal(rows, 3), normal(3, 2), normal(2)))
    y = kernels.affine(x, w, b)
    dx, dw, db = kernels.affine_pullback(y, x, w)
    assert [tuple(a.shape) for a in (y, dx, dw, db)] == [(rows, 2), (rows, 3), (3, 2), (2,)]
    losses, gradient = kernels.cross_entropy_of_labels(y, be.asarray(np.zeros(rows, dtype=np.int32)))
    assert (tuple(losses.shape), tuple(gradient.shape)) == ((rows,), (rows, 2))


def test_adam_in_blocks_is_adam(host: nn.Backend) -> None:
    """More entries than a block, and a rest."""
    size = 65_536 * 2 + 17
    args = [normal(size), normal(size), normal(size), np.abs(normal(size))]
    options = CASES["adam_update"]()[1]
    want = kernels.adam_update.definition(*[a.copy() for a in args], **options)
    for g, w in zip(kernels.adam_update(*args, **options), want, strict=True):
        close(g, w, "float64")


# --- Draws -----------------------------------------------------------------------------------------------------------

VECTORS_OF_RANDOM123 = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "words"), VECTORS_OF_RANDOM123)
def test_threefry_gives_the_published_words(be: nn.Backend, key, counter, words) -> None:
    k0, k1, low, high = (kernels.signed(w) for w in (*key, *counter))
    got = kernels.threefry(be.asarray(np.asarray([low], dtype=np.int32)), high, k0, k1)
    assert tuple(int(w[0]) & 0xFFFFFFFF for w in got) == words
    assert tuple(w & 0xFFFFFFFF for w in random._threefry_of_integers(low, high, k0, k1)) == words


def place(be: nn.Backend) -> dict[str, Any]:
    return {"xp": be.xp, "device": be.device}


def test_draws_are_the_same_bits_everywhere(be: nn.Backend, host: nn.Backend) -> None:
    key = nn.Key(2**63 + 5).fold("somewhere").fold(3)

    def drawn(on: nn.Backend) -> list[np.ndarray]:
        float32 = on.dtype("float32")
        return [
            on.to_numpy(a)
            for a in (
                random.bits(key, (7, 13), **place(on)),
                random.uniform(key, (101,), dtype=float32, **place(on)),
                random.bernoulli(key, (101,), 0.3, **place(on)),
                random.permutation(key, 101, **place(on)),
            )
        ]

    for got, want in zip(drawn(be), drawn(host), strict=True):
        np.testing.assert_array_equal(got, want)
    close(
        to_host(be, random.normal(key, (101,), dtype=be.dtype("float32"), **place(be))),
        random.normal(key, (101,), dtype=host.dtype("float64"), **place(host)),
        "float32",
    )


def test_draws_have_their_distributions(host: nn.Backend) -> None:
    n, here = 100_000, place(host)
    key = nn.Key(11)
    assert stats.kstest(random.uniform(key, (n,), dtype=np.float64, **here), "uniform").pvalue > 0.01
    assert stats.kstest(random.normal(key, (n,), dtype=np.float64, **here), "norm").pvalue > 0.01
    assert abs(random.bernoulli(key, (n,), 0.3, **here).mean() - 0.3) < 0.005
    assert random.bernoulli(key, (9,), 1.0, **here).all()
    assert not random.bernoulli(key, (9,), 0.0, **here).any()
    order = random.permutation(key, n, **here)
    assert np.array_equal(np.sort(order), np.arange(n))
    assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 0.02


def test_keys_are_independent_of_each_other_and_short_draws_begin_long_ones(host: nn.Backend) -> None:
    def bits(key: nn.Key, n: int = 64) -> bytes:
        return random.bits(key, (n,), **place(host)).tobytes()

    root = nn.Key(0)
    keys = [
        root,
        nn.Key(1),
        root.fold(0),
        root.fold(1),
        root.fold("0"),
        root.fold("a").fold("b"),
        root.fold("b").fold("a"),
    ]
    assert len({bits(key) for key in keys}) == len(keys)
    assert len({root.fold(i) for i in range(1000)}) == 1000
    assert bits(root, 65).startswith(bits(root, 64))
    assert nn.Key(np.int64(3)) == nn.Key(3)
    assert root.fold(host.asarray(5)) == root.fold(5)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "a", None])
def test_bad_seeds(seed: object) -> None:
    with pytest.raises((TypeError, ValueError), match="seed must"):
        nn.Key(seed)


def test_draws_stay_random_inside_jit() -> None:
    jax = pytest.importorskip("jax")
    be = nn.backend("jax")

    @jax.jit
    def drawn(step: Any) -> Any:
        return random.bits(nn.Key(4).fold("layer").fold(step), (8,), xp=be.xp, device=None)

    for step in (0, 1, 2):
        want = random.bits(nn.Key(4).fold("layer").fold(step), (8,), **place(be))
        np.testing.assert_array_equal(drawn(step), want)


def test_nothing_touches_the_global_generator(host: nn.Backend) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    X, y = nn.datasets.moons(40)
    nn.Network(nn.Dense(3), nn.Dropout(0.5), nn.Dense(2)).init((2,)).fit(X, y, epochs=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
