"""The command line: `nnarray info`, `train`, `predict`, `serve`, `show`, `bench`, `demo`, `playground` and others."""

# pyright: reportUnusedImport=false

# In the order of --help.
from nnarray.cli import info, train, predict, serve, show, bench, demo, playground, notebooks  # noqa: I001
from nnarray.cli.app import app
