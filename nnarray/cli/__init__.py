"""The command line: `nnarray info`, `train`, `predict`, `evaluate`, `serve`, `show`, `bench`, `demo`."""

# pyright: reportUnusedImport=false

from nnarray.cli import info, train, predict, serve, show, bench, demo  # noqa: I001  (the order in which --help lists them)
from nnarray.cli.app import app
