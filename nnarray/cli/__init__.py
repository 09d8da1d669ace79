"""The command line: `nnarray info`, `train`, `predict`, `generate`, `serve`, `export`, `show`, `bench` and others."""

# pyright: reportUnusedImport=false

# In the order of --help.
from nnarray.cli import info, train, predict, generate, serve, export, show  # noqa: I001
from nnarray.cli import bench, demo, playground, notebooks
from nnarray.cli.app import app
