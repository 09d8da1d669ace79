"""Checks for layers and losses of your own. The tests of this package use the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

from nnarray import random
from nnarray.backends import Backend, backend, device_of, host_backend, list_backends, namespace
from nnarray.functional.hooks import Passage, with_hooks
from nnarray.functional.layout import Layout
from nnarray.kernels.compilation import compiled
from nnarray.layers.activations import activation
from nnarray.layers.base import Context, Layer, gradients_of, outputs_of
from nnarray.layers.kinds import BOOLEAN, REAL, Spec, arrays_in, mapped, specs
from nnarray.losses import Loss
from nnarray.names import shown
from nnarray.random import Key
from nnarray.typing import Array, Shape

Size: TypeAlias = tuple[int, Any]
"""The number of examples, and the shape of one; by name, if there are several inputs."""

STEP = 1e-6  # of the central differences, whose error is about STEP^2 + eps / STEP in float64
GRADIENT_TOLERANCE = 1e-6
VALUE_TOLERANCE = 1000  # in units of the dtype's eps, relative to the largest value


class LayerCheck(NamedTuple):
    """What `check_layer` learned of a layer that passed.

    Attributes
    ----------
    pullback : str
        "hand-written", or "recorded" if it follows from a record of the forward pass, at least in a part.
    forward : float
        Seconds of a forward pass, on NumPy in float64 with the examples of the check: the shortest of three.
    backward : float
        Seconds of the pullback after it; of a recorded one, with the forward passes that it repeats.
    """

    pullback: str
    forward: float
    backward: float


def assert_close(got: Array, want: Any, *, c: float = VALUE_TOLERANCE, what: str = "values") -> None:
    """Raise AssertionError unless |got - want| <= c eps max(|want|, 1), with eps of the dtype of `got`.

    `want` may be an array of another library or dtype; both are compared on the host in float64.
    """
    host = host_backend()
    a, b = (host.asarray(host.to_numpy(v), dtype="float64") for v in (got, want))
    assert a.shape == b.shape, f"{what}: shape {tuple(a.shape)}, expected {tuple(b.shape)}"
    if 0 in a.shape:
        return
    xp = host.xp
    bound = c * float(namespace(got).finfo(got.dtype).eps) * max(float(xp.max(xp.abs(b))), 1.0)
    error = float(xp.max(xp.abs(a - b)))
    assert error <= bound, f"{what}: largest difference {error:.3g}, allowed {bound:.3g}"


def check_layer(
    layer: Layer,
    shape: Shape | Mapping[str, Any],
    *,
    batch: int = 3,
    backends: Iterable[str | Backend] | None = None,
    seed: int = 0,
) -> LayerCheck:
    """Check a layer: shapes, dtypes, devices, purity, and its gradients against central differences.

    It checks in training and at inference, on every backend. Outputs must have the shape of `out_shape`, and the
    library, device and dtype of the inputs. The pullback must give the same result twice, and change nothing. Along
    random directions of inputs and parameters it must agree with (f(v + h u) - f(v - h u)) / 2h in float64. Outputs
    and gradients of all backends must agree with those in float64 on NumPy. On JAX, float64 runs compiled, as in
    `fit`, and float32 both compiled and not.

    Parameters
    ----------
    layer : Layer
    shape : tuple of int, or mapping of str to such
        The shape of one example; by name, if the layer takes several inputs.
    batch : int
        The number of examples.
    backends : flags, or one of them, optional
        Where to check; all usable backends if None.
    seed : int
        Seed of parameters, inputs and directions.

    Returns
    -------
    LayerCheck
        Whether the pullback is hand-written or recorded, and what it costs.

    Raises
    ------
    AssertionError
        If a check fails; the message says which one, and where.

    Examples
    --------
    >>> import nnarray as nn
    >>> check = nn.testing.check_layer(nn.Dense(3, "tanh"), (2,), backends=["numpy"])
    >>> check.pullback
    'hand-written'
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"layer must be an nn.Layer; got {shown(layer)}. Pass a layer, such as nn.Dense(3).")
    if not isinstance(shape, tuple | Mapping):
        raise TypeError(f"shape must be a tuple, the shape of one example; got {shown(shape)}. Use for example (3,).")
    flags = [info.name for info in list_backends() if info.usable] if backends is None else backends
    for be in map(backend, [flags] if isinstance(flags, str) else flags):
        for dtype in ("float64", "float32"):
            if dtype in be.dtypes:
                for training in (False, True):
                    try:
                        _check_on(be, dtype, layer, (batch, shape), training, Key(seed))
                    except ValueError as error:
                        raise AssertionError(str(error)) from error
    return _measured(layer, (batch, shape), Key(seed))


