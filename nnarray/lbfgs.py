"""L-BFGS by SciPy: the one optimizer whose vector leaves the device, for SciPy computes on the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nnarray.backends import backend_of
from nnarray.callbacks import Run
from nnarray.losses import Loss
from nnarray.optimizers import LBFGS
from nnarray.propagation import loss_and_gradient
from nnarray.training import Data, Finished, Judge, Trainee, decay_mask
from nnarray.typing import Array


def minimise(
    rule: LBFGS,
    model: Trainee,
    data: Data,
    loss: Loss,
    run: Run,
    judge: Judge,
    watchers: list[Any],
    show: Callable[[dict[str, float]], None],
    frozen: Array | None,
) -> None:
    """Minimise the loss over theta; the model and the history follow at each iteration."""
    try:
        from scipy.optimize import minimize
    except ModuleNotFoundError as error:
        raise ImportError("the optimizer LBFGS needs SciPy; pip install 'nnarray[scipy]'.") from error
    here = backend_of(model.theta)
    xp, dtype = here.xp, model.theta.dtype
    decays = decay_mask(model) if rule.weight_decay else None
    started = time.perf_counter()

    def on_device(vector: Any) -> Array:
        return here.library.from_host(vector, dtype, here.device)

    def value_and_gradient(vector: Any) -> tuple[float, Any]:
        theta = on_device(vector)
        found = loss_and_gradient(
            model.wiring, theta, model.state, data.x, data.target, data.weights, loss, training=False
        )
        value, gradient = found.loss, found.gradient
        if rule.weight_decay:
            shrunk = theta if decays is None else theta * decays
            value = value + 0.5 * rule.weight_decay * xp.sum(shrunk * shrunk)
            gradient = gradient + rule.weight_decay * shrunk
        if frozen is not None:
            gradient = xp.where(frozen, 0.0, gradient)
        return float(value), here.to_numpy(
            xp.astype(gradient, xp.float64) if "float64" in here.dtypes else gradient
        ).astype(float)

    def iteration(intermediate_result: Any) -> None:
        theta = on_device(intermediate_result.x)
        found = loss_and_gradient(
            model.wiring, theta, model.state, data.x, data.target, data.weights, loss, training=False
        )
        model.restore((theta, model.state))
        run.history.steps += 1
        row = {"epoch": float(run.epoch + 1), "loss": float(found.loss)}
        row |= judge.on_training(data, Finished([], [], [None], [found.outputs])) | judge.held_out_row()
        run.history.append({**row, "lr": 1.0, "seconds": time.perf_counter() - started})
        show(row)
        for watcher in watchers:
            watcher.on_epoch_end(run)
        if run.stopped:
            raise StopIteration

    minimize(
        value_and_gradient,
        here.to_numpy(model.theta).astype(float),
        jac=True,
        method="L-BFGS-B",
        callback=iteration,
        options={"maxiter": run.epochs, "maxcor": rule.memory, "gtol": rule.tolerance, "ftol": 0.0},
    )
