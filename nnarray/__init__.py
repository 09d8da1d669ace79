"""nnarray: neural networks from scratch, written once against the Python array API standard.

>>> import nnarray as nn
>>> X, y = nn.datasets.moons(200, noise=0.1, seed=0)
>>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
>>> history = model.fit(X, y, optimizer=nn.Adam(0.05), epochs=50)
>>> float(nn.metrics.accuracy(model(X), y)) > 0.9
True
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from nnarray.names import also, spelled
from nnarray.version import __version__ as __version__

if TYPE_CHECKING:  # what type checkers and editors read; at run time, `__getattr__` imports a name when it is asked for
    from nnarray import datasets, distributed, losses, metrics, models, onnx, plotting, random, schedules, testing, text
    from nnarray.apps.playground.opened import playground
    from nnarray.apps.workflow.pipeline import Pipeline, load_pipeline
    from nnarray.backends import (
        Backend,
        BackendInfo,
        BackendNotInstalled,
        BackendUnavailable,
        OutOfDeviceMemory,
        backend,
        device_of,
        list_backends,
        namespace,
    )
    from nnarray.explanations import explain
    from nnarray.gradients import training_step, value_and_grad
    from nnarray.layers import (
        GRU,
        LSTM,
        Activation,
        AdaptiveAvgPool2D,
        Auxiliary,
        AvgPool2D,
        BatchNorm,
        Branches,
        Context,
        Conv1D,
        Conv2D,
        Dense,
        Dropout,
        Embedding,
        Flatten,
        GlobalAvgPool,
        GroupNorm,
        Head,
        Inputs,
        Lambda,
        LastStep,
        Layer,
        LayerNorm,
        LearnedPositions,
        LocalResponseNorm,
        Masked,
        MaxPool2D,
        MultiHeadAttention,
        Out,
        Param,
        Reshape,
        Residual,
        RMSNorm,
        Row,
        SimpleRNN,
        SinusoidalPositions,
        Tied,
        TransformerBlock,
        initializers,
    )
    from nnarray.layers.kinds import Kind, Spec
    from nnarray.losses import Loss
    from nnarray.model import Model
    from nnarray.network import Network, load, load_onnx
    from nnarray.optimizers import (
        LAMB,
        LBFGS,
        SGD,
        Adadelta,
        Adagrad,
        Adam,
        Adamax,
        AdamW,
        Lion,
        Muon,
        NAdam,
        Optimizer,
        RAdam,
        RMSprop,
    )
    from nnarray.persistence.settings import register
    from nnarray.random import Key
    from nnarray.recording import custom_gradient, grad, hessian, hvp, jacobian, jvp, recompute, stop_gradient, vjp
    from nnarray.training import trackers
    from nnarray.training.callbacks import Callback, EarlyStopping, Run
    from nnarray.training.checkpoints import Checkpoint
    from nnarray.training.context import DivergenceError
    from nnarray.training.history import History

__all__ = [
    "GRU",
    "LAMB",
    "LBFGS",
    "LSTM",
    "SGD",
    "Activation",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "AdaptiveAvgPool2D",
    "Auxiliary",
    "AvgPool2D",
    "Backend",
    "BackendInfo",
    "BackendNotInstalled",
    "BackendUnavailable",
    "BatchNorm",
    "Branches",
    "Callback",
    "Checkpoint",
    "Context",
    "Conv1D",
    "Conv2D",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GroupNorm",
    "Head",
    "History",
    "Inputs",
    "Key",
    "Kind",
    "Lambda",
    "LastStep",
    "Layer",
    "LayerNorm",
    "LearnedPositions",
    "Lion",
    "LocalResponseNorm",
    "Loss",
    "Masked",
    "MaxPool2D",
    "Model",
    "MultiHeadAttention",
    "Muon",
    "NAdam",
    "Network",
    "Optimizer",
    "Out",
    "OutOfDeviceMemory",
    "Param",
    "Pipeline",
    "RAdam",
    "RMSNorm",
    "RMSprop",
    "Reshape",
    "Residual",
    "Row",
    "Run",
    "SimpleRNN",
    "SinusoidalPositions",
    "Spec",
    "Tied",
    "TransformerBlock",
    "backend",
    "custom_gradient",
    "datasets",
    "device_of",
    "distributed",
    "explain",
    "grad",
    "hessian",
    "hvp",
    "initializers",
    "jacobian",
    "jvp",
    "list_backends",
    "load",
    "load_onnx",
    "load_pipeline",
    "losses",
    "metrics",
    "models",
    "namespace",
    "onnx",
    "playground",
    "plotting",
    "random",
    "recompute",
    "register",
    "schedules",
    "stop_gradient",
    "testing",
    "text",
    "trackers",
    "training_step",
    "value_and_grad",
    "vjp",
]

_ALSO = also(
    GRU="gated_recurrent_unit",
    SimpleRNN="rnn elman",
    Activation="relu leaky_relu elu selu gelu silu mish sigmoid tanh softmax log_softmax softplus softsign",
    AdaptiveAvgPool2D="adaptive_average_pooling2d",
    AvgPool2D="average_pooling2d",
    BatchNorm="batch_norm1d batch_norm2d batch_normalization",
    Conv1D="conv1d",
    Conv2D="conv2d",
    Dense="linear fully_connected",
    GlobalAvgPool="global_avg_pool2d global_average_pooling2d global_average_pooling1d",
    LayerNorm="layer_normalization",
    MaxPool2D="max_pooling2d",
    Network="sequential",
)

_NAMES = {
    "apps.playground.opened": "playground",
    "apps.workflow.pipeline": "Pipeline load_pipeline",
    "backends": "Backend BackendInfo BackendNotInstalled BackendUnavailable OutOfDeviceMemory backend device_of "
    "list_backends namespace",
    "explanations": "explain",
    "gradients": "training_step value_and_grad",
    "layers": "GRU LSTM Activation AdaptiveAvgPool2D Auxiliary AvgPool2D BatchNorm Branches Context Conv1D Conv2D "
    "Dense Dropout Embedding Flatten GlobalAvgPool GroupNorm Head Inputs Lambda LastStep Layer LayerNorm "
    "LearnedPositions LocalResponseNorm Masked MaxPool2D MultiHeadAttention Out Param RMSNorm Reshape Residual Row "
    "SimpleRNN SinusoidalPositions Tied TransformerBlock",
    "layers.kinds": "Kind Spec",
    "losses": "Loss",
    "model": "Model",
    "network": "Network load load_onnx",
    "optimizers": "LAMB LBFGS SGD Adadelta Adagrad Adam Adamax AdamW Lion Muon NAdam Optimizer RAdam RMSprop",
    "persistence.settings": "register",
    "random": "Key",
    "recording": "custom_gradient grad hessian hvp jacobian jvp recompute stop_gradient vjp",
    "training.callbacks": "Callback EarlyStopping Run",
    "training.checkpoints": "Checkpoint",
    "training.context": "DivergenceError",
    "training.history": "History",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}
"""Where each public name is defined: importing the package alone costs almost nothing."""

_MODULES = {"initializers": "layers.initializers", "trackers": "training.trackers"}
"""Public modules of other folders. The package's own need no row."""


