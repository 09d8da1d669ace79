"""Architectures by name: functions that return a `Network`."""

# pyright: reportUnusedImport=false

from nnarray.models.cnn import cnn
from nnarray.models.googlenet import googlenet
from nnarray.models.lenet import lenet5
from nnarray.models.mlp import mlp
from nnarray.models.resnet import resnet18