def _measured(layer: Layer, size: Size, key: Key) -> LayerCheck:
    params, state, x, weights = _example(host_backend(), "float64", layer, size, key)
    ctx = Context(True, layer_tree(layer.initial_state(size[1]), state), root=key)
    tree = layer_tree(layer.params(size[1]), params)
    dy: Any = weights(layer.forward(tree, x, ctx).y.shape)
    times: list[tuple[float, float]] = []
    out: Any = None
    for _ in range(3):
        start = perf_counter()
        out = layer.forward(tree, x, ctx)
        middle = perf_counter()
        out.pullback(dy)
        times.append((middle - start, perf_counter() - middle))
    forward, backward = (min(each) for each in zip(*times, strict=True))
    passages: dict[str, Passage] = {}
    with_hooks(layer, passages).forward(tree, x, ctx).pullback(dy)
    is_recorded = any(each.is_recorded for each in passages.values()) or _has_recorded_activation(layer)
    return LayerCheck("recorded" if is_recorded else "hand-written", forward, backward)


def _has_recorded_activation(layer: Layer) -> bool:
    function = getattr(layer, "activation", None)
    own = not isinstance(function, str) and activation(function).is_recorded  # those with names are hand-written
    return own or any(_has_recorded_activation(each) for _, each in layer.named_layers)


def _check_on(be: Backend, dtype: str, layer: Layer, size: Size, training: bool, key: Key) -> None:
    where = f"{type(layer).__name__} on {be.name}, {dtype}, {'training' if training else 'inference'}"
    params, state, x, weights = _example(be, dtype, layer, size, key)
    ctx = Context(training, layer_tree(layer.initial_state(size[1]), state), root=key)
    layout, wanted = Layout.of(layer.params(size[1])), specs(layer.takes, size[1])
    before = [be.to_numpy(each).tolist() for each in arrays_in(x)]

    def forward(params: Array, x: Any) -> Array:
        return layer.forward(layout.tree(params), x, ctx).y

    def both_ways(params: Array, x: Any) -> tuple[Any, ...]:
        """The outputs, and the gradients of inputs and parameters, computed twice."""
        out = outputs_of(layer, layout.tree(params), x, ctx, lambda: where)
        _assert_same_place(out.y, params, f"{where}: outputs")
        dy = be.asarray(weights(out.y.shape), dtype=dtype)
        dx, gradients = gradients_of(out.pullback(dy), getattr(x, "shape", None), lambda: where)
        for name in (slot.name for slot in layout.slots):
            assert name.split(".")[0] in gradients, f"{where}: the pullback gives no gradient for {name!r}"
        for each, of in zip(reals(dx), reals(x), strict=True):
            _assert_same_place(each, of, f"{where}: dx")
        again_dx, again = out.pullback(dy)
        return out.y, reals(dx), layout.pack(gradients, params), reals(again_dx), layout.pack(again, params)

    def reals(inputs: Any) -> list[Array]:
        """The inputs that have a gradient."""
        return _of_real_numbers(wanted, inputs)

    fast = compiled(both_ways, params)
    # Compilation is slow: only one dtype is also run operation by operation.
    y, dx, packed, again_dx, again = (fast if dtype == "float64" else both_ways)(params, x)
    twice = [(*pair, "another dx") for pair in zip(again_dx, dx, strict=True)] + [(again, packed, "other gradients")]
    for got, want, what in twice:
        message = f"{where}: the pullback gave {what} the second time"
        if be.library.compiles:  # fusing changes the rounding
            assert_close(got, want, c=10, what=message)
        else:
            _assert_equal(be, got, want, message)
    assert [be.to_numpy(each).tolist() for each in arrays_in(x)] == before, (
        f"{where}: forward or pullback changed its input"
    )
    if dtype != "float64":
        assert_close(compiled(forward, params)(params, x), y, what=f"{where}: compiled, as fit does it,")
    _check_reference(layer, size, training, key, (y, *dx, packed), where)
    if dtype == "float64":
        outputs: Any = (lambda p, v: fast(p, v)[0]) if be.library.compiles else forward  # the same program for both
        _check_gradients(be, outputs, wanted, params, x, weights(y.shape), dx, packed, key, where)


def _of_real_numbers(wanted: Any, inputs: Any) -> list[Any]:
    """The inputs, or the gradients with respect to them, that are real numbers."""
    found: list[Any] = []
    mapped(lambda spec, x: found.append(x) if spec.kind == REAL else None, wanted, inputs)
    return found


def layer_tree(wanted: dict[str, Any], vector: Array) -> dict[str, Any]:
    """The vector as a tree of the layer's parameters."""
    return Layout.of(wanted).tree(vector)


def _example(be: Backend, dtype: str, layer: Layer, size: Size, key: Key) -> tuple[Array, Array, Any, Any]:
    """Parameters away from special values, state, inputs, and a function that draws weights of outputs; on the host."""
    host = host_backend()

    def draw(name: str, wanted: Shape) -> Array:
        return random.normal(key.fold(name), wanted, xp=host.xp, device=host.device, dtype=host.xp.float64)

    def draw_input(spec: Spec) -> Array:
        drawn = draw("x", (size[0], *spec.shape))
        if spec.kind.name == "integer":
            return be.asarray(host.xp.astype(host.xp.abs(1000.0 * drawn), host.xp.int32) % spec.kind.drawn_below)
        return be.asarray(drawn > 0.0 if spec.kind == BOOLEAN else drawn, dtype=dtype if spec.kind == REAL else None)

    shape = size[1]
    layout = Layout.of(layer.params(shape))
    params = layout.draw(key, host.xp, host.device) + 0.1 * draw("params", (layout.size,))
    state = Layout.of(layer.initial_state(shape)).draw(key, host.xp, host.device)
    x = mapped(draw_input, specs(layer.takes, shape))
    return be.asarray(params, dtype), be.asarray(state, dtype), x, lambda wanted: draw("dy", wanted)


