"""The rule of a training: its steps as pure functions of arrays, from settings alone."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from nnarray.backends import namespace, same_place
from nnarray.functional.precision import loss_and_gradient_in, loss_and_gradients_in
from nnarray.functional.propagation import Step as Propagated
from nnarray.functional.propagation import Wiring, loss_and_gradient, loss_and_gradients
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.losses import Loss
from nnarray.optimizers import Optimizer
from nnarray.optimizers.transforms import ClipNorm, LossScale
from nnarray.random import Key
from nnarray.training.augmenting import Augmentation, augmented
from nnarray.training.data import mass_of
from nnarray.training.keys import is_ours, key_of
from nnarray.training.precision import scaling_in, taken_if_good
from nnarray.training.state import AVERAGE
from nnarray.typing import Array, Tree


class Masks(NamedTuple):
    """Vectors that are the same in each step, with a number for each entry of theta; None where all are alike."""

    decays: Array | None = None
    frozen: Array | None = None
    rate_factors: Array | None = None
    """By what the rate is multiplied, if groups have rates of their own."""


@dataclass(frozen=True)
class Rule:
    """The settings of the steps of a training.

    It holds no arrays and no data, so that a compiled step may be kept and used by another training.
    """

    wiring: Wiring
    loss: Loss
    optimizer: Optimizer
    ema: float | None = None
    """The decay of the moving average of theta per step, if there is one."""
    precision: str | None = None
    """The dtype in which the layers compute, if not theta's."""
    augment: Augmentation | None = None
    """A function that changes each batch at random, if there is one."""

    @property
    def scaling(self) -> LossScale | None:
        """The loss scale, if there is one."""
        return scaling_in(self.precision)

    @property
    def norm(self) -> float | None:
        """To what norm the optimizer shortens gradients before it does anything else; None if it does not."""
        first = self.optimizer.transforms[1:2]  # nothing is frozen
        whole = type(self.optimizer).update is Optimizer.update
        return self.optimizer.clip_norm if whole and first == (ClipNorm(self.optimizer.clip_norm or 1.0),) else None

    @property
    def is_by_parameter(self) -> bool:
        """Whether `update` may take the parameters one by one."""
        return self.scaling is None and self.optimizer.is_by_entry

    def key(self, *others: Any) -> Hashable | None:
        """The key of a compiled step, with other settings of it. The rate is left out: a step reads it as a number."""
        own, added = self._own_key, key_of(*others)
        return None if own is None or added is None else (own, added)

    @cached_property
    def _own_key(self) -> Hashable | None:
        """The key of the rule alone, for all of its steps: to walk through a large network takes a while."""
        if not is_ours(type(self.optimizer)):
            return None
        return key_of(replace(self, optimizer=replace(self.optimizer, lr=1.0)))

    def scale(self, slots: dict[str, Array]) -> Any:
        """The factor of the loss in the backward pass."""
        return 1.0 if self.scaling is None else slots["loss_scale"]

    def numbers(self, rate: Any, step: Any) -> dict[str, Any]:
        """The numbers of a step, counted from 0; with a loss scale only the device knows the number of steps taken."""
        return self.optimizer.numbers(rate, step + 1) if self.scaling is None else {"rate": rate}

    def gradient(
        self,
        theta: Array,
        state: Array,
        x: Any,
        target: Array,
        weights: Array | None,
        words: Any,
        index: Any,
        scale: Any,
    ) -> Propagated:
        """The loss and its gradient, in at least float32."""
        given: Any
        x = self._changed(x, words, index)
        given, settings = (self.wiring, theta, state, x, target, weights, self.loss), _draws(words, index)
        if self.precision is None:
            return loss_and_gradient(*given, **settings)
        return loss_and_gradient_in(self._low(theta), scale, *given, **settings)

    def gradients(self, tree: Tree, state: Array, batch: tuple[Any, ...], words: Any, index: Any) -> Propagated:
        """The loss, and its gradient in a tree as the parameters are; `batch` is x, target and weights."""
        given: Any
        x, *answers = batch
        batch = self._changed(x, words, index), *answers
        given, settings = (self.wiring, tree, state, *batch, self.loss), _draws(words, index)
        if self.precision is None:
            return loss_and_gradients(*given, **settings)
        return loss_and_gradients_in(self._low(state), 1.0, *given, **settings)

    def _changed(self, x: Any, words: Any, index: Any) -> Any:
        """The inputs of a step, augmented if they are to be."""
        return x if self.augment is None else augmented(self.augment, x, Key(*words).fold("augment").fold(index))

    def _low(self, like: Array) -> Any:
        return getattr(namespace(like), self.precision or "")

    def step(
        self,
        masks: Masks,
        theta: Array,
        state: Array,
        slots: dict[str, Array],
        x: Any,
        target: Array,
        weights: Array | None,
        numbers: dict[str, Any],
        words: tuple[Any, Any],
        index: Any,
    ) -> tuple[Any, ...]:
        """One update: a pure function of its arguments, except for those that the optimizer consumes."""
        found = self.gradient(theta, state, x, target, weights, words, index, self.scale(slots))
        theta, state, slots = self.advance(masks, (theta, state, slots), found.gradient, found.state, numbers, index)
        return theta, state, slots, found.loss, found.outputs

    def step_by_parameter(
        self,
        masks: Sequence[Masks],
        parts: list[Array],
        state: Array,
        slots: Sequence[dict[str, Array]],
        x: Any,
        target: Array,
        weights: Array | None,
        numbers: dict[str, Any],
        words: tuple[Any, Any],
        index: Any,
    ) -> tuple[Any, ...]:
        """As `step`, for masks, parameters and slots that are already divided: nothing is cut or joined."""
        layout = self.wiring.params
        found = self.gradients(layout.nested(parts), state, (x, target, weights), words, index)
        each = zip(masks, parts, layout.leaves(found.gradient), slots, strict=True)
        after = [self.update(*one, numbers, index > 0) for one in each]
        return [part for part, _ in after], found.state, [own for _, own in after], found.loss, found.outputs

    def advance(
        self,
        masks: Masks,
        before: tuple[Array, Array, dict[str, Array]],
        gradient: Array,
        state: Array,
        numbers: dict[str, Any],
        index: Any,
    ) -> tuple[Array, Array, dict[str, Array]]:
        """theta, state and slots after a step; unchanged if there is a loss scale and the gradient was not finite."""
        layout = self.wiring.params
        if self.scaling is None:
            theta, slots = self.update(masks, before[0], gradient, before[2], numbers, index > 0, layout)
            return theta, state, slots

        def update(theta: Array, gradient: Array, slots: dict[str, Array], taken: Any) -> Any:
            counted = self.optimizer.numbers(numbers["rate"], taken + 1.0)
            return self.update(masks, theta, gradient, slots, counted, namespace(taken).minimum(taken, 1.0), layout)

        return taken_if_good(self.scaling, before, gradient, state, update)

    def update(
        self,
        masks: Masks,
        theta: Array,
        gradient: Array,
        slots: dict[str, Array],
        numbers: dict[str, Any],
        begun: Any,
        layout: Any = None,
    ) -> tuple[Array, dict[str, Array]]:
        """The update from the gradient: the pipeline, then the average of theta, which begins with the first step."""
        own = {name: slot for name, slot in slots.items() if name != AVERAGE}
        theta, own = self.optimizer.update(theta, gradient, own, numbers, layout=layout, **masks._asdict())
        if self.ema is None:
            return theta, own
        part = 1.0 - self.ema * begun
        # exact where theta does not change
        average = slots[AVERAGE] + part * (at_least_float32(theta) - slots[AVERAGE])
        return theta, own | {AVERAGE: average}

    def gather(
        self,
        theta: Array,
        state: Array,
        gradient: Array,
        mass: Any,
        x: Any,
        target: Array,
        weights: Array | None,
        words: tuple[Any, Any],
        index: Any,
        scale: Any,
    ) -> tuple[Any, ...]:
        """Add the gradient of one more batch to the sum or the mean of those before, whose weight is `mass`."""
        found = self.gradient(theta, state, x, target, weights, words, index, scale)
        own, part = at_least_float32(found.gradient), 1.0
        if self.loss.reduction == "sum":
            gradient = gradient + own
        else:
            own_mass = float(target.shape[0]) if weights is None else mass_of(weights)
            mass = mass + own_mass
            part = own_mass / (mass if weights is None else same_place(w=weights).where(mass > 0, mass, 1.0))
            gradient = gradient + part * (own - gradient)
        return gradient, mass, found.state, found.loss, found.outputs


@dataclass(frozen=True)
class WholeUpdate:
    """The update of a rule as an optimizer's: whether it is the first step is one more number."""

    rule: Rule

    def numbers(self, rate: Any, step: Any) -> dict[str, Any]:
        """The numbers of a step, counted from 1."""
        own = self.rule.optimizer.numbers(rate, step)
        return own if self.rule.ema is None else own | {BEGUN: 1.0 * (step > 1)}

    def update(
        self, theta: Any, gradient: Any, slots: dict[str, Any], numbers: dict[str, Any], **masks: Any
    ) -> tuple[Any, dict[str, Any]]:
        """As `Rule.update`."""
        own = dict(numbers)
        begun = None if self.rule.ema is None else own.pop(BEGUN)
        return self.rule.update(Masks(**masks), theta, gradient, slots, own, begun)


BEGUN = "begun"
"""1 after the first step, else 0."""


def _draws(words: Any, index: Any) -> dict[str, Any]:
    """How the layers draw in a step of a training."""
    return {"training": True, "key": Key(*words), "step": index}
