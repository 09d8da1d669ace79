"""L-BFGS by SciPy: the only optimizer whose vector leaves the device, as SciPy computes on the host."""

from __future__ import annotations

import math
from typing import Any

from nnarray import kernels
from nnarray.backends import backend_of
from nnarray.functional.propagation import Step, loss_and_gradient
from nnarray.kernels.compilation import compiled
from nnarray.training.callbacks import Run
from nnarray.training.context import (
    UNSOUND,
    DivergenceError,
    TrainingContext,
    interrupts_between_steps,
    saved_if_interrupted,
)
from nnarray.typing import Array


def minimise(context: TrainingContext) -> None:
    """Minimise the loss over theta; each iteration updates the model and the history."""
    try:
        from scipy.optimize import minimize
    except ModuleNotFoundError as error:
        raise ImportError("the optimizer LBFGS needs SciPy; pip install 'nnarray[scipy]'.") from error
    model, data, run = context.model, context.data, context.run
    rule, size = context.settings.optimizer, context.settings.batch_size
    if size is not None and size < data.examples:
        raise ValueError(
            f"LBFGS needs all {data.examples} examples in one batch; got batch_size={size}. Pass batch_size=None."
        )
    x, be, dtype, layout = data.x, backend_of(model.theta), model.theta.dtype, model.wiring.params
    frozen, decays = layout.frozen(model.frozen, model.theta), layout.decays(model.theta)

    def propagate(theta: Array, state: Array, x: Array, target: Array, weights: Array | None) -> Step:
        return loss_and_gradient(model.wiring, theta, state, x, target, weights, context.settings.loss, training=False)

    propagate = compiled(propagate, model.theta)

    def at(vector: Any) -> tuple[Array, Step]:
        theta = be.library.from_host(vector, dtype, be.device)
        return theta, propagate(theta, model.state, x, data.target, data.weights)

    def value_and_gradient(vector: Any) -> tuple[float, Any]:
        check()
        theta, step = at(vector)
        value, gradient = step.loss, step.gradient
        if rule.weight_decay:
            shrunk = rule.weight_decay * (theta if decays is None else theta * decays)
            value = value + 0.5 * be.xp.sum(shrunk * theta)
            gradient = gradient + shrunk
        if frozen is not None:
            gradient = be.xp.where(frozen, 0.0, gradient)
        return float(value), be.to_numpy(gradient).astype(float)

    def iteration(intermediate_result: Any) -> None:
        theta, step = at(intermediate_result.x)
        _refuse_divergence(run, math.isfinite(float(step.loss)) and bool(kernels.all_finite(theta)))
        model.restore((theta, model.state))
        run.history.steps += 1
        going_on = context.end_epoch(float(step.loss), 1.0, [step.outputs], [None])
        if context.writer is not None:
            context.writer.end_epoch(None)
        if not going_on:
            raise StopIteration

    with interrupts_between_steps() as check, saved_if_interrupted(context.writer, None):
        result = minimize(
            value_and_gradient,
            be.to_numpy(model.theta).astype(float),
            jac=True,
            method="L-BFGS-B",
            callback=iteration,
            options={
                "maxiter": run.epochs,
                "maxcor": rule.memory,
                "maxfun": rule.evaluations,
                "gtol": rule.tolerance,
                "ftol": 0.0,
            },
        )
    _refuse_divergence(run, math.isfinite(float(result.fun)))


def _refuse_divergence(run: Run, finite: bool) -> None:
    if not finite:
        if not bool(kernels.all_finite(run.model.theta)):
            raise DivergenceError(UNSOUND)
        raise DivergenceError(
            f"the loss or a parameter became NaN or infinite in iteration {run.epoch + 1} of L-BFGS. Standardise X "
            f"and real targets y, or start with another optimizer. The model keeps its last finite parameters."
        )
