"""One step of a network, forward and backward, layer by layer and in words: `nn.explain`."""

# pyright: reportUnusedImport=false

from nnarray.explain.explaining import explain
from nnarray.explain.explanation import Explanation
from nnarray.explain.records import Arithmetic, Check, ParameterGradient, Signal, Step
