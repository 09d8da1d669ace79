"""A graph prepared for computing: which steps run on the host, which only once for a shape, and what is freed when.

What follows from shapes and constants alone, such as the arguments of most Reshape operators, is computed on the host,
once for each combination of input shapes. Nothing of it is read from a device.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from nnarray.backends import host_backend, is_traced
from nnarray.layers.tensors import Tensor
from nnarray.onnx.fusion import Fused, Notes, fused
from nnarray.onnx.graph import Graph, Node, names_read
from nnarray.onnx.operators import operator_for
from nnarray.onnx.operators.common import ENLARGED, GROWTH, MOST, Call, DependsOnValues, Place, read, room
from nnarray.onnx.operators.table import Operator
from nnarray.onnx.steps import DEVICE, FIXED, HOST, Body, Known, Step
from nnarray.recording import constant
from nnarray.typing import Shape

T = TypeVar("T", bound="Step | Fused")
FAULTS = (ValueError, TypeError, IndexError, AttributeError, KeyError, RuntimeError, ArithmeticError)
"""What operators raise for arguments that do not fit."""
REMEMBERED = 8
"""For how many combinations of input shapes the values that follow from them are kept."""


@dataclass
class Memory:
    """What stays from one call to the next in one place: constants on the device, and what follows from shapes."""

    moved: dict[int, Any] = field(default_factory=dict[int, Any])
    settled: list[Any] | None = None
    """All values that follow from constants alone, by their slots ..."""
    fixed: OrderedDict[Any, list[Any]] = field(default_factory=OrderedDict[Any, list[Any]])
    """... and those that follow from shapes, too."""
    kept: dict[Any, Any] = field(default_factory=dict[Any, Any])
    """What fused steps keep of constants."""
    bodies: dict[tuple[int, str], Memory] = field(default_factory=dict[tuple[int, str], "Memory"])

    def of_body(self, step: int, name: str) -> Memory:
        """That of a graph inside a node."""
        return self.bodies.setdefault((step, name), Memory())


class Plan:
    """The steps of a graph.

    Parameters
    ----------
    graph : Graph
    versions : mapping of str to int
        The versions of the operator sets by domain.
    given : mapping of str to Known
        What is known of the inputs, of names around the graph, and of parameters, which replace constants.
    """

    def __init__(self, graph: Graph, versions: Mapping[str, int], given: Mapping[str, Known]) -> None:
        self.slots: dict[str, int] = {}
        self.kinds: list[Known] = []
        self.steps: list[Step] = []
        self.constants: dict[int, Any] = {}
        for name, kind in given.items():
            self._define(name, kind)
        for name, tensor in graph.constants.items():
            if name not in self.slots:
                self.constants[self._define(name, Known(FIXED))] = tensor.values
        for node in graph.nodes:
            self._add(node, versions)
        self.results = [self.slots[value.name] for value in graph.outputs]
        self.settled = self._settled()
        self.settled_slots = {slot for i in self.settled for slot in self.steps[i].outputs}
        self.is_fixed = any(step.level == FIXED for step in self.steps)
        plain = self._freeing(list(enumerate(self.steps)))
        self.steps = [step for _, step in plain]
        self.fused = self._freeing(fused(self.steps, self.constants, self.settled_slots, self.results))
        self.blank = [self.constants.get(slot) for slot in range(len(self.kinds))]
        runs = {False: plain, True: self.fused}
        self._later = {key: [each for each in run if each[1].level != FIXED] for key, run in runs.items()}
        self._first = {key: [each for each in run if each[0] not in self.settled] for key, run in runs.items()}
        self._every = runs

    def _define(self, name: str, kind: Known) -> int:
        self.slots[name] = len(self.kinds)
        self.kinds.append(kind)
        return self.slots[name]

    def _add(self, node: Node, versions: Mapping[str, int]) -> None:
        operator = operator_for(node.domain, node.op, versions[node.domain])
        if operator is None:
            raise ValueError(f"there is no operator {node.label}")
        inputs = tuple(self.slots[name] if name else -1 for name in node.inputs)
        settings = {key: _setting(node, value) for key, value in node.attributes.items()}
        bodies = {key: self._body(node, key, body, versions) for key, body in node.bodies.items()}
        around = {slot for body in bodies.values() for slot in body.outer}
        kind = self._kind(node, operator, inputs, around)
        if node.op == "Constant" and not node.domain and isinstance(node.attributes.get("value"), Tensor):
            self.constants[self._define(node.outputs[0], Known(FIXED))] = node.attributes["value"].values
            return
        outputs = tuple(self._define(name, kind) if name else -1 for name in node.outputs)
        self.steps.append(Step(node, operator, inputs, outputs, settings, bodies, kind.level, ()))

    def _body(self, node: Node, key: str, body: Graph, versions: Mapping[str, int]) -> Body:
        names = sorted(names_read(body))
        given = {name: self.kinds[self.slots[name]] for name in names}
        known = {name: kind if kind.level == DEVICE else Known(HOST) for name, kind in given.items()}
        counts = node.op == "Loop" and key == "body"  # the number of the turn, and whether it goes on
        inputs = {v.name: Known(HOST if counts and i < 2 else DEVICE, False) for i, v in enumerate(body.inputs)}
        return Body(Plan(body, versions, known | inputs), tuple(self.slots[name] for name in names))

    def _kind(self, node: Node, operator: Operator, inputs: tuple[int, ...], around: set[int]) -> Known:
        """What is known of the outputs of a node."""
        known = [self.kinds[slot] for slot in inputs if slot >= 0]
        if node.op in ("Shape", "Size") and not node.domain and len(known) == 1:
            return Known(FIXED if known[0].follows and known[0].level != HOST else HOST)
        if node.bodies or not operator.is_pure:
            return Known(DEVICE, False)
        level = max((kind.level for kind in known), default=FIXED)
        follows = not operator.dynamic and all(
            kind.level == FIXED if i in operator.reads else kind.follows and kind.level != HOST
            for i, kind in enumerate(self.kinds[slot] if slot >= 0 else Known(FIXED) for slot in inputs)
        )
        return Known(level, follows or level == FIXED)

    def _settled(self) -> set[int]:
        """The steps whose results follow from constants alone, and not from shapes of inputs."""
        known = {*self.constants}
        found: set[int] = set()
        for i, step in enumerate(self.steps):
            if step.level == FIXED and step.read <= known:
                found.add(i)
                known.update(step.outputs)
        return found

    def _freeing(self, steps: Sequence[tuple[int, T]]) -> list[tuple[int, T]]:
        """The steps, with the slots that are not needed any more after each."""
        last = {slot: at for at, (_, step) in enumerate(steps) for slot in (*step.read, *step.outputs)}
        kept = {*self.results, -1} | {slot for slot, kind in enumerate(self.kinds) if kind.level == FIXED}
        frees: dict[int, list[int]] = {}
        for slot, at in last.items():
            if slot not in kept:
                frees.setdefault(at, []).append(slot)
        return [
            (i, step._replace(frees=tuple(frees.get(at, ())), is_direct=self._is_direct(step)))
            for at, (i, step) in enumerate(steps)
        ]

    # --- Running -------------------------------------------------------------------------------------------------

    def run(self, place: Place, given: Mapping[str, Any], memory: Memory, shapes: Any = None) -> list[Any]:
        """The outputs, from the values of the names that were given.

        `shapes` identifies the shapes of the inputs; None if nothing may be remembered for them.
        """
        known = memory.fixed.get(shapes) if shapes is not None else None
        values = list(known or memory.settled or self.blank)
        for name, value in given.items():
            values[self.slots[name]] = value
        notes = Notes({}, memory.kept)
        runs = self._later if known else self._first if memory.settled else self._every
        for i, step in runs[not (place.is_recording or place.is_loading)]:
            if isinstance(step, Fused):
                self._run_fused(step, values, place, memory, notes)
            else:
                self.run_step(i, step, values, place, memory)
            for slot in step.frees:
                values[slot] = None
        if known is None and self.is_fixed:
            self.remember(memory, shapes, values)
        return [self._on_device(slot, values, place, memory) for slot in self.results]

    def _run_fused(self, step: Fused, values: list[Any], place: Place, memory: Memory, notes: Notes) -> None:
        """Compute some steps at once, or one by one if they do not fit, or fail: then the error names the operator."""
        try:
            found = step.function(notes, *self._arguments(step, step.reads, values, place, memory))
        except FAULTS:
            found = None
        if found is None:
            for i, part in step.parts:
                self.run_step(i, part, values, place, memory)
        else:
            values[step.output] = found

    def remember(self, memory: Memory, shapes: Any, values: list[Any]) -> None:
        """Keep what follows from constants, and from these shapes of inputs if they are known."""
        if self.settled and memory.settled is None:
            memory.settled = self._with(values, (step for i, step in enumerate(self.steps) if i in self.settled))
        if shapes is not None:
            memory.fixed[shapes] = self._with(values, (step for step in self.steps if step.level == FIXED))
        while len(memory.fixed) > REMEMBERED:
            memory.fixed.popitem(last=False)

    def _with(self, values: list[Any], steps: Iterable[Step]) -> list[Any]:
        """The constants, and the values that some steps have computed."""
        found = list(self.blank)
        for slot in (slot for step in steps for slot in step.outputs if slot >= 0):
            found[slot] = values[slot]
        return found

    def run_step(self, i: int, step: Step, values: list[Any], place: Place, memory: Memory) -> None:
        """Compute one step: from the values of its inputs those of its outputs.

        Raises
        ------
        ValueError
            If it fails; the message names the operator.
        """
        operator, on_host = step.operator, step.level != DEVICE
        try:
            arguments = self._arguments(step, operator.reads, values, place, memory)
            settings = step.settings
            if step.bodies:
                settings = settings | {
                    name: partial(
                        _run_body, body, [values[slot] for slot in body.outer], place, memory.of_body(i, name)
                    )
                    for name, body in step.bodies.items()
                }
            if place.most < MOST:
                refuse_growth(arguments, step.node.op, place.most)
            if operator.wants_call:
                call = Call(place, len(step.outputs), on_host)
                found = operator.function(call, *arguments, **settings)
            else:
                found = operator.function(*arguments, **settings)
        except FAULTS as error:
            raise failed(step, error) from error
        found = found if isinstance(found, tuple) else (found,)
        for slot, value in zip(step.outputs, found, strict=False):
            if slot >= 0:
                values[slot] = _as_array(value) if on_host else value

    def _arguments(
        self, step: Step | Fused, reads: frozenset[int], values: list[Any], place: Place, memory: Memory
    ) -> list[Any]:
        """The values of the inputs, where the step computes."""
        if step.is_direct:
            return [values[slot] for slot in step.inputs]
        arguments: list[Any] = []
        for position, slot in enumerate(step.inputs):
            value = values[slot] if slot >= 0 else None
            if value is not None and position in reads and self.kinds[slot].level == DEVICE:
                value = read(value)
            elif value is not None and position not in reads and step.level == DEVICE:
                value = self._on_device(slot, values, place, memory)
            arguments.append(value)
        return arguments

    def _is_direct(self, step: Step | Fused) -> bool:
        """Whether the step takes all its inputs from where they are."""
        reads = step.operator.reads if isinstance(step, Step) else step.reads
        levels = [self.kinds[slot].level == DEVICE for slot in step.inputs if slot >= 0]
        is_there = all(is_device != (i in reads) for i, is_device in enumerate(levels))
        return len(levels) == len(step.inputs) and (step.level != DEVICE or is_there)

    def _on_device(self, slot: int, values: list[Any], place: Place, memory: Memory) -> Any:
        """The value of a slot where the graph computes."""
        value, level = values[slot], self.kinds[slot].level
        if level == DEVICE or value is None:
            return value
        if slot in self.constants or slot in self.settled_slots:
            moved = memory.moved.get(slot)
            if moved is None:
                moved = moved_to(place, value)
                if not is_traced(moved):
                    memory.moved[slot] = moved
        else:
            moved = moved_to(place, value)
        return constant(moved) if place.is_recording else moved


def failed(step: Step, reason: Exception | str) -> ValueError:
    """Why a step cannot be computed, with the name of its operator."""
    kind = DependsOnValues if isinstance(reason, DependsOnValues) else ValueError
    return kind(f"{step.node.label}: {str(reason).rstrip('.')}.")


def _setting(node: Node, value: Any) -> Any:
    """An attribute as functions take it."""
    if isinstance(value, Tensor):
        return value if node.op == "ConstantOfShape" and not node.domain else value.values
    return float(value) if value in ("inf", "-inf", "nan") else value


JOINED = frozenset(("Concat", "ConcatFromSequence"))
"""Operators whose result has all entries of their arguments."""
PRODUCTS = frozenset(str.split("MatMul Gemm MatMulInteger QLinearMatMul Einsum"))


def refuse_growth(arguments: list[Any], op: str, most: int) -> None:
    """Refuse arrays whose broadcast or product would have more than so many entries.

    Raises
    ------
    ValueError
        If it would.
    """
    flat = [each for x in arguments for each in (x if isinstance(x, tuple) else (x,))]
    shapes = [tuple(x.shape) for x in flat if hasattr(x, "shape")]
    if len(shapes) < 2:
        return
    if op in JOINED:
        room((sum(map(math.prod, shapes)),), max(most, *map(math.prod, shapes)))
        return
    ndim = max(map(len, shapes))
    padded = [(1,) * (ndim - len(shape)) + shape for shape in shapes]
    sizes = [max(each) for each in zip(*padded, strict=True)]
    if op not in PRODUCTS and any(n not in (1, size) for shape in padded for n, size in zip(shape, sizes, strict=True)):
        return  # no broadcast
    largest = max(map(math.prod, shapes))
    room(sizes, max(most, largest, min(GROWTH * largest, ENLARGED) if op in PRODUCTS else 0))


def _run_body(body: Body, around: list[Any], place: Place, memory: Memory, *inputs: Any) -> list[Any]:
    names = [*body.plan.slots]
    given = dict(
        zip([*names[: len(around)], *names[len(around) : len(around) + len(inputs)]], [*around, *inputs], strict=True)
    )
    place.count(len(body.plan.steps) + 1)
    return body.plan.run(place, given, memory)


def _as_array(value: Any) -> Any:
    """Numbers of the host as arrays: functions of arrays without axes may give numbers."""
    if value is None or isinstance(value, tuple):
        return value
    return host_backend().xp.asarray(value)


def moved_to(place: Place, value: Any) -> Any:
    """A value of the host where a graph computes, in the dtype in which it computes."""
    if isinstance(value, tuple):
        return tuple(moved_to(place, each) for each in value)
    be = place.backend
    name = str(value.dtype)
    if name == place.main != place.real:
        return be.asarray(value, dtype=place.real)
    return value if be.library is host_backend().library else be.asarray(value)


def host_names(graph: Graph, versions: Mapping[str, int]) -> set[str]:
    """The inputs that are only read as numbers, such as the shape for Reshape: they stay on the host."""
    readers: dict[str, list[tuple[Node, int]]] = {}
    inside: set[str] = set()
    for node in graph.nodes:
        for position, name in enumerate(node.inputs):
            readers.setdefault(name, []).append((node, position))
        for body in node.bodies.values():
            inside |= names_read(body)
    results = {value.name for value in graph.outputs}
    known: dict[str, bool] = {}

    def is_read(name: str) -> bool:
        if name not in known:
            known[name] = False
            known[name] = (
                name not in results and name not in inside and name in readers and all(map(reads, readers[name]))
            )
        return known[name]

    def reads(reader: tuple[Node, int]) -> bool:
        node, position = reader
        operator = operator_for(node.domain, node.op, versions[node.domain])
        if operator is not None and position in operator.reads:
            return True
        return not node.bodies and node.op in CARRIES and all(is_read(name) for name in node.outputs if name)

    return {value.name for value in graph.inputs if is_read(value.name)}


CARRIES = frozenset(
    str.split(
        "Add Sub Mul Div Cast Concat Equal Gather Identity Not Reshape Slice Squeeze Unsqueeze And Or Less Greater"
    )
)
"""Operators on a few numbers that are computed on the host, if their results are only read as numbers."""


def every_plan(plan: Plan) -> Iterator[Plan]:
    """A plan and those of the graphs inside its nodes."""
    yield plan
    for step in plan.steps:
        for body in step.bodies.values():
            yield from every_plan(body.plan)


Reader = Callable[[Shape], Any]
