"""One forward and backward step of a network, explained layer by layer: `nn.explain`."""

# pyright: reportUnusedImport=false

from nnarray.explain.explaining import explain
from nnarray.explain.explanation import Explanation
from nnarray.explain.records import Arithmetic, Check, ParameterGradient, Signal, Step
