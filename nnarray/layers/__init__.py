"""Layers, one file per family."""

# pyright: reportUnusedImport=false

from typing import TYPE_CHECKING

from nnarray.arguments import explain_classes
from nnarray.late import late

if TYPE_CHECKING:
    from nnarray.layers import initializers
    from nnarray.layers.activations import Activation
    from nnarray.layers.attention import MultiHeadAttention
    from nnarray.layers.base import Context, Head, Layer, Out, Param
    from nnarray.layers.containers import Auxiliary, Branches, Residual, Row
    from nnarray.layers.convolution import Conv1D, Conv2D
    from nnarray.layers.dense import Dense
    from nnarray.layers.embedding import Embedding
    from nnarray.layers.functions import Lambda
    from nnarray.layers.inputs import Inputs, Masked
    from nnarray.layers.normalisation import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm, RMSNorm
    from nnarray.layers.pooling import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, LastStep, MaxPool2D
    from nnarray.layers.positions import LearnedPositions, SinusoidalPositions
    from nnarray.layers.recurrent import GRU, LSTM, SimpleRNN
    from nnarray.layers.regularisation import Dropout
    from nnarray.layers.shape import Flatten, Reshape
    from nnarray.layers.transformer import Tied, TransformerBlock

NAMES = late(
    __name__,
    {
        "activations": "Activation",
        "attention": "MultiHeadAttention",
        "base": "Context Head Layer Out Param",
        "containers": "Auxiliary Branches Residual Row",
        "convolution": "Conv1D Conv2D",
        "dense": "Dense",
        "embedding": "Embedding",
        "functions": "Lambda",
        "initializers": "initializers",
        "inputs": "Inputs Masked",
        "normalisation": "BatchNorm GroupNorm LayerNorm LocalResponseNorm RMSNorm",
        "pooling": "AdaptiveAvgPool2D AvgPool2D GlobalAvgPool LastStep MaxPool2D",
        "positions": "LearnedPositions SinusoidalPositions",
        "recurrent": "GRU LSTM SimpleRNN",
        "regularisation": "Dropout",
        "shape": "Flatten Reshape",
        "transformer": "Tied TransformerBlock",
    },
    explain_classes,
)
