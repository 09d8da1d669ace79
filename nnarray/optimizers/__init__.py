"""Optimizers: rules that update the vector of parameters."""

# pyright: reportUnusedImport=false

from __future__ import annotations

from typing import Any

from nnarray.arguments import explain_classes
from nnarray.checks import holds
from nnarray.names import also, named, shown, spelled
from nnarray.optimizers.adaptive import Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop
from nnarray.optimizers.base import Minimiser, Optimizer
from nnarray.optimizers.by_parameter import LAMB, Muon
from nnarray.optimizers.descent import SGD, Lion
from nnarray.optimizers.lbfgs import LBFGS

OPTIMIZERS: dict[str, Any] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "adamax": Adamax,
    "nadam": NAdam,
    "radam": RAdam,
    "lion": Lion,
    "lamb": LAMB,
    "muon": Muon,
    "lbfgs": LBFGS,
}


ALSO = also(
    sgd="gd gradient_descent stochastic_gradient_descent",
    lbfgs="l_bfgs_b",
    absent="momentum sgdm nesterov nag asgd adan nadamw amsgrad adafactor adabelief rprop "
    "ftrl lars shampoo bfgs cg newton newton_cg levenberg_marquardt",
)


def optimizer_named(optimizer: Any) -> Minimiser:
    """The optimizer of that name with its default settings, or the one given."""
    if isinstance(optimizer, Minimiser):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Minimiser):
        return optimizer()
    if hasattr(optimizer, "zero_grad"):
        kind = optimizer.__name__ if isinstance(optimizer, type) else type(optimizer).__name__
        own = spelled(kind, OPTIMIZERS, ALSO)
        raise TypeError(
            f"an optimizer must be a name or an nn.Optimizer; got {kind} of another library. Pass "
            f"{f'optimizer={own!r}, or nn.{OPTIMIZERS[own].__name__}' if own else 'nn.Adam'}(lr=...), to fit. To "
            f"use that of the other library, write a loop of your own: model.with_theta(theta)(X) records its gradient."
        )
    if callable(optimizer):
        raise TypeError(
            f"an optimizer must be a name or an nn.Optimizer, such as nn.Adam(0.01); got {shown(optimizer)}. For a "
            f"rule of your own, derive a class from nn.Optimizer and define its method apply."
        )
    if holds(optimizer, lambda rate: rate > 0.0):
        raise TypeError(
            f"an optimizer must be a name or an nn.Optimizer; got the number {shown(optimizer)}. For a learning rate, "
            f"pass nn.Adam({shown(optimizer)})."
        )
    return named(optimizer, OPTIMIZERS, "optimizer", ALSO)()


def stepwise(optimizer: Any) -> bool:
    """Whether an optimizer, given itself, as its class or by name, takes steps on batches."""
    name = spelled(optimizer, OPTIMIZERS, ALSO)
    return getattr(OPTIMIZERS[name] if name else optimizer, "stepwise", True)


explain_classes(__name__)