def _check_reference(
    layer: Layer, size: Size, training: bool, key: Key, results: tuple[Array, ...], where: str
) -> None:
    """Outputs and gradients agree with those in float64 on NumPy."""
    params, state, x, weights = _example(host_backend(), "float64", layer, size, key)
    ctx = Context(training, layer_tree(layer.initial_state(size[1]), state), root=key)
    layout = Layout.of(layer.params(size[1]))
    out = layer.forward(layout.tree(params), x, ctx)
    dx, gradients = out.pullback(weights(out.y.shape))
    reals = _of_real_numbers(specs(layer.takes, size[1]), dx)
    names = ["", *(": dx" for _ in reals), ": gradients of the parameters"]
    for got, want, what in zip(results, (out.y, *reals, layout.pack(gradients, params)), names, strict=True):
        assert_close(got, want, what=where + what)


def _check_gradients(
    be: Backend,
    outputs: Callable[[Array, Any], Array],
    wanted: Any,
    params: Array,
    x: Any,
    dy: Array,
    dx: list[Array],
    packed: Array,
    key: Key,
    where: str,
) -> None:
    """The pullback agrees with central differences along random directions of x and of the parameters."""
    host = host_backend()
    xp, device = host.xp, host.device
    params, packed, *dx = (host.asarray(be.to_numpy(v)) for v in (params, packed, *dx))
    assert params.dtype == xp.float64, f"{where}: the check needs float64"

    def value(p: Array, step: float, along: list[Array]) -> float:
        directions = iter(along)
        moved = mapped(lambda spec, v: v + step * be.asarray(next(directions)) if spec.kind == REAL else v, wanted, x)
        return float(xp.sum(be.to_numpy(outputs(be.asarray(p), moved)) * dy))

    for trial in range(3):
        u = [random.normal(key.fold("u").fold(trial), d.shape, xp=xp, device=device, dtype=xp.float64) for d in dx]
        v = random.normal(key.fold("v").fold(trial), params.shape, xp=xp, device=device, dtype=xp.float64)
        checks = [("parameters", v, [0.0 * each for each in u], float(xp.sum(packed * v)))]
        if u:
            checks += [("inputs", v * 0.0, u, sum(float(xp.sum(d * each)) for d, each in zip(dx, u, strict=True)))]
        for name, a, b, want in checks:
            numeric = (value(params + STEP * a, STEP, b) - value(params - STEP * a, -STEP, b)) / (2 * STEP)
            error = abs(numeric - want) / max(abs(numeric), 1.0)
            assert error <= GRADIENT_TOLERANCE, (
                f"{where}: the gradient of the {name} is {want:.9g} along a random direction, central differences "
                f"give {numeric:.9g} (relative difference {error:.2g}, allowed {GRADIENT_TOLERANCE:g})"
            )


def check_loss(loss: Loss, outputs: Array, target: Array) -> None:
    """Check the gradient of a loss against central differences, in float64.

    Raises
    ------
    AssertionError
        If the relative difference is more than 1e-6.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> nn.testing.check_loss(nn.losses.CrossEntropy(), be.asarray([[0.5, -1.0]]), be.asarray([1]))
    """
    xp, device = namespace(outputs), device_of(outputs)
    assert outputs.dtype == xp.float64, f"float64 is needed; got {outputs.dtype}"
    _, gradient = loss.value_and_gradient(outputs, target)
    assert gradient.shape == outputs.shape, (
        f"gradient of shape {tuple(gradient.shape)} for outputs {tuple(outputs.shape)}"
    )
    for trial in range(3):
        u = random.normal(Key(trial), outputs.shape, xp=xp, device=device, dtype=xp.float64)
        numeric = float(loss(outputs + STEP * u, target) - loss(outputs - STEP * u, target)) / (2 * STEP)
        want = float(xp.sum(gradient * u))
        error = abs(numeric - want) / max(abs(numeric), 1.0)
        assert error <= GRADIENT_TOLERANCE, f"gradient {want:.9g}, central differences {numeric:.9g}"


def _assert_same_place(got: Array, like: Array, what: str) -> None:
    assert namespace(got) is namespace(like), f"{what} left the library: {type(got)}"
    assert device_of(got) == device_of(like), f"{what} on {device_of(got)}, not on {device_of(like)}"
    assert got.dtype == like.dtype, f"{what} of dtype {got.dtype}, not {like.dtype}"


def _assert_equal(be: Backend, a: Array, b: Array, message: str) -> None:
    assert be.to_numpy(a).tolist() == be.to_numpy(b).tolist(), message
