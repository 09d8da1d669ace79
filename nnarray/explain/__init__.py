"""One step of a network, forward and backward, layer by layer and in words: `nn.explain`.

Nothing here computes a gradient of its own: the step is the one that training makes, with a probe around each layer
that notes what passes.
"""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

from nnarray import random
from nnarray.backends import as_data, backend_of, device_of, dtype_name, host_backend, namespace, place, without_record
from nnarray.functional.hooks import Passage, probed
from nnarray.functional.layout import Place
from nnarray.functional.propagation import Step as Propagated
from nnarray.functional.propagation import Wiring, forward, loss_and_gradient
from nnarray.functional.summary import written
from nnarray.kernels.engines import computing
from nnarray.kernels.standard.numerics import wide
from nnarray.layers.activations import FUNCTIONS, Activation, activation
from nnarray.layers.base import Layer
from nnarray.losses import Loss, loss_named
from nnarray.model import Model
from nnarray.random import Key
from nnarray.training.data import Data, check_inputs, pick, prepare
from nnarray.typing import Array, Shape

MOST_EXAMPLES = 32
"""Spread over all, for data are often sorted by class."""
SHOWN = 4
"""How many values of an array are shown."""
RESTS = "a head: it is run while training only"
UNASKED = "none, for no layer from here back has parameters"
FORWARD_WORDS = (
    "Each layer takes what the one before gives. The norm is the size of an array: the root of the sum of squares.",
)
BACKWARD_WORDS = (
    "From the last layer to the first, the chain rule tells how much the loss L changes with each number. To check it,",
    "all entries p of a parameter are moved a little along a random direction u: (L(p + h u) - L(p - h u)) / 2h, which",
    "knows nothing of the chain rule, must be the sum of dL/dp u.",
)
FORWARD = ("layer", "", "formula", "shapes in and out", "gives, first example")
BACKWARD = ("layer", "", "shape", "norm, largest", "first values", "along u", "finite difference", "check")


STEP, TOLERANCE = 1e-6, 1e-4
"""Of finite differences in float64: how far (their error is about step^2 + eps / step), and how far off at most."""
ASIDE = 1e-2
"""How far the check goes aside where the loss has a corner, in units of the parameters' spread."""


class Check(NamedTuple):
    """A gradient against finite differences, along one random direction u of its parameter."""

    gradient: float
    """The sum of dL/dp u, by backpropagation."""
    difference: float
    """(L(p + h u) - L(p - h u)) / 2h."""
    relative: float
    """How far they are apart, relative to the larger one."""
    ok: bool
    aside: bool
    """Whether it was done a little to the side, for exactly here the loss has a corner, as that of relu at 0."""


class Slope(NamedTuple):
    """The gradient of the loss with respect to one parameter."""

    name: str
    """Of the parameter in its layer, such as "weight"."""
    shape: Shape
    norm: float
    largest: float
    """Of the absolute values of its entries."""
    values: tuple[float, ...]
    """The first ones."""
    frozen: bool
    check: Check | None
    """None if no check was asked for."""


class Signal(NamedTuple):
    """An array that passes: its shape, its size, and its first values."""

    shape: Shape
    norm: float
    values: tuple[float, ...]
    """Of the first example."""


class Step(NamedTuple):
    """One layer on the way forward and on the way back."""

    name: str
    """Its path, such as "inception3a.branch1"."""
    layer: str
    """As it is written."""
    formula: str
    depth: int
    """0 for the layers of the network, 1 for those inside of them, ..."""
    input_shape: Shape
    output_shape: Shape
    """With the batch axis."""
    outputs: Signal | None
    """None for the head of an `Auxiliary`, which is not run at inference."""
    dy: Signal | None
    """dL/dy that comes in on the way back; None if none comes, for nothing before it has parameters."""
    dx: Signal | None
    """dL/dx that goes out to the layer before; None if nobody asks for it."""
    slopes: tuple[Slope, ...]
    """One a parameter."""


