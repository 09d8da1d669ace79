"""Every kernel of the table on every backend, beside its definition in float64 on NumPy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import special

import nnarray as nn
from nnarray import backends, kernels
from nnarray.kernels import numpy as in_numpy
from nnarray.kernels.standard.windows import Window
from nnarray.layers.activations import FUNCTIONS
from tests.tolerances import EPS, as_called, close, to_host

RNG = np.random.default_rng(0)


class Case(NamedTuple):
    """Arguments of a kernel; arrays of floats are rounded to the dtype under test first."""

    args: tuple[Any, ...]
    options: dict[str, Any]


def case(*args: Any, **options: Any) -> Case:
    return Case(args, options)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    return np.abs(normal(*shape)) + 0.1


# --- Cases: the usual one first, then the edges ----------------------------------------------------------------------


def far_out(name: str) -> np.ndarray:
    """Ordinary numbers, and a row each of numbers that are none, too large, too small, and on a corner."""
    x = normal(6, 5)
    large = 1e4 if name == "sin" else 1e38  # whose digits no float32 knows
    x[1] = np.nan, np.inf, -np.inf, 0.0, -0.0
    x[2] = large, -large, 1e4, -1e4, 1e-30
    x[3] = 1.0, -1.0, 3.0, -3.0, 100.0
    return x


def of_function(name: str) -> list[Case]:
    return [case(far_out(name)), case(normal(0, 5)), case(normal(1, 1))]


def of_pullback(name: str) -> list[Case]:
    """dy is infinite or nan where x is ordinary, for pullbacks that work entry by entry."""
    found = []
    for given in of_function(name):
        (x,) = given.args
        y, dy = kernels.TABLE[name].definition(x), normal(*x.shape)
        if name not in ("softmax", "log_softmax") and len(x) > 1:
            x[0], dy[0] = (0.5, -0.4, 1.5, -1.6, 0.7), (np.inf, -np.inf, np.nan, np.inf, -np.inf)
            y = kernels.TABLE[name].definition(x)
        found.append(case(dy, None if FUNCTIONS[name].from_output else x, y))
    return found


def of_loss(**options: Any) -> list[Case]:
    shapes = ((6, 4), (0, 4), (1, 1), (3,), (2, 3, 2))
    return [case(normal(*shape), normal(*shape), **options) for shape in shapes]


def of_entropy() -> list[Case]:
    logits = normal(5, 4)
    logits[1] = 1e4, -1e4, 0.0, 1e4
    logits[2] = 1e38, -1e38, 0.0, 1e38
    shares = RNG.dirichlet(np.ones(4), 5)
    return [case(logits, shares), case(logits[:0], shares[:0]), case(normal(1, 2), np.asarray([[0.0, 1.0]]))]


def of_labels() -> list[Case]:
    (logits, _), _ = of_entropy()[0]
    return [
        case(logits, np.arange(5) % 4),
        case(logits[:0], np.arange(0)),
        case(normal(3, 300), np.asarray([0, 255, 7], dtype=np.uint8)),  # more classes than the dtype counts
        case(normal(2, 3, 4), np.asarray([[0, 1, 2], [3, 2, 1]], dtype=np.int16)),
    ]


def of_update(vectors: int, variants: list[dict[str, Any]]) -> list[Case]:
    """theta, gradient and slots, of which the last is a mean of squares."""
    found = []
    for size, options in zip((1001, 0, 1), (variants * 3)[:3], strict=True):
        args = [normal(size) for _ in range(vectors - 1)] + [np.abs(normal(size))]
        found.append(case(*args, **options))
    return found


# Window(size, stride, padding, dilation)
WINDOW = Window((3, 2), (2, 2), ((1, 1), (0, 1)))
DILATED = Window((2, 2), (1, 1), ((0, 0), (2, 1)), (3, 2))
GAPS = Window((1, 2), (3, 4))
PICTURES = normal(2, 7, 6, 4)
TIES = np.round(normal(2, 7, 6, 4))
HOLES = PICTURES.copy()
HOLES[0, 0, :2, 0], HOLES[1, 3, 3, 1], HOLES[1, 6, 5] = np.nan, np.inf, -np.inf


def of_convolution(*, back: bool) -> list[Case]:
    found = []
    for x, window, groups, bias in (
        (PICTURES, WINDOW, 2, True),
        (PICTURES, DILATED, 1, False),
        (PICTURES, Window((1, 1)), 1, True),
        (PICTURES, GAPS, 4, False),
        (PICTURES[:0], WINDOW, 1, True),
        (PICTURES[:1], Window((7, 6)), 1, True),
    ):
        weight = normal(*window.size, 4 // groups, 8)
        if back:
            dy = normal(len(x), *window.places(x.shape[1:3]), 8)
            found.append(case(dy, x, weight, window=window, groups=groups, input_gradient=bias))
        else:
            found.append(case(x, weight, normal(8) if bias else None, window=window, groups=groups))
    return found


def of_pool(name: str) -> list[Case]:
    found = []
    for x, window in ((TIES, WINDOW), (HOLES, GAPS), (PICTURES, DILATED), (PICTURES[:0], WINDOW)):
        places = window.places(x.shape[1:3])
        dy, counts = normal(len(x), *places, 4), positive(*places, 1) + 1.0
        args = {
            "max_pool": lambda x=x: (x,),
            "max_pool_pullback": lambda x=x, dy=dy, w=window: (dy, x, kernels.max_pool.definition(x, window=w)),
            "mean_pool": lambda x=x, counts=counts: (x, counts),
            "mean_pool_pullback": lambda x=x, dy=dy, counts=counts: (dy, x, counts),
        }[name]()
        found.append(case(*args, window=window))
    if name == "max_pool_pullback":
        (dy, x, y), options = found[0]
        dy = dy.copy()
        dy[0, 0, 0] = np.nan, np.inf, -np.inf, 0.0
        found.append(case(dy, x, y, **options))
    return found


FLAT = np.stack([np.full(4, 3.0), normal(4)])  # a row without variance
NORMALISED = [
    (normal(5, 3, 4), (0, 1)),
    (FLAT, (1,)),
    (normal(1, 1), (1,)),
    (normal(0, 4), (1,)),
]
RESPONSE = {"size": 3, "alpha": 0.3, "beta": 0.6, "k": 1.5}
WIDE_RESPONSE = RESPONSE | {"size": 6}


def of_normalise_pullback() -> list[Case]:
    pairs = [(x, axes, kernels.normalise.definition(x, axes=axes, epsilon=1e-5)) for x, axes in NORMALISED]
    return [case(normal(*x.shape), found[0], found[1], axes=axes) for x, axes, found in pairs]


ADAM = {"rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "correction1": 0.3, "correction2": 0.03}
MOMENTUM = {"rate": 0.1, "momentum": 0.9}

CASES: dict[str, Callable[[], list[Case]]] = {
    **{name: (lambda name=name: of_function(name)) for name in FUNCTIONS},
    **{f"{name}_pullback": (lambda name=name: of_pullback(name)) for name in FUNCTIONS},
    "erfc": lambda: [case(np.concatenate((np.linspace(-30, 30, 241), [np.nan, np.inf, -np.inf, 1e38]))), *of_function("")],
    "affine": lambda: [
        case(normal(6, 3), normal(3, 4), normal(4)),
        case(normal(0, 3), normal(3, 4), None),
        case(normal(1, 1), normal(1, 1), normal(1)),
        case(normal(2, 3, 5, 7), normal(7, 3), normal(3)),
    ],
    "affine_pullback": lambda: [
        case(normal(2, 6, 4), normal(2, 6, 3), normal(3, 4)),
        case(normal(0, 4), normal(0, 3), normal(3, 4)),
        case(normal(1, 1), normal(1, 1), normal(1, 1)),
        case(normal(5, 3), normal(5, 7), normal(7, 3), input_gradient=False),
    ],
    "mse": of_loss,
    "mae": of_loss,
    "huber": lambda: of_loss(delta=0.7),
    "binary_cross_entropy": of_entropy,
    "cross_entropy": of_entropy,
    "cross_entropy_of_labels": of_labels,
    "sgd_update": lambda: of_update(2, [{"rate": 0.1}]),
    "momentum_update": lambda: of_update(3, [MOMENTUM | {"nesterov": n} for n in (True, False)]),
    "adam_update": lambda: of_update(4, [ADAM]),
    "rmsprop_update": lambda: of_update(3, [{"rate": 0.1, "decay": 0.9, "epsilon": 1e-8}]),
    "adagrad_update": lambda: of_update(3, [{"rate": 0.1, "epsilon": 1e-8}]),
    "convolution": lambda: of_convolution(back=False),
    "convolution_pullback": lambda: of_convolution(back=True),
    **{
        name: (lambda name=name: of_pool(name))
        for name in ("max_pool", "max_pool_pullback", "mean_pool", "mean_pool_pullback")
    },
    "normalise": lambda: [case(x, axes=axes, epsilon=1e-5) for x, axes in NORMALISED],
    "normalise_pullback": of_normalise_pullback,
    "local_response": lambda: [case(x, **o) for x, o in ((PICTURES, RESPONSE), (normal(3, 5), WIDE_RESPONSE))],
    "local_response_pullback": lambda: [
        case(normal(*x.shape), x, **o) for x, o in ((PICTURES, RESPONSE), (normal(3, 5), WIDE_RESPONSE))
    ],
    "threefry": lambda: [
        case(np.arange(-50, 951, dtype=np.int32), 7, -3, 99),
        case(np.arange(0, dtype=np.int32), 0, 1, 2),
        case(np.asarray(-1, dtype=np.int32), -1, -1, -1),
        case(np.arange(6, dtype=np.int32).reshape(2, 3), *(np.asarray(word, dtype=np.int32) for word in (1, -2, 3))),
    ],
}
BUILT = {name: CASES[name]() for name in sorted(CASES)}
EVERY = [pytest.param(name, i, id=f"{name}-{i}") for name, built in BUILT.items() for i in range(len(built))]


def rounded(given: Any, dtype: str) -> Any:
    """What a backend is given in this dtype, in float64."""
    is_float = isinstance(given, np.ndarray) and given.dtype.kind == "f"
    return given.astype(dtype).astype(float) if is_float else given


def moved(be: nn.Backend, given: Any, dtype: str) -> Any:
    """An array of the backend's own, which a kernel may consume."""
    if not isinstance(given, np.ndarray):
        return given
    return be.asarray(given.copy(), dtype=dtype if given.dtype.kind == "f" else given.dtype.name)