def _imported(name: str) -> Any:
    """The object or module that a name stands for.

    Raises
    ------
    AttributeError
        If there is none. The error says what to write instead.
    """
    if name in _MODULE_OF:
        return getattr(import_module(f"nnarray.{_MODULE_OF[name]}"), name)
    module = f"nnarray.{_MODULES.get(name, name)}"
    if not name.startswith("_") and find_spec(module):
        return import_module(module)
    known = spelled(name, dict.fromkeys(__all__), _ALSO)
    hint = f" Here it is nn.{known}." if known else _guess(name)
    if known == "Activation":
        hint = _of_activation(name)
    raise AttributeError(f"module 'nnarray' has no attribute {name!r}.{hint}", name=name, obj=sys.modules[__name__])


if not TYPE_CHECKING:  # a type checker would accept every name

    def __getattr__(name: str) -> Any:
        value = globals()[name] = _imported(name)  # the next time, Python finds it here
        return value


def _of_activation(name: str) -> str:
    """What to write for an activation of that name: as a part of a layer, as a layer, and as a function."""
    activation = name.lower()
    after = (
        " For probabilities, call model.predict_proba(X)." if "softmax" in activation or "sigm" in activation else ""
    )
    return (
        f" Here it is nn.Activation({activation!r}), a layer; or write it into one, nn.Dense(16, {activation!r}). For "
        f"the values of an array: nn.Activation({activation!r}).resolved.value(x).{after}"
    )


def _guess(name: str) -> str:
    """What somebody may have looked for: another library's name, a name of one of the modules, or a misspelt one."""
    arguments = import_module("nnarray.arguments")
    return arguments.MODULE.get(name) or _inside(name) or arguments.guessed(name, __all__)


def _inside(name: str) -> str:
    """Where a name is that somebody looked for here."""
    if name.startswith(("load_", "fetch_")):
        return " Data sets are in nn.datasets; nn.load(file) reads a model."
    for place in ("datasets", "losses", "metrics", "models", "plotting", "schedules", "text"):
        module = import_module(f"nnarray.{place}")
        if not name.startswith("_") and name in dir(module) and callable(getattr(module, name)):
            return f" Here it is nn.{place}.{name}."
    return ""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