@dataclass(frozen=True)
class Explanation:
    """One forward and backward step; print it, show it in a notebook, or read its `steps`.

    Attributes
    ----------
    steps : tuple of Step
        One a layer, in order; a layer made of layers comes before those inside.
    loss : float
    loss_name, loss_formula : str
    examples, given : int
        How many examples were used, and how many were given.
    inputs : Signal
        What goes into the network.
    output_gradient : Signal
        The gradient of the loss with respect to the network's outputs, where the way back begins.
    model, place, dtype : str
        What the network is, and where and in which numbers it computes.
    checked_in : str
        The dtype of the finite differences; empty if there are none.
    """

    steps: tuple[Step, ...]
    loss: float
    loss_name: str
    loss_formula: str
    examples: int
    given: int
    inputs: Signal
    output_gradient: Signal
    model: str
    place: str
    dtype: str
    checked_in: str

    @property
    def ok(self) -> bool:
        """Whether no finite difference contradicts the gradient."""
        return not self._wrong()

    def _wrong(self) -> list[str]:
        """The parameters that are not ok, the last layer first."""
        return [
            f"{step.name}.{slope.name}"
            for step in reversed(self.steps)
            for slope in step.slopes
            if slope.check and not slope.check.ok
        ]

    def __str__(self) -> str:
        parts = [[*_heading(self), ""], ["FORWARD", *FORWARD_WORDS, "", f"x = {_told(self.inputs)}", ""]]
        parts += [_forward_text(step) for step in self.steps]
        parts += [self._loss_text(), ["BACKWARD", *BACKWARD_WORDS, ""]]
        parts += [["loss", f"  dL/dy out: {_told(self.output_gradient)}", ""]]
        parts += [_backward_text(step) for step in reversed(self.steps) if step.outputs]
        return "\n".join(line for part in parts for line in part) + "\n" + self._verdict()

    __repr__ = __str__

    def _loss_text(self) -> list[str]:
        return [f"loss  {self.loss_name}", f"  {self.loss_formula}", f"  L = {_number(self.loss)}", ""]

    def _verdict(self) -> str:
        wrong = self._wrong()
        if not self.checked_in:
            return "No finite differences were taken."
        if not wrong:
            return f"Finite differences in {self.checked_in} agree with all gradients: ok."
        return (
            f"NOT ok: {', '.join(wrong)}. Going back, the first that is not ok is {wrong[0]}: look at the pullback of "
            f"its layer, and at those of the layers behind it and of the loss, which hand dL/dy to it."
        )

    def _repr_html_(self) -> str:
        heading, *rest = _heading(self)
        forward = [("x", "", "", f"{self.inputs.shape}", _listed(self.inputs.values, self.inputs.shape[1:]))]
        forward += [_forward_row(step) for step in self.steps]
        loss = ("loss", self.loss_name, self.loss_formula, "", _number(self.loss))
        backward = [row for step in reversed(self.steps) if step.outputs for row in _backward_rows(step)]
        start = ("loss", f"dL/dy out: {_told(self.output_gradient)}", *[""] * 6)
        return "".join(
            [
                f"<p><b>{html.escape(heading)}</b><br>{html.escape(' '.join(rest))}</p>",
                _table(FORWARD, [*forward, loss], " ".join(("Forward.", *FORWARD_WORDS))),
                _table(BACKWARD, [start, *backward], " ".join(("Backward.", *BACKWARD_WORDS))),
                f"<p>{html.escape(self._verdict())}</p>",
            ]
        )


def explain(model: Model, X: Array, y: Array, loss: Any = "cross_entropy", *, check: bool = True) -> Explanation:
    """Show one forward and backward step of a network: what each layer computes, and the gradient it gets.

    For each layer: its formula, the shapes of what comes in and goes out, and a few values; then, from the loss back,
    dL/dy that comes in, and the gradient of each parameter with its size. Beside each, finite differences along a
    random direction u, (L(p + h u) - L(p - h u)) / 2h, which know nothing of the chain rule and must agree with the
    sum of dL/dp u.

    Parameters
    ----------
    model : Model
        At inference: dropout lets everything pass, batch normalisation uses its averages, auxiliary heads rest.
    X : array, shape (N, ...)
        Of more than 32 examples, 32 are used, spread over the classes and the rows; always the same.
    y : array
        As for `Model.fit`.
    loss : str or Loss
    check : bool
        Whether to take finite differences: two more forward propagations for each parameter array, in float64, on
        the host where the device has none. For a large network, give it few examples.

    Returns
    -------
    Explanation
        Which prints as text, and is shown as tables in a notebook.

    Raises
    ------
    TypeError, ValueError
        As `Model.fit`.

    Notes
    -----
    The gradient is that of `value_and_grad` on these examples. Where the loss has a corner exactly at the model's
    parameters (a relu at 0), finite differences see the mean of both sides; then the check is done a little aside.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
    >>> told = nn.explain(model, X, y)
    >>> print(told)  # doctest: +SKIP
    >>> told.ok
    True
    >>> [(step.name, step.formula) for step in told.steps]
    [('0', 'y = f(x W + b); f = tanh: f(x) = tanh x'), ('1', 'y = f(x W + b); f = identity: f(x) = x')]
    """
    chosen = loss_named(loss)
    if not hasattr(model, "wiring"):
        raise TypeError(f"explain needs a model, as network.init gives it; got {type(model).__name__}.")
    X, y = (without_record(each) for each in (check_inputs(model, X), as_data(y, "y")))
    given = X.shape[0] if X.ndim else 0
    if y.ndim and y.shape[0] == given:  # else what prepares them says what is wrong
        rows = _spread(y)
        X, y = (pick(each, backend_of(each).asarray(rows)) for each in (X, y))
    data = prepare(model, X, y, None, chosen)
    passages: dict[str, Passage] = {}
    wiring = model.wiring._replace(network=probed(model.network, passages))
    with computing(model.engine):
        found = _propagated(wiring, without_record(model.theta), model.state, data, chosen)
        whole = passages[""]
        assert whole.dy is not None
        checks = _Differences.of(model, X, y, chosen) if check else None
        steps = tuple(_steps(model, passages, found.gradient, checks, data.examples))
    return Explanation(
        steps=steps,
        loss=float(found.loss),
        loss_name=chosen.label,
        loss_formula=_formula(chosen),
        examples=data.examples,
        given=given,
        inputs=_signal(data.x),
        output_gradient=_signal(whole.dy),
        model=repr(model),
        place=place(model.theta),
        dtype=dtype_name(model.theta.dtype),
        checked_in="float64" if checks else "",
    )