def called(be: nn.Backend, function: Callable[..., Any], given: list[Any], options: dict[str, Any]) -> list[Any]:
    """The arrays that the function gives; those that are given are what a compiler would trace."""
    traced = [i for i, x in enumerate(given) if not isinstance(x, int | None)]

    def of_arrays(*arrays: Any) -> Any:
        args = list(given)
        for i, x in zip(traced, arrays, strict=True):
            args[i] = x
        return function(*args, **options)

    found = as_called(be, of_arrays)(*[given[i] for i in traced])
    return [each for each in found if each is not None] if isinstance(found, tuple) else [found]


def reference(name: str, args: tuple[Any, ...], options: dict[str, Any], dtype: str) -> list[np.ndarray]:
    given = [rounded(a, dtype) for a in args]
    return called(nn.backend("numpy"), kernels.TABLE[name].definition, given, options)


def dtype_of(name: str, position: int, dtype: str) -> str:
    """The dtype of a kernel's result; losses are never narrower than float32."""
    if name == "threefry":
        return "int32"
    return "float32" if name in LOSSES and position == 0 and EPS[dtype] > EPS["float32"] else dtype


LOSSES = {"mse", "mae", "huber", "binary_cross_entropy", "cross_entropy", "cross_entropy_of_labels"}


def test_no_kernel_escapes() -> None:
    assert set(CASES) == set(kernels.TABLE)


