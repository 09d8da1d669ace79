"""`python -m nnarray`: the command line."""

from nnarray.cli import app

app(prog_name="nnarray")