def _spread(y: Array) -> list[int]:
    """At most MOST_EXAMPLES rows in order: equally many of each target if there are so few, each evenly spread."""
    xp, count = namespace(y), y.shape[0]
    flat = xp.reshape(y, (count, -1))
    labels = flat[:, 0] if flat.shape[1] == 1 else xp.argmax(flat, axis=1)
    values = xp.unique_values(labels)
    if count <= MOST_EXAMPLES or values.shape[0] > MOST_EXAMPLES:
        return sorted({i * count // MOST_EXAMPLES for i in range(MOST_EXAMPLES)})
    groups = [xp.nonzero(labels == values[k])[0] for k in range(values.shape[0])]
    turns = (k for turn in range(MOST_EXAMPLES) for k, rows in enumerate(groups) if turn < rows.shape[0])
    shares = Counter(islice(turns, MOST_EXAMPLES))
    return sorted(int(rows[i * rows.shape[0] // shares[k]]) for k, rows in enumerate(groups) for i in range(shares[k]))


def _propagated(wiring: Wiring, theta: Array, state: Array, data: Data, loss: Loss) -> Propagated:
    """The step that `value_and_grad` makes."""
    return loss_and_gradient(wiring, theta, state, data.x, data.target, data.weights, loss, training=False)


# --- Finite differences --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Differences:
    """The loss as a function of theta, in as many digits as the device has, and its gradient at two points."""

    model: Model
    data: Data
    loss: Loss

    @classmethod
    def of(cls, model: Model, X: Array, y: Array, loss: Loss) -> _Differences:
        here = backend_of(model.theta)
        if "float64" not in here.dtypes:  # a difference of losses needs the digits; the host has them
            here = host_backend()
            X, y = here.asarray(X), here.asarray(y)
        precise = model.to(here, dtype="float64")
        return cls(precise, prepare(precise, X, y, None, loss), loss)

    @cached_property
    def here(self) -> tuple[Array, Array]:
        """The parameters, and the gradient there."""
        return self.model.theta, self._gradient(self.model.theta)

    @cached_property
    def aside(self) -> tuple[Array, Array]:
        """Parameters a little aside, and the gradient there."""
        theta = self.model.theta
        spread = float(namespace(theta).std(theta)) or 1.0
        moved = theta + ASIDE * spread * self.drawn[0]
        return moved, self._gradient(moved)

    def check(self, where: Place) -> Check:
        """The gradient of one parameter; a little aside, if that tells that only a corner was in the way."""
        found = self._at(self.here, where)
        if found.ok:
            return found
        other = self._at(self.aside, where)
        return other._replace(aside=True) if other.ok else found

    def _at(self, point: tuple[Array, Array], where: Place) -> Check:
        theta, whole = point
        xp, step = namespace(theta), STEP
        u = self._direction(where)
        gradient = float(xp.sum(whole * u))
        above, below = self._loss(theta + step * u), self._loss(theta - step * u)
        difference = (above - below) / (2.0 * step)
        apart, size = abs(gradient - difference), max(abs(gradient), abs(difference))
        rounding = 10.0 * float(xp.finfo(theta.dtype).eps) * max(abs(above), abs(below)) / step
        ok = apart <= TOLERANCE * size + rounding  # not so for nan
        return Check(gradient, difference, apart / size if size else apart, ok, aside=False)

    def _loss(self, theta: Array) -> float:
        data, wiring = self.data, self.model.wiring
        outputs = forward(wiring, wiring.params.tree(theta), self.model.state, data.x)
        return float(self.loss.of_prepared(outputs, data.target, data.weights)[0])

    def _gradient(self, theta: Array) -> Array:
        return _propagated(self.model.wiring, theta, self.model.state, self.data, self.loss).gradient

    def _direction(self, where: Place) -> Array:
        """A vector of length 1: random at the entries of the parameter, 0 elsewhere."""
        drawn, index = self.drawn
        xp = namespace(drawn)
        u = xp.where((index >= where.start) & (index < where.stop), drawn, 0.0)
        return u / xp.sqrt(xp.sum(u * u))

    @cached_property
    def drawn(self) -> tuple[Array, Array]:
        """A normal number for each entry of theta, and the entry's place."""
        theta = self.model.theta
        xp, device = namespace(theta), device_of(theta)
        normal = random.normal(Key(0), theta.shape, xp=xp, device=device, dtype=theta.dtype)
        return normal, xp.arange(theta.shape[0], device=device)


# --- What is told of each layer ------------------------------------------------------------------------------


def _steps(
    model: Model, passages: dict[str, Passage], gradient: Array, checks: _Differences | None, batch: int
) -> Iterator[Step]:
    lines, gradients = model.summary().lines, model.wiring.params.views(gradient)
    names = {line.name for line in lines}
    for line in lines:
        passage = passages.get(line.name)
        own = [each for each in model.wiring.params.places if _owner(each, names) == line.name]
        yield Step(
            name=line.name,
            layer=written(line),
            formula=_formula(line.layer),
            depth=line.depth,
            input_shape=(batch, *line.input_shape),
            output_shape=(batch, *line.output_shape),
            outputs=_signal(passage.y) if passage else None,
            dy=_signal(passage.dy) if passage and passage.dy is not None else None,
            dx=_signal(passage.dx) if passage and passage.dx is not None else None,
            slopes=tuple(_slope(model, each, line.name, gradients[each.name], checks) for each in own),
        )


def _owner(where: Place, names: set[str]) -> str:
    """The path of the innermost layer that a parameter belongs to."""
    paths = (".".join(where.path[:end]) for end in range(len(where.path) - 1, 0, -1))
    return next((path for path in paths if path in names), "")


def _slope(model: Model, where: Place, layer: str, gradient: Array, checks: _Differences | None) -> Slope:
    xp = namespace(gradient)
    return Slope(
        name=where.name.removeprefix(f"{layer}."),
        shape=where.param.shape,
        norm=_norm(gradient),
        largest=float(xp.max(xp.abs(gradient))),
        values=_first(gradient),
        frozen=where.name in model.frozen,
        check=checks.check(where) if checks else None,
    )


def _signal(x: Array) -> Signal:
    return Signal(tuple(x.shape), _norm(x), _first(x[0, ...]))


def _norm(x: Array) -> float:
    xp, x = namespace(x), wide(x)  # half precision counts to 65,504 at most
    return float(xp.sqrt(xp.sum(x * x)))


def _first(x: Array) -> tuple[float, ...]:
    flat = namespace(x).reshape(x, (-1,))
    return tuple(float(flat[i]) for i in range(min(SHOWN, flat.shape[0])))


# --- Formulas ------------------------------------------------------------------------------------------------


def _formula(thing: Layer | Loss) -> str:
    """The first line of the docstring, which is the formula, with its function named."""
    text = _first_line(type(thing)) or "a formula of its own: its class has no docstring"
    if isinstance(thing, Loss):
        return f"{text}; L is their {thing.reduction}" if text.startswith("L_n") else text
    function = thing if isinstance(thing, Activation) else getattr(thing, "activation", None)
    return text if function is None else f"{text}; {_function(activation(function))}"


def _first_line(kind: type) -> str:
    """Without the shapes that follow after a gap; nothing where the dataclass has written it itself."""
    lines = (kind.__doc__ or "").strip().splitlines() or [""]
    return "" if lines[0].startswith(f"{kind.__name__}(") else lines[0].split("    ")[0].rstrip(" .")


def _function(layer: Activation) -> str:
    """What f is: its name, and its formula where it has one."""
    if not isinstance(layer.function, str):
        return f"f = {getattr(layer.function, '__name__', 'a function of your own')}"
    text = (FUNCTIONS[layer.function].value.__doc__ or "").split(". ")[0].rstrip(".")
    options = "".join(f", {name} = {value:g}" for name, value in layer.options.items())
    return f"f = {layer.function}: f(x) = {text.removeprefix('y = ')}{options}"


# --- In words ------------------------------------------------------------------------------------------------


def _heading(told: Explanation) -> list[str]:
    some = f"{told.examples} example{'' if told.examples == 1 else 's'}"
    if told.given > told.examples:
        some = f"{told.examples} of {told.given} examples"
    return [
        f"One step of {told.model}",
        f"with {some}, at inference: dropout lets everything pass, batch normalisation uses its averages.",
    ]


def _forward_text(step: Step) -> list[str]:
    pad = "  " * step.depth
    gives = _told(step.outputs) if step.outputs else f"{step.output_shape}: {RESTS}"
    return [f"{pad}{step.name}  {step.layer}", f"{pad}  {step.formula}", f"{pad}  {step.input_shape} -> {gives}", ""]


def _backward_text(step: Step) -> list[str]:
    pad = "  " * step.depth
    lines = [f"{pad}{step.name}  {step.layer}", f"{pad}  dL/dy in: {_told(step.dy) if step.dy else UNASKED}"]
    for slope in step.slopes:
        lines.append(
            f"{pad}  dL/d{slope.name}: {_size(slope)}, values {_listed(slope.values, slope.shape)}{_frozen(slope)}"
        )
        if slope.check:
            lines.append(f"{pad}    check: {_checked(slope.check)}")
    if step.dx:
        lines.append(f"{pad}  dL/dx out: {_told(step.dx)}")
    return [*lines, ""]


def _told(signal: Signal) -> str:
    values = _listed(signal.values, signal.shape[1:])
    return f"{signal.shape}, norm {_number(signal.norm)}, first example {values}"


def _size(slope: Slope) -> str:
    return f"{slope.shape}, norm {_number(slope.norm)}, largest {_number(slope.largest)}"


def _frozen(slope: Slope) -> str:
    return " (frozen: training leaves it as it is)" if slope.frozen else ""


def _checked(check: Check) -> str:
    return (
        f"along u {check.gradient:.8g}, by finite differences {check.difference:.8g}, relative difference "
        f"{check.relative:.0e}: {_verdict(check)}"
    )


def _verdict(check: Check) -> str:
    return ("ok" if check.ok else "NOT ok") + (" (a little aside: here the loss has a corner)" if check.aside else "")


def _listed(values: Sequence[float], shape: Shape) -> str:
    more = ", ..." if math.prod(shape) > len(values) else ""
    return ", ".join(map(_number, values)) + more


def _number(value: float) -> str:
    return f"{value:.4g}"


# --- In a notebook -------------------------------------------------------------------------------------------


def _forward_row(step: Step) -> tuple[str, str, str, str, str]:
    gives = _listed(step.outputs.values, step.output_shape[1:]) if step.outputs else RESTS
    return (step.name, step.layer, step.formula, f"{step.input_shape} -> {step.output_shape}", gives)


def _backward_rows(step: Step) -> Iterator[tuple[str, ...]]:
    told = f"dL/dy in: {_told(step.dy)}" if step.dy else f"dL/dy in: {UNASKED}"
    yield (step.name, told, "", "", "", "", "", "")
    for slope in step.slopes:
        check = slope.check
        yield (
            "",
            f"dL/d{slope.name}{_frozen(slope)}",
            f"{slope.shape}",
            f"{_number(slope.norm)}, {_number(slope.largest)}",
            _listed(slope.values, slope.shape),
            *((f"{check.gradient:.8g}", f"{check.difference:.8g}", _verdict(check)) if check else ("", "", "")),
        )


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], caption: str) -> str:
    """A table of a page; everything in it is text."""

    def cells(row: tuple[str, ...], tag: str) -> str:
        look = ' style="text-align: left"'
        return "".join(f"<{tag}{look}>{html.escape(cell)}</{tag}>" for cell in row)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    head = f"<thead><tr>{cells(titles, 'th')}</tr></thead>"
    return f"<table><caption>{html.escape(caption)}</caption>{head}<tbody>{body}</tbody></table>"
