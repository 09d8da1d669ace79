"""Architectures by name: functions that return a `Network`."""

# pyright: reportUnusedImport=false

from typing import TYPE_CHECKING

from nnarray.arguments import attribute_errors
from nnarray.models.bert import bert
from nnarray.models.char_rnn import char_rnn
from nnarray.models.cnn import cnn
from nnarray.models.googlenet import googlenet
from nnarray.models.gpt import gpt
from nnarray.models.lenet import lenet5
from nnarray.models.mlp import mlp
from nnarray.models.published import load_published, save_published
from nnarray.models.resnet import resnet18
from nnarray.names import also

if not TYPE_CHECKING:  # a type checker would accept every name
    __getattr__ = attribute_errors(
        __name__,
        (
            "bert",
            "char_rnn",
            "cnn",
            "googlenet",
            "gpt",
            "lenet5",
            "load_published",
            "mlp",
            "resnet18",
            "save_published",
        ),
        also(
            mlp="mlp_classifier mlp_regressor",
            googlenet="inception_v1",
            lenet5="lenet",
            resnet18="resnet",
            gpt="gpt2 llama",
            bert="minilm",
        ),
    )
