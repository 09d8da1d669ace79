"""The command line: `nnarray info`, `train`, `predict`, `generate`, `serve`, `show`, `bench`, `demo` and others."""

# pyright: reportUnusedImport=false

# In the order of --help.
from nnarray.cli import info, train, predict, generate, serve, show, bench, demo, playground, notebooks  # noqa: I001
from nnarray.cli.app import app
