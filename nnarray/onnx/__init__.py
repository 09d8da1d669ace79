"""ONNX: graphs of other libraries on your arrays (`nn.load_onnx`, `read`), and operators of your own (`register`)."""

# pyright: reportUnusedImport=false

from nnarray.onnx.operators.table import register
from nnarray.onnx.program import Program, read
