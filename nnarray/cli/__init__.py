"""The command line: `nnarray info`, `nnarray demo`."""

# pyright: reportUnusedImport=false

from nnarray.cli import demo, info
from nnarray.cli.app import app
