"""A graph prepared for inference on the host: filters laid out once, batch normalisation merged, channels last.

Convolutions, poolings and dense layers of a graph become the stages of which an engine makes those of layers. What is
between them keeps its channels last. All other operators compute as they do elsewhere, with channels first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from nnarray.backends import backend_of, dtype_name, namespace
from nnarray.kernels.functions import FUNCTIONS, Function
from nnarray.kernels.standard.windows import Window
from nnarray.onnx.operators.activations import KERNELS
from nnarray.onnx.operators.common import Place
from nnarray.onnx.operators.convolution import refuse_channels
from nnarray.onnx.operators.windows import Windows
from nnarray.onnx.plan import Memory, Plan, failed
from nnarray.onnx.steps import DEVICE, FIXED, Step

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
IDENTITY = "identity"
SAME = frozenset(
    str.split("Abs Ceil Clip Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg Relu Selu Sigmoid")
    + str.split("Softplus Softsign Sqrt Swish Tanh Identity Dropout")
)
"""Operators of one array and each of its entries, for which the order of the axes does not matter."""
PAIRS = frozenset(str.split("Add Sub Mul Div Max Min Sum"))
Values = list[Any]
Action = Callable[[Values], None]


class Parts(NamedTuple):
    """A stage whose outputs may be written into some channels of an array: what it reads, its window, its channels."""

    step: Step
    stage: Any
    takes: Callable[[int], None]  # raises if it does not take so many channels
    window: Callable[[Any], Window]
    channels: Callable[[Any], int]


class Lowered:
    """The steps of a plan, for one value of the parameters.

    Parameters
    ----------
    plan : Plan
    params : mapping of str to array
        The parameters by name, of the host's library.
    engine : object
        What makes stages: `convolution`, `max_pool` and `dense`.
    main : str
        The dtype of most real numbers in the file.
    """

    def __init__(self, plan: Plan, params: Mapping[str, Any], engine: Any, main: str) -> None:
        self.plan, self.engine, self.memory = plan, engine, Memory()
        like = next(iter(params.values()))
        self.place = Place(backend_of(like), main, dtype_name(like.dtype))
        self.known: dict[int, Any] = {plan.slots[name]: value for name, value in params.items()}
        self.readers = Counter(slot for step in plan.steps for slot in step.read)
        self.readers.update(plan.results)
        self.reader = {slot: i for i, step in enumerate(plan.steps) for slot in step.read}
        self.is_last: set[int] = set()
        self.later: dict[int, Parts] = {}  # stages that run when their outputs are joined
        self.held: set[int] = set()  # what these read; it is freed after them
        self.done: set[int] = set()  # steps that are part of an earlier one
        self.actions: dict[int, Action] = {}
        for i, step in enumerate(plan.steps):
            if i not in self.done and step.level == DEVICE:
                action = self._action(i, step)
                if action is not None:
                    self.actions[i] = action

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        """The output for inputs by name."""
        plan, shapes = self.plan, tuple(tuple(value.shape) for value in inputs.values())
        fixed = self.memory.fixed.get(shapes)
        values = list(fixed or plan.blank)
        for slot, value in self.known.items():
            values[slot] = value
        for name, value in inputs.items():
            values[plan.slots[name]] = value
        for i, step in enumerate(plan.steps):
            if i in self.done or (fixed is not None and step.level == FIXED):
                continue
            action = self.actions.get(i)
            if action is not None:
                action(values)
            else:
                self._run(i, step, values)
            for slot in step.frees:
                if slot not in self.known and slot not in self.held:
                    values[slot] = None
        if fixed is None:
            plan.remember(self.memory, shapes, values)
        (result,) = plan.results
        return self._first(values, result)

    def _run(self, i: int, step: Step, values: Values) -> None:
        """A step with channels first."""
        turned = step.read & self.is_last
        kept = {slot: values[slot] for slot in turned}
        for slot in turned:
            values[slot] = self._first(values, slot)
        self.plan.run_step(i, step, values, self.place, self.memory)
        for slot, value in kept.items():
            values[slot] = value

    # --- Which steps become stages ----------------------------------------------------------------------------------

    def _action(self, i: int, step: Step) -> Action | None:
        """The step as a function of all values, if it is one that keeps channels last or is a product with weights."""
        op = step.node.op if not step.node.domain else ""
        made = {"Conv": self._convolution, "MaxPool": self._max_pool, "Gemm": self._gemm}
        if op == "Concat":
            return self._concat(i, step)
        if op in made:
            return made[op](step)
        if op in SAME and step.inputs[0] in self.is_last and not any(slot in self.is_last for slot in step.inputs[1:]):
            return self._as_it_is(i, step)
        if op in PAIRS and all(slot in self.is_last for slot in step.inputs):
            return self._as_it_is(i, step)
        if op == "GlobalAveragePool" and step.inputs[0] in self.is_last:
            return self._mean(step)
        if op == "BatchNormalization" and step.inputs[0] in self.is_last:
            return self._scaled(step)
        return None

    def _as_it_is(self, i: int, step: Step) -> Action:
        self.is_last.add(step.outputs[0])
        return lambda values: self.plan.run_step(i, step, values, self.place, self.memory)

    def _mean(self, step: Step) -> Action:
        (source,), (to,) = step.inputs, step.outputs
        self.is_last.add(to)

        def action(values: Values) -> None:
            values[to] = namespace(values[source]).mean(values[source], axis=(1, 2), keepdims=True)

        return action

    def _scaled(self, step: Step) -> Action | None:
        found = self._normalisation(step)
        if found is None:
            return None
        (factor, shift), source, to = found, step.inputs[0], step.outputs[0]
        self.is_last.add(to)

        def action(values: Values) -> None:
            x = values[source]
            if x.shape[3] != factor.shape[0]:
                raise failed(step, f"{x.shape[3]} channels do not fit statistics of {factor.shape[0]}")
            values[to] = x * factor + shift

        return action

    def _value(self, slot: int) -> Any:
        """A parameter or a constant; None if the slot is neither."""
        if slot in self.known:
            return self.known[slot]
        constant = self.plan.constants.get(slot)
        return (
            None
            if constant is None
            else self.place.backend.asarray(constant, dtype=self.place.name(str(constant.dtype)))
        )

    def _normalisation(self, step: Step) -> tuple[Any, Any] | None:
        """The factor and the shift of a batch normalisation with stored statistics."""
        numbers = [self._value(slot) for slot in step.inputs[1:]]
        if step.settings.get("training_mode") or any(each is None for each in numbers):
            return None
        scale, bias, mean, variance = numbers
        if len({tuple(each.shape) for each in numbers}) > 1:
            return None  # the operator says so
        factor = scale / namespace(scale).sqrt(variance + step.settings.get("epsilon", 1e-5))
        return factor, bias - mean * factor

    def _following(self, slot: int, *ops: str) -> Step | None:
        """The only step that reads a value, if it is one of these operators."""
        if self.readers[slot] != 1 or slot in self.plan.results:
            return None
        step = self.plan.steps[self.reader[slot]]
        return step if step.node.op in ops and not step.node.domain and step.inputs[0] == slot else None

    def _absorbed(self, slot: int) -> tuple[int, str]:
        """The activation that follows a value, and where its outputs go."""
        after = self._following(slot, *KERNELS)
        if after is None or after.node.op == "Selu":
            return slot, IDENTITY
        self.done.add(self.reader[slot])
        return after.outputs[0], KERNELS[after.node.op]

    def _convolution(self, step: Step) -> Action | None:
        numbers = [self._value(slot) for slot in step.inputs[1:]]
        if any(each is None for each in numbers) or numbers[0].ndim != 4:
            return None
        weight, bias, to = numbers[0], numbers[1] if len(numbers) > 1 else None, step.outputs[0]
        if bias is not None and tuple(bias.shape) != tuple(weight.shape[:1]):
            return None  # the operator says so
        norm = self._following(to, "BatchNormalization")
        merged = self._normalisation(norm) if norm is not None else None
        if norm is not None and merged is not None and merged[0].shape[0] == weight.shape[0]:
            factor, shift = merged
            self.done.add(self.reader[to])
            weight, to = weight * namespace(weight).reshape(factor, (-1, 1, 1, 1)), norm.outputs[0]
            bias = shift if bias is None else bias * factor + shift
        to, name = self._absorbed(to)
        self.is_last.add(to)
        settings, groups = step.settings, step.settings.get("group", 1)
        filters = _copied(namespace(weight).permute_dims(weight, (2, 3, 1, 0)))
        count, shape = int(weight.shape[0]), tuple(weight.shape)
        stage = _Late(lambda window: self.engine.convolution(filters, bias, window, groups, FUNCTIONS[name]))

        def window(x: Any) -> Window:
            return _window(x, weight.shape[2:], settings)

        takes = partial(refuse_channels, shape=shape, groups=groups)
        return self._placed(Parts(step, stage, takes, window, lambda x: count), to)

    def _max_pool(self, step: Step) -> Action | None:
        if len(step.outputs) != 1 or step.inputs[0] not in self.is_last:
            return None
        settings, to = step.settings, step.outputs[0]
        self.is_last.add(to)

        def window(x: Any) -> Window:
            return _window(x, settings["kernel_shape"], settings)

        stage = _Late(self.engine.max_pool)
        return self._placed(Parts(step, stage, lambda channels: None, window, lambda x: int(x.shape[3])), to)

    def _placed(self, parts: Parts, to: int) -> Action:
        """The stage at its step; or later, if its outputs are only joined with others."""
        after = self._following_concat(to)
        if after is not None:
            self.later[to] = parts
            self.held.add(parts.step.inputs[0])
            return lambda values: None

        def action(values: Values) -> None:
            x = self._inputs(values, parts)
            values[to] = parts.stage(parts.window(x), x)

        return action

    def _inputs(self, values: Values, parts: Parts) -> Any:
        """What a stage reads, channels last; raises, as the operator would, if it does not take that."""
        (source, *_), x = parts.step.inputs, values[parts.step.inputs[0]]
        if x.ndim != 4:
            raise failed(parts.step, f"it takes images, (batch, channels, height, width); got shape {tuple(x.shape)}")
        x = self._as_last(values, source)
        try:
            parts.takes(int(x.shape[3]))
        except ValueError as error:
            raise failed(parts.step, error) from error
        return x

    def _following_concat(self, slot: int) -> Step | None:
        if self.readers[slot] != 1 or slot in self.plan.results:
            return None
        step = self.plan.steps[self.reader[slot]]
        is_joined = step.node.op == "Concat" and not step.node.domain and step.settings.get("axis") == 1
        return step if is_joined else None

    def _concat(self, i: int, step: Step) -> Action | None:
        if step.settings.get("axis") != 1 or not all(slot in self.is_last for slot in step.inputs):
            waiting = {slot: self.later[slot] for slot in step.inputs if slot in self.later}

            def action(values: Values) -> None:
                for slot, part in waiting.items():
                    x = self._inputs(values, part)
                    values[slot] = part.stage(part.window(x), x)
                self._run(i, step, values)

            return action
        self.is_last.add(step.outputs[0])
        return self._joined(step, [self.later.get(slot) for slot in step.inputs])

    def _joined(self, step: Step, parts: list[Parts | None]) -> Action:
        to, at = step.outputs[0], self.plan.steps.index(step)
        read = {part.step.inputs[0] for part in parts if part is not None}
        freed = {slot for slot in read if self.reader[slot] <= at} & self.held

        def action(values: Values) -> None:
            sources: list[Any] = [None if part is None else self._inputs(values, part) for part in parts]
            sizes = [
                values[slot].shape[3] if part is None else part.channels(x)
                for slot, part, x in zip(step.inputs, parts, sources, strict=True)
            ]
            first = next((i for i, part in enumerate(parts) if part is not None), None)
            if first is None:
                values[to] = namespace(values[step.inputs[0]]).concat([values[slot] for slot in step.inputs], axis=3)
                return
            places = [
                tuple(values[slot].shape[:3])
                if part is None
                else (x.shape[0], *part.window(x).output_size(x.shape[1:3]))
                for slot, part, x in zip(step.inputs, parts, sources, strict=True)
            ]
            if len({*places}) > 1:
                each = ", ".join(f"({n}, {size}, {h}, {w})" for (n, h, w), size in zip(places, sizes, strict=True))
                raise failed(step, f"arrays of shapes {each} cannot be joined along axis 1")
            xp, x = namespace(sources[first]), sources[first]
            y = xp.empty((*places[0], sum(sizes)), dtype=x.dtype)
            start = 0
            for slot, each, source, size in zip(step.inputs, parts, sources, sizes, strict=True):
                if each is None:
                    y[..., start : start + size] = values[slot]
                else:
                    each.stage(each.window(source), source, y, start)
                start += size
            values[to] = y
            for slot in freed:
                values[slot] = None

        return action

    def _gemm(self, step: Step) -> Action | None:
        numbers = [self._value(slot) for slot in step.inputs[1:]]
        settings = step.settings
        plain = settings.get("alpha", 1.0) == settings.get("beta", 1.0) == 1.0 and not settings.get("transA")
        if not plain or any(each is None for each in numbers) or (len(numbers) > 1 and numbers[1].ndim != 1):
            return None
        weight, bias, source = numbers[0], numbers[1] if len(numbers) > 1 else None, step.inputs[0]
        if bias is not None and bias.shape[0] != weight.shape[0 if settings.get("transB") else 1]:
            return None
        inner = int(weight.shape[1 if settings.get("transB") else 0])
        to, name = self._absorbed(step.outputs[0])
        function: Function = FUNCTIONS[name]
        stage = self.engine.dense(_copied(weight.T) if settings.get("transB") else weight, bias, function)

        def action(values: Values) -> None:
            x = self._first(values, source)
            if x.ndim < 1 or x.shape[-1] != inner:
                raise failed(
                    step, f"inputs of shape {tuple(x.shape)} do not fit a product with {inner} rows of weights"
                )
            values[to] = stage(x)

        return action

    # --- Layouts ------------------------------------------------------------------------------------------------------

    def _first(self, values: Values, slot: int) -> Any:
        return _turned(values[slot], FIRST) if slot in self.is_last else values[slot]

    def _as_last(self, values: Values, slot: int) -> Any:
        return values[slot] if slot in self.is_last else _turned(values[slot], LAST)


class _Late:
    """A stage that is made when its window is known; the size of images is the same in each call."""

    def __init__(self, make: Callable[[Window], Any]) -> None:
        self.make = make
        self.stages: dict[Window, Any] = {}

    def __call__(self, window: Window, x: Any, y: Any = None, first: int = 0) -> Any:
        stage = self.stages.get(window)
        if stage is None:
            stage = self.stages[window] = self.make(window)
        return stage(x, y, first)


def _turned(x: Any, order: tuple[int, ...]) -> Any:
    return namespace(x).permute_dims(x, order)


def _copied(x: Any) -> Any:
    """A copy whose entries lie one after the other."""
    xp = namespace(x)
    return xp.reshape(xp.reshape(x, (-1,)), tuple(x.shape))


def _window(x: Any, size: Any, settings: Mapping[str, Any]) -> Window:
    """The window over images with channels last, from the settings of an operator."""
    shape, ceil = x.shape[1:3], bool(settings.get("ceil_mode"))
    strides, dilations, pads = (settings.get(each) for each in ("strides", "dilations", "pads"))
    windows = Windows.over(shape, size, strides, dilations, pads, settings.get("auto_pad", "NOTSET"), ceil=ceil)
    rows, columns = windows.padding_for(shape) if ceil else windows.pads
    (height, width), (down, across), (tall, wide) = windows.size, windows.stride, windows.dilation
    return Window((height, width), (down, across), (rows, columns), (tall, wide))
