"""One forward and backward step of a network, explained layer by layer: `nn.explain`."""

# pyright: reportUnusedImport=false

from nnarray.explanations.explaining import explain
from nnarray.explanations.explanation import Explanation
from nnarray.explanations.records import Arithmetic, Check, ParameterGradient, Signal, Step
