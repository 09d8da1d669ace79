"""One step of a network, forward and backward, layer by layer and in words: `nn.explain`.

Nothing here computes a gradient of its own: the step is the one that training makes, with a hook around each layer
that notes what passes.
"""

from __future__ import annotations

from typing import Any

from nnarray.arguments import explained
from nnarray.backends import as_data, backend_of, dtype_name, place, without_record
from nnarray.explanations.differences import Differences, propagated
from nnarray.explanations.examples import spread
from nnarray.explanations.explanation import Explanation
from nnarray.explanations.formulas import formula_of
from nnarray.explanations.losses import loss_arithmetic
from nnarray.explanations.steps import signal_of, signals_of, steps_of
from nnarray.functional.hooks import Passage, with_hooks
from nnarray.kernels.engines import computing
from nnarray.layers.kinds import arrays_in, mapped
from nnarray.model import Model
from nnarray.training.automatic import AUTO, decided, loss_or_auto
from nnarray.training.data import prepare
from nnarray.training.inputs import check_inputs, pick
from nnarray.training.trainee import refuse_other
from nnarray.typing import Array, Inputs


@explained
def explain(model: Model, X: Inputs, y: Array, loss: Any = AUTO, *, check: bool = True) -> Explanation:
    """Show one forward and backward step of a network: what each layer computes, and the gradient it gets.

    For each layer: its formula, the shapes of what comes in and goes out, a few values, and one of them written
    out with its numbers, such as 1.07 · 0.2 + 0.13 · (-1.1) + 0.6 = 0.671. Of attention it is one query: its scores,
    weights and weighted sum; of a recurrent layer, one position. Then, from the loss back,
    dL/dy that comes in, and the gradient of each parameter with its size. Beside each, finite differences along a
    random direction u, (L(p + h u) - L(p - h u)) / 2h, which know nothing of the chain rule and must agree with the
    sum of dL/dp u.

    Parameters
    ----------
    model : Model
        It runs at inference: dropout is off, batch normalisation uses its running averages, and auxiliary heads
        are not run.
    X : array, shape (N, ...), or mapping of str to array
        Of more than 32 examples, 32 are used, spread over the classes and the rows. The choice is always the same.
    y : array
        As for `Model.fit`.
    loss : str or Loss
        "auto" is the loss that the model was trained with, `model.loss`; if it has none, it follows from y as in `fit`.
    check : bool
        Whether to take finite differences: two more forward propagations for each parameter array, in float64, on
        the host where the device has none. For a large network, give it few examples.

    Returns
    -------
    Explanation
        It prints as text, and is shown as tables in a notebook.

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
    >>> explanation = nn.explain(model, X, y)
    >>> print(explanation)  # doctest: +SKIP
    >>> explanation.ok
    True
    >>> [(step.name, step.formula) for step in explanation.steps]
    [('0', 'y = f(x W + b); f = tanh: f(x) = tanh x'), ('1', 'y = f(x W + b); f = identity: f(x) = x')]
    """
    named = loss_or_auto(loss)
    refuse_other(model, "nn.explain(model, X, y)")
    X = mapped(
        lambda _, x: without_record(x), model.inputs, check_inputs(model, X, of_y=tuple(getattr(y, "shape", ())))
    )
    y = without_record(as_data(y, "y"))
    _, chosen = decided(named, model, X, y)
    given = next(arrays_in(X)).shape[0]
    if y.ndim and y.shape[0] == given:  # else what prepares them says what is wrong
        rows = spread(y)
        X, y = (pick(each, backend_of(y).asarray(rows)) for each in (X, y))
    data = prepare(model, X, y, None, chosen)
    passages: dict[str, Passage] = {}
    wiring = model.wiring._replace(network=with_hooks(model.network, passages))
    with computing(model.engine):
        step = propagated(wiring, without_record(model.theta), model.state, data, chosen)
        whole = passages[""]
        assert whole.dy is not None
        checks = Differences.of(model, X, y, chosen) if check else None
        by_hand = loss_arithmetic(chosen, whole.y, data.target, data.weights, whole.dy)
        steps = tuple(steps_of(model, passages, step.gradient, checks, data.examples))
    return Explanation(
        steps=steps,
        loss=float(step.loss),
        loss_name=chosen.label,
        loss_formula=formula_of(chosen),
        loss_arithmetic=by_hand,
        examples=data.examples,
        given=given,
        inputs=signals_of(data.x),
        output_gradient=signal_of(whole.dy),
        model=repr(model),
        place=place(model.theta),
        dtype=dtype_name(model.theta.dtype),
        checked_in="float64" if checks else "",
    )
