"""The command line: `nnarray info`, `train`, `predict`, `evaluate`, `serve`, `show`, `bench`, `demo`, `notebooks`."""

# pyright: reportUnusedImport=false

from nnarray.cli import info, train, predict, serve, show, bench, demo, notebooks  # noqa: I001  (the order in --help)
from nnarray.cli.app import app
