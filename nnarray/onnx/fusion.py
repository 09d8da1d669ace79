"""Steps that are computed at once at inference: GELU, layer normalisation, products with a bias, and attention.

Exporters write these as many small operators. Here they are found once, when a graph is prepared. The steps themselves
stay: they compute what is differentiated, written or drawn, and arrays that do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nnarray import kernels
from nnarray.backends import is_traced, library_of, namespace
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.laid_out import affine_of
from nnarray.onnx.operators import TABLE
from nnarray.onnx.operators.activations import softmax
from nnarray.onnx.operators.common import is_float, whole
from nnarray.onnx.steps import DEVICE, FIXED, Step

OWN = {name: {each.function for each in versions} for (domain, name), versions in TABLE.items() if not domain}
"""The functions of operators: one that a user has registered for a known name is never part of something else."""
HIDDEN = -1e30
"""Numbers below hide a key from a query: added to a score, they leave nothing of it."""
ALL = "all"
SAME = 1e-6
ROOM = "room"


class Notes(NamedTuple):
    """What steps leave for later ones."""

    of_run: dict[Any, Any]
    kept: dict[Any, Any]
    """Also for later runs: it follows from constants and shapes."""


class Fused(NamedTuple):
    """Some steps as one function of arrays."""

    parts: tuple[tuple[int, Step], ...]
    """The steps with their numbers, in their order; they compute where the function does not."""
    inputs: tuple[int, ...]
    output: int
    function: Callable[..., Any]
    """The output, from notes and the arrays; None if they do not fit."""
    reads: frozenset[int] = frozenset()
    """The positions of inputs that stay on the host."""
    frees: tuple[int, ...] = ()
    is_direct: bool = False
    level: int = DEVICE

    @property
    def read(self) -> set[int]:
        """The slots that the steps read."""
        return {slot for _, step in self.parts for slot in step.read}

    @property
    def outputs(self) -> tuple[int, ...]:
        """All slots that the steps define."""
        return tuple(slot for _, step in self.parts for slot in step.outputs)


class Found(NamedTuple):
    """Numbers of steps that fit a pattern, the slots that they read, and the function."""

    parts: set[int]
    inputs: tuple[int, ...]
    function: Callable[..., Any]
    reads: frozenset[int] = frozenset()


class Product(NamedTuple):
    """A value as a number times the values of some slots, and the steps between."""

    number: float
    slots: tuple[int, ...]
    parts: set[int]


def fused(
    steps: Sequence[Step], constants: Mapping[int, Any], settled: Iterable[int], results: Iterable[int]
) -> list[tuple[int, Step | Fused]]:
    """The steps with their numbers, and those that fit a pattern as one; `settled` follows from constants alone."""
    graph = _Graph(steps, constants, {*constants, *settled}, {*results})
    at: dict[int, Fused] = {}
    taken: set[int] = set()
    for pattern in (_attention, _gelu, _normalisation, _affine, _moved):
        for i, step in reversed([*enumerate(steps)]):  # the last step of a row is that of the longest pattern
            found = pattern(graph, step) if step.level == DEVICE and i not in taken else None
            if found is not None and graph.is_closed(found.parts, i) and not found.parts & taken:
                parts = tuple((each, steps[each]) for each in sorted(found.parts))
                at[i] = Fused(parts, found.inputs, step.outputs[0], found.function, found.reads)
                taken |= found.parts
    return [(i, at.get(i, step)) for i, step in enumerate(steps) if i in at or i not in taken]


class _Graph:
    """The steps, by the slots that they read and define."""

    def __init__(
        self, steps: Sequence[Step], constants: Mapping[int, Any], settled: set[int], results: set[int]
    ) -> None:
        self.steps, self.constants, self.settled, self.results = steps, constants, settled, results
        self.fixed = {*constants} | {slot for step in steps if step.level == FIXED for slot in step.outputs}
        self.maker = {slot: i for i, step in enumerate(steps) for slot in step.outputs}
        self.readers: dict[int, set[int]] = {}
        for i, step in enumerate(steps):
            for slot in step.read:
                self.readers.setdefault(slot, set()).add(i)

    def made(self, slot: int, *names: str) -> Step | None:
        """The step that makes a value, if it is one of these operators."""
        step = self.steps[self.maker[slot]] if slot in self.maker else None
        return step if step is not None and any(_is(step, name) for name in names) else None

    def number(self, slot: int) -> float | None:
        """The number that a constant is, if it is one."""
        x = self.constants.get(slot)
        return float(x.reshape(())) if x is not None and x.ndim < 2 and x.size == 1 and is_float(x) else None

    def with_number(self, step: Step) -> tuple[float, int] | None:
        """The constant of a step of two inputs, and the other one."""
        for one, other in (step.inputs, step.inputs[::-1]):
            number = self.number(one)
            if number is not None:
                return number, other
        return None

    def product(self, slot: int, *, is_root: bool = True) -> Product:
        """A value as a product, through steps whose results nothing else reads."""
        step = self.made(slot, "Mul", "Div") if is_root or len(self.readers[slot]) == 1 else None
        leaf = Product(1.0, (slot,), set())
        if step is None:
            return leaf
        own = {self.maker[slot]}
        if _is(step, "Div"):
            number = self.number(step.inputs[1])
            if not number:
                return leaf
            x = self.product(step.inputs[0], is_root=False)
            return Product(x.number / number, x.slots, x.parts | own)
        constant = self.with_number(step)
        if constant is not None:
            x = self.product(constant[1], is_root=False)
            return Product(x.number * constant[0], x.slots, x.parts | own)
        a, b = (self.product(each, is_root=False) for each in step.inputs)
        return Product(a.number * b.number, a.slots + b.slots, a.parts | b.parts | own)

    def is_closed(self, parts: set[int], last: int) -> bool:
        """Whether the steps are those of a pattern alone: nothing else reads what is between them."""
        inner = {slot for i in parts for slot in self.steps[i].outputs if slot >= 0} - {self.steps[last].outputs[0]}
        alone = all(self.readers.get(slot, set()) <= parts for slot in inner) and not inner & self.results
        return alone and all(self.steps[i].level == DEVICE for i in parts)


def _is(step: Step, name: str) -> bool:
    return step.node.op == name and not step.node.domain and step.operator.function in OWN[name]


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=SAME)


# --- x Phi(x) ----------------------------------------------------------------------------------------------------


def _gelu(graph: _Graph, step: Step) -> Found | None:
    """Half x (1 + erf(x / sqrt 2)), with the factors in any order."""
    if not _is(step, "Mul"):
        return None
    number, slots, parts = graph.product(step.outputs[0])
    for x, other in (slots, slots[::-1]) if len(slots) == 2 else ():
        added = graph.made(other, "Add")
        one = graph.with_number(added) if added else None
        erf = graph.made(one[1], "Erf") if one and one[0] == 1.0 else None
        inner = graph.product(erf.inputs[0]) if erf else None
        if inner and inner.slots == (x,) and _close(inner.number, math.sqrt(0.5)) and _close(number, 0.5):
            assert one is not None
            between = {graph.maker[other], graph.maker[one[1]]}
            return Found(parts | inner.parts | between, (x,), _computed_gelu)
    return None


def _computed_gelu(_: Notes, x: Any) -> Any:
    return FUNCTIONS["gelu"].value(x) if is_float(x) and x.ndim else None


# --- Normalisation -----------------------------------------------------------------------------------------------


def _normalisation(graph: _Graph, step: Step) -> Found | None:
    """LayerNormalization over the last axis, or the operators of which it consists."""
    if _is(step, "LayerNormalization"):
        epsilon, axis = step.settings.get("epsilon", 1e-5), step.settings.get("axis", -1)
        number = graph.maker[step.outputs[0]]
        has_all = len(step.inputs) == 3 and -1 not in step.inputs
        return Found({number}, step.inputs, _computed_normalisation(epsilon, axis)) if has_all else None
    return _written_out(graph, step) if _is(step, "Add") else None


def _written_out(graph: _Graph, step: Step) -> Found | None:
    """(x - mean) / sqrt(mean of its squares + epsilon) w + b."""
    for scaled, bias in (step.inputs, step.inputs[::-1]):
        times = graph.made(scaled, "Mul")
        for normal, weight in (times.inputs, times.inputs[::-1]) if times else ():
            found = _normalised(graph, normal)
            if found:
                x, epsilon, axis, parts = found
                own = {graph.maker[step.outputs[0]], graph.maker[scaled]}
                return Found(parts | own, (x, weight, bias), _computed_normalisation(epsilon, axis))
    return None


def _normalised(graph: _Graph, slot: int) -> tuple[int, float, int, set[int]] | None:
    """What is normalised, epsilon, the axis, and the steps."""
    path = [slot]

    def inner(name: str, position: int = 0) -> Step | None:
        """The step that makes the last slot of the path; its input follows."""
        step = graph.made(path[-1], name) if path else None
        path.append(step.inputs[position]) if step else path.clear()
        return step

    quotient = inner("Div", 1)
    inner("Sqrt")
    added = graph.made(path[-1], "Add") if path else None
    epsilon = graph.with_number(added) if added else None
    if not quotient or not epsilon:
        return None
    path.append(epsilon[1])
    spread = inner("ReduceMean")
    squared = _squared(graph, path[-1]) if path else None
    differences = [graph.made(each, "Sub") for each in (quotient.inputs[0], squared) if each is not None]
    first, second = differences if len(differences) == 2 else (None, None)
    if not first or not second or first.inputs != second.inputs:
        return None
    x, centre = first.inputs
    mean = graph.made(centre, "ReduceMean")
    axis = _axis(graph, mean)
    if not mean or mean.inputs[0] != x or axis is None or axis != _axis(graph, spread):
        return None
    slots = {*path, first.outputs[0], second.outputs[0], centre}
    return x, epsilon[0], axis, {graph.maker[each] for each in slots}


def _squared(graph: _Graph, slot: int) -> int | None:
    """The slot whose square a value is."""
    power, product = graph.made(slot, "Pow"), graph.made(slot, "Mul")
    if power and graph.number(power.inputs[1]) == 2.0:
        return power.inputs[0]
    return product.inputs[0] if product and product.inputs[0] == product.inputs[1] else None


def _axis(graph: _Graph, step: Step | None) -> int | None:
    """The only axis of a mean that keeps it."""
    if step is None or not step.settings.get("keepdims", 1):
        return None
    axes = graph.constants.get(step.inputs[1]) if len(step.inputs) > 1 else step.settings.get("axes")
    return int(axes[0]) if axes is not None and len(axes) == 1 else None


def _computed_normalisation(epsilon: float, axis: int) -> Callable[..., Any]:
    def function(_: Notes, x: Any, weight: Any, bias: Any) -> Any:
        size = tuple(x.shape[-1:])
        alike = x.dtype == weight.dtype == bias.dtype and tuple(weight.shape) == tuple(bias.shape) == size
        if not alike or not size or axis % x.ndim != x.ndim - 1 or not is_float(x):
            return None
        return kernels.layer_norm(x, weight, bias, epsilon=epsilon)[0]

    return function


# --- Products ----------------------------------------------------------------------------------------------------


def _affine(graph: _Graph, step: Step) -> Found | None:
    """A product with a matrix, and a vector that is added to each row."""
    for product, bias in (step.inputs, step.inputs[::-1]) if _is(step, "Add") else ():
        times = graph.made(product, "MatMul")
        if times:
            parts = {graph.maker[step.outputs[0]], graph.maker[product]}
            slots = (*times.inputs, bias)
            return Found(parts, slots, _computed_affine(slots[1:] if graph.settled.issuperset(slots[1:]) else None))
    return None


def _computed_affine(constants: tuple[int, ...] | None) -> Callable[..., Any]:
    def function(notes: Notes, x: Any, weight: Any, bias: Any) -> Any:
        if constants is None or is_traced(x):
            return kernels.affine(x, weight, bias) if _fit_rows(x, weight, bias) else None
        kept = notes.kept.get(constants)
        if kept is None:
            if not _fit_rows(x, weight, bias):
                return None
            kept = notes.kept[constants] = affine_of(weight, bias, notes.kept.setdefault(ROOM, []))
        return kept(x) if x.ndim > 1 and x.dtype == weight.dtype and x.shape[-1] == weight.shape[0] else None

    return function


def _fit_rows(x: Any, weight: Any, bias: Any) -> bool:
    """Whether these are rows, a matrix, and a vector, of real numbers."""
    alike = x.dtype == weight.dtype == bias.dtype and is_float(x)
    return alike and x.ndim > 1 and weight.ndim == 2 and tuple(bias.shape) == tuple(weight.shape[1:])


# --- Other orders of axes ----------------------------------------------------------------------------------------


def _moved(graph: _Graph, step: Step) -> Found | None:
    """Reshape and Transpose in a row, whose shapes are known from those of the inputs."""
    row: list[Step] = []
    slot, shapes = step.outputs[0], list[int]()
    while (each := graph.made(slot, "Reshape", "Transpose")) and (not row or len(graph.readers[slot]) == 1):
        row.insert(0, each)
        shapes[:0] = each.inputs[1:]
        slot = each.inputs[0]
    if len(row) < 2 or not graph.fixed.issuperset(shapes):
        return None
    parts, functions = {graph.maker[each.outputs[0]] for each in row}, [(e.operator.function, e.settings) for e in row]
    counts = [len(each.inputs) - 1 for each in row]

    own = "moved", step.outputs[0]

    def function(notes: Notes, x: Any, *shapes: Any) -> Any:
        key, last = (tuple(x.shape), *map(whole, shapes)), notes.kept.get(own)
        if last is not None and last[0] == key:  # the same shapes as in the last run
            xp = namespace(x)
            for count, order in zip(counts, last[1], strict=True):
                x = xp.reshape(x, order) if count else xp.permute_dims(x, order)
            return x
        rest, orders = iter(shapes), list[tuple[int, ...]]()
        for (move, settings), count in zip(functions, counts, strict=True):
            x = move(x, next(rest), **settings) if count else move(x, **settings)
            orders.append(tuple(x.shape) if count else tuple(settings.get("perm") or range(x.ndim)[::-1]))
        notes.kept[own] = key, orders
        return x

    return Found(parts, (slot, *shapes), function, frozenset(range(1, 1 + len(shapes))))


# --- Attention ---------------------------------------------------------------------------------------------------


def _attention(graph: _Graph, step: Step) -> Found | None:
    """softmax(scale q k + mask) v, where weights that are nan may be replaced by 0."""
    if not _is(step, "MatMul"):
        return None
    weights, v = step.inputs
    parts = {graph.maker[step.outputs[0]]}
    guard = graph.made(weights, "Where")
    if guard:
        test = graph.made(guard.inputs[0], "IsNaN")
        if not test or test.inputs[0] != guard.inputs[2] or graph.number(guard.inputs[1]) != 0.0:
            return None
        parts |= {graph.maker[weights], graph.maker[guard.inputs[0]]}
        weights = guard.inputs[2]
    smooth = graph.made(weights, "Softmax")
    if smooth is None or smooth.operator.function is not softmax or smooth.settings.get("axis", -1) not in (-1, 3):
        return None
    parts.add(graph.maker[weights])
    scores = smooth.inputs[0]
    added = graph.made(scores, "Add")
    for one, mask in (added.inputs, added.inputs[::-1]) if added else ((scores, None),):
        found = _scores(graph, one)
        if found is not None:
            number, q, keys, between = found
            parts |= between | ({graph.maker[scores]} if added else set())
            inputs = (q, keys, v) if mask is None else (q, keys, v, mask)
            return Found(parts, inputs, _computed_attention(number, mask, is_guarded=guard is not None))
    return None


def _scores(graph: _Graph, slot: int) -> tuple[float, int, int, set[int]] | None:
    """The scale, queries, transposed keys, and the steps of scores."""
    scaled = graph.product(slot)
    (product, *others) = scaled.slots
    times = graph.made(product, "MatMul") if not others else None
    if times is None:
        return None
    q, k = (graph.product(each, is_root=False) for each in times.inputs)
    (queries, *more), (keys, *others) = q.slots, k.slots
    if more or others:
        return None
    parts = scaled.parts | q.parts | k.parts | {graph.maker[product]}
    return scaled.number * q.number * k.number, queries, keys, parts


def _computed_attention(number: float, mask_slot: int | None, *, is_guarded: bool) -> Callable[..., Any]:
    def function(notes: Notes, q: Any, keys: Any, v: Any, mask: Any = None) -> Any:
        owner = library_of(q)
        reads = mask is not None or is_guarded  # values, for which nothing has to wait on the host
        if not _fits(q, keys, v) or owner is None or (reads and not owner.is_host):
            return None
        seen: Any = None
        if mask is not None:
            scores = (*q.shape[:3], keys.shape[3])
            asked = mask_slot, scores, is_guarded  # all layers have the same mask, but not the same scores
            if asked not in notes.of_run:
                notes.of_run[asked] = _seen(mask, scores, is_guarded=is_guarded)
            seen = notes.of_run[asked]
            if seen is None or (seen is not ALL and not _is_finite(keys)):  # nan is not hidden by a number
                return None
        factor = number * math.sqrt(q.shape[3])
        q = q if _close(factor, 1.0) else q * factor
        k = namespace(keys).permute_dims(keys, (0, 1, 3, 2))
        shown: Any = None if seen is ALL else seen
        y = kernels.attention(q, k, v, shown, None)[0]
        return None if reads and not _is_finite(y) else y

    return function


def _fits(q: Any, keys: Any, v: Any) -> bool:
    """Whether these are queries, transposed keys and values of the same examples and heads."""
    if not (q.ndim == keys.ndim == v.ndim == 4 and is_float(q) and q.dtype == keys.dtype == v.dtype):
        return False
    own, features, count = tuple(q.shape[:2]), q.shape[3], keys.shape[3]
    return tuple(keys.shape) == (*own, features, count) and tuple(v.shape) == (*own, count, features) and count > 0


def _is_finite(x: Any) -> bool:
    return math.isfinite(float(x.sum()))


def _seen(mask: Any, shape: tuple[int, ...], *, is_guarded: bool) -> Any:
    """The keys that each example sees, or ALL, by numbers that are 0 for them and -inf for others; None if they differ.

    A mask of several heads, or one that differs from query to query, does not fit scores of this shape; nor does one
    that would broadcast them. Nor does an example that sees no key, unless its weights are guarded and nan: those of
    keys that are hidden by -inf are, and finite numbers leave the mean of all values.
    """
    if mask.ndim > 4 or not is_float(mask):
        return None
    xp = namespace(mask)
    whole: Any = xp.reshape(mask, (1,) * (4 - mask.ndim) + tuple(mask.shape))
    examples, heads, queries, keys = map(int, whole.shape)
    if heads != 1 or keys != shape[3] or queries not in (1, shape[2]) or examples not in (1, shape[0]):
        return None
    seen = whole == 0
    if seen.all():
        return ALL
    hidden = whole < max(HIDDEN, float(xp.finfo(whole.dtype).min))  # no number of float16 is as low
    if not (seen | hidden).all() or not (seen == seen[:, :, :1]).all():
        return None
    seen = seen[:, 0, 0]
    is_blind = ~seen.any(axis=1)
    if is_blind.any() and not (is_guarded and (whole[is_blind, ...] == -xp.inf).all()):
        return None
    return xp.broadcast_to(seen, (shape[0], keys))
