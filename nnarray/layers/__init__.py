"""Layers, one file per family."""

# pyright: reportUnusedImport=false

from nnarray.arguments import explain_classes
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

explain_classes(__name__)
