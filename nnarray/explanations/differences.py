"""Gradients against finite differences, which know nothing of the chain rule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nnarray import random
from nnarray.backends import backend_of, device_of, host_backend, namespace
from nnarray.explanations.records import Check
from nnarray.functional.layout import Slot
from nnarray.functional.propagation import Step as Propagated
from nnarray.functional.propagation import Wiring, forward, loss_and_gradient
from nnarray.layers.kinds import mapped
from nnarray.losses import Loss
from nnarray.model import Model
from nnarray.random import Key
from nnarray.training.data import Data, prepare
from nnarray.typing import Array, Inputs

STEPS, TOLERANCE = (1e-6, 1e-4), 1e-4
"""Of finite differences in float64: how far (their error is about step^2 + eps / step), and how far off at most.
The longer step is for gradients that are small beside the rounding of the loss: rounding weighs less in it."""

ROUNDINGS = 10.0
"""How many roundings of the larger of the loss and its outputs a loss may have."""

ASIDE = 1e-2
"""How far the check goes aside where the loss has a corner, in units of the parameters' spread."""


@dataclass(frozen=True)
class Differences:
    """The loss as a function of theta, in as many digits as the device has, and its gradient at two points."""

    model: Model
    data: Data
    loss: Loss

    @classmethod
    def of(cls, model: Model, X: Inputs, y: Array, loss: Loss) -> Differences:
        """Copy the model and the examples to float64: on their device if it has that type, else on the host."""
        be = backend_of(model.theta)
        if "float64" not in be.dtypes:  # a difference of losses needs the digits; the host has them
            be = host_backend()
            X, y = mapped(lambda _, x: be.asarray(x), model.inputs, X), be.asarray(y)
        precise = model.to(be, dtype="float64")
        return cls(precise, prepare(precise, X, y, None, loss), loss)

    @cached_property
    def at_theta(self) -> tuple[Array, Array]:
        """The parameters, and the gradient there."""
        return self.model.theta, self._gradient(self.model.theta)

    @cached_property
    def aside(self) -> tuple[Array, Array]:
        """Parameters a little aside, and the gradient there."""
        theta = self.model.theta
        spread = float(namespace(theta).std(theta)) or 1.0
        moved = theta + ASIDE * spread * self.drawn[0]
        return moved, self._gradient(moved)

    def check(self, where: Slot) -> Check:
        """The check of one parameter; where it fails and passes a little aside, that one: the loss has a corner."""
        at_point = self._at(self.at_theta, where)
        if at_point.ok:
            return at_point
        other = self._at(self.aside, where)
        return other._replace(aside=True) if other.ok else at_point

    def _at(self, point: tuple[Array, Array], where: Slot) -> Check:
        """The check at a point, with the first step beside which rounding is small; else with the last one."""
        theta, whole = point
        u = self._direction(where)
        gradient = float(namespace(theta).sum(whole * u))
        check, is_sharp = self._with_step(theta, u, gradient, STEPS[0])
        return check if is_sharp else self._with_step(theta, u, gradient, STEPS[1])[0]

    def _with_step(self, theta: Array, u: Array, gradient: float, step: float) -> tuple[Check, bool]:
        """The check with a step, and whether rounding is small beside it."""
        (above, scale), (below, scale_below) = self._loss(theta + step * u), self._loss(theta - step * u)
        difference = (above - below) / (2.0 * step)
        apart, size = abs(gradient - difference), max(abs(gradient), abs(difference))
        rounding = ROUNDINGS * float(namespace(theta).finfo(theta.dtype).eps) * max(scale, scale_below) / step
        ok = apart <= TOLERANCE * size + rounding  # not so for nan
        return Check(
            gradient, difference, apart / size if size else apart, ok, aside=False
        ), rounding <= TOLERANCE * size

    def _loss(self, theta: Array) -> tuple[float, float]:
        """The loss, and the size of what is rounded in it: a loss near 0 is a difference of outputs that are not."""
        data, wiring = self.data, self.model.wiring
        outputs = forward(wiring, wiring.params.tree(theta), self.model.state, data.x)
        loss = float(self.loss.of_prepared(outputs, data.target, data.weights)[0])
        return loss, max(abs(loss), float(namespace(outputs).max(namespace(outputs).abs(outputs))))

    def _gradient(self, theta: Array) -> Array:
        return propagated(self.model.wiring, theta, self.model.state, self.data, self.loss).gradient

    def _direction(self, where: Slot) -> Array:
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


def propagated(wiring: Wiring, theta: Array, state: Array, data: Data, loss: Loss) -> Propagated:
    """The step that `value_and_grad` makes."""
    return loss_and_gradient(wiring, theta, state, data.x, data.target, data.weights, loss, training=False)