@pytest.mark.parametrize(("name", "which"), EVERY)
def test_kernel_agrees_with_its_definition(be: nn.Backend, dtype: str, name: str, which: int) -> None:
    """Values, shapes, dtype, library and device, on what is usual and at the edges; and arguments stay as they were."""
    if be.library.name == "jax" and which and dtype == "float64":
        return  # compiled in float32 already: the edges once are enough
    args, options = BUILT[name][which]
    given = [moved(be, a, dtype) for a in args]
    got, want = called(be, kernels.TABLE[name], given, options), reference(name, args, options, dtype)
    assert len(got) == len(want)
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        assert backends.namespace(g) is be.xp
        assert backends.device_of(g) == be.device
        assert tuple(g.shape) == w.shape
        assert g.dtype == getattr(be.xp, dtype_of(name, i, dtype))
        close(to_host(be, g), w.astype(float), dtype, c=0.0 if name == "threefry" else 200.0)
    if not name.endswith("_update"):  # those consume their arguments
        for g, a in zip(given, args, strict=True):
            if isinstance(a, np.ndarray):
                np.testing.assert_array_equal(to_host(be, g), rounded(a, dtype))


def test_erfc_is_as_exact_as_it_says(be: nn.Backend, dtype: str) -> None:
    x = np.linspace(-6, 9 if dtype == "float32" else 26, 997).astype(dtype)
    for function in (kernels.erfc, kernels.erfc.definition):
        got = to_host(be, as_called(be, function)(be.asarray(x)))
        error = np.abs(got / special.erfc(x.astype(float)) - 1.0).max()
        assert error < (2e-6 if dtype == "float32" else 2e-13)


