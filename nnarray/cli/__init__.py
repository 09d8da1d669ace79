"""The command line: `nnarray info`, `train`, `predict`, `evaluate`, `show`, `bench`, `demo`, `notebooks`."""

# pyright: reportUnusedImport=false

from nnarray.cli import info, train, predict, show, bench, demo, notebooks  # noqa: I001  (the order in which --help lists them)
from nnarray.cli.app import app
