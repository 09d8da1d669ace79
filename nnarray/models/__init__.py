"""Architectures by name: functions that return a `Network`."""

# pyright: reportUnusedImport=false

from typing import TYPE_CHECKING

from nnarray.arguments import attribute_errors
from nnarray.models.char_rnn import char_rnn
from nnarray.models.cnn import cnn
from nnarray.models.googlenet import googlenet
from nnarray.models.lenet import lenet5
from nnarray.models.mlp import mlp
from nnarray.models.resnet import resnet18
from nnarray.names import also

if not TYPE_CHECKING:  # a type checker would accept every name
    __getattr__ = attribute_errors(
        __name__,
        ("char_rnn", "cnn", "googlenet", "lenet5", "mlp", "resnet18"),
        also(mlp="mlp_classifier mlp_regressor", googlenet="inception_v1", lenet5="lenet", resnet18="resnet"),
    )