@pytest.mark.parametrize("name", sorted(kernels.TABLE))
def test_fast_versions_have_the_parameters_of_the_definition(be: nn.Backend, name: str) -> None:
    kernel = kernels.TABLE[name]
    chosen = kernel._choose(be.asarray([1.0]))  # loads the library's versions
    assert chosen is kernel.overrides.get(be.library.name, kernel.definition)
    if chosen.__module__ and chosen.__module__.startswith("nnarray"):  # others are the library's own functions
        own, defined = (inspect.signature(f).parameters.values() for f in (chosen, kernel.definition))
        assert [(p.name, p.kind, p.default) for p in own] == [(p.name, p.kind, p.default) for p in defined]


LAYOUTS: dict[str, Callable[[nn.Backend, np.ndarray, str], Any]] = {
    "strided": lambda be, a, dtype: moved(be, np.repeat(a, 2, axis=-1), dtype)[..., ::2],
    "transposed": lambda be, a, dtype: be.xp.permute_dims(moved(be, a.T.copy(), dtype), tuple(range(a.ndim))[::-1]),
    "reversed": lambda be, a, dtype: moved(be, a[::-1], dtype)[::-1] if be.name == "numpy" else moved(be, a, dtype),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", sorted(kernels.TABLE))
def test_kernels_take_any_memory_layout(be: nn.Backend, name: str, layout: str) -> None:
    if be.library.name == "jax":
        return  # whose arrays have none
    for args, options in BUILT[name]:
        given = [
            LAYOUTS[layout](be, a, "float32") if isinstance(a, np.ndarray) and a.ndim else moved(be, a, "float32")
            for a in args
        ]
        want = reference(name, args, options, "float32")
        for g, w in zip(called(be, kernels.TABLE[name], given, options), want, strict=True):
            close(to_host(be, g), w.astype(float), "float32", c=0.0 if name == "threefry" else 200.0)


@pytest.mark.parametrize("name", sorted(name for name in kernels.TABLE if not name.endswith("_update")))
def test_kernels_only_read(host: nn.Backend, name: str) -> None:
    """A write would raise: that is how a stray `+=` is found."""
    for args, options in BUILT[name]:
        given = [moved(host, a, "float64") for a in args]
        for array in given:
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        called(host, kernels.TABLE[name], given, options)


@pytest.mark.parametrize("name", sorted(name for name in kernels.TABLE if name.endswith("_update")))
def test_updates_leave_what_they_do_not_consume(be: nn.Backend, name: str) -> None:
    """Numbers may come as arrays of shape (), on the way through a compiler; they are not consumed."""
    args, options = BUILT[name][0]
    numbers = {
        key: be.asarray(np.asarray(value), dtype="float32")
        for key, value in options.items()
        if key in ("rate", "correction1", "correction2")
    }
    got = called(be, kernels.TABLE[name], [moved(be, a, "float32") for a in args], options | numbers)
    for g, w in zip(got, reference(name, args, options, "float32"), strict=True):
        assert g.dtype == be.dtype("float32")
        close(to_host(be, g), w, "float32", c=200.0)
    for key, value in numbers.items():
        assert float(value) == np.float32(options[key])


@pytest.mark.parametrize("name", sorted(name for name in kernels.TABLE if not name.endswith("_update")))
@pytest.mark.parametrize("flag", ["numpy", "torch"])
def test_half_precision_stays_half_precision(flag: str, name: str) -> None:
    be = nn.backend(flag)
    args, options = BUILT[name][0]
    args = tuple(np.clip(a, -5, 5) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args)
    got = called(be, kernels.TABLE[name], [moved(be, a, "float16") for a in args], options)
    for i, (g, w) in enumerate(zip(got, reference(name, args, options, "float16"), strict=True)):
        assert g.dtype == getattr(be.xp, dtype_of(name, i, "float16"))
        close(to_host(be, g), w.astype(float), "float16", c=50.0)


HALF = {
    "affine_pullback": case(np.ones((9000, 1)), np.ones((9000, 1)), np.ones((1, 1))),
    "convolution_pullback": case(np.ones((1, 95, 94, 1)), np.ones((1, 95, 95, 1)), np.ones((1, 2, 1, 1)), window=Window((1, 2))),
    "normalise": case(np.asarray([[400.0, -400.0] * 600]), axes=(1,), epsilon=1e-5),
    "normalise_pullback": case(
        np.full((1, 1200), 300.0), np.asarray([[300.0, -1.0] * 600]), np.full((1, 1), 1e-3), axes=(1,)
    ),
    "local_response": case(np.full((1, 5), 300.0), **RESPONSE),
    "local_response_pullback": case(np.full((1, 5), 300.0), np.full((1, 5), 300.0), **RESPONSE),
    "mean_pool": case(np.full((1, 40, 40, 1), 100.0), np.full((1, 1, 1), 1600.0), window=Window((40, 40))),
    "softmax": case(np.asarray([[6e4, 0.0, -6e4] * 999])),
    "mse": case(np.full((1, 3), 300.0), np.zeros((1, 3))),
    "huber": case(np.full((1, 3), 6e4), np.zeros((1, 3)), delta=2.0),
}


@pytest.mark.parametrize("name", HALF)
@pytest.mark.parametrize("flag", ["numpy", "torch", "jax"])
def test_half_precision_has_room_for_sums(flag: str, name: str) -> None:
    """float16 ends at 65,504, and adding 1 stops to count at 2,048."""
    be = nn.backend(flag)
    args, options = HALF[name]
    with np.errstate(over="ignore"):  # the variance itself may not fit
        got = called(be, kernels.TABLE[name], [moved(be, a, "float16") for a in args], options)
        for g, w in zip(got, reference(name, args, options, "float16"), strict=True):
            exact = w if g.dtype != be.dtype("float16") else w.astype("float16").astype(float)
            close(to_host(be, g), exact, "float16", c=20.0)


# --- What only large arrays meet -------------------------------------------------------------------------------------


def test_adam_in_blocks_is_adam(host: nn.Backend) -> None:
    """More entries than a block, and a rest."""
    size = in_numpy.BLOCK * 2 + 17
    args = [normal(size), normal(size), normal(size), np.abs(normal(size))]
    want = kernels.adam_update.definition(*[a.copy() for a in args], **ADAM)
    for g, w in zip(kernels.adam_update(*args, **ADAM), want, strict=True):
        close(g, w, "float64")


def test_threefry_in_blocks_is_threefry(host: nn.Backend) -> None:
    counter = np.arange(in_numpy.BLOCK * 2 + 17, dtype=np.int32)
    for g, w in zip(kernels.threefry(counter, 1, 2, 3), kernels.threefry.definition(counter, 1, 2, 3), strict=True):
        np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("entries", [1, 40, 150, 10_000])
@pytest.mark.parametrize("name", ["convolution", "convolution_pullback"])
def test_convolution_in_blocks_is_convolution(monkeypatch, name: str, entries: int) -> None:
    """One row of places at a time, a few rows, one picture, all."""
    monkeypatch.setattr(in_numpy, "COLUMNS", entries)
    for args, options in BUILT[name]:
        for g, w in zip(
            called(nn.backend("numpy"), kernels.TABLE[name], list(args), options),
            reference(name, args, options, "float64"),
            strict=True,
        ):
            close(g, w, "float64", c=500)
