"""The file that `nnarray train` writes: who owns it, and what an interrupt and a divergence say of it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nnarray import files
from nnarray.apps.workflow.model_files import refuse_to_begin_again, unfinished_file
from nnarray.backends import host_backend
from nnarray.network import load
from nnarray.persistence import archive
from nnarray.training.context import DivergenceError

if TYPE_CHECKING:
    from nnarray.model import Model


def claimed(ctx: typer.Context, out: Path, *, resume: bool, restart: bool) -> Path:
    """The file of the model, which no other training may write meanwhile."""
    file = archive.named_file(out)
    ctx.with_resource(files.owned(file))
    files.sweep(file)
    if resume and restart:
        raise ValueError("--resume continues a training, --restart begins it again: leave one of them out.")
    if not resume and not restart:
        refuse_to_begin_again(file)
    return file


@contextmanager
def saying_that_folds_are_not_saved() -> Generator[None]:
    """Add to an interrupt that there is nothing to continue yet."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.args = (" while the folds were trained; they are not saved, and the same command begins again",)
        raise


@contextmanager
def saying_what_is_saved(model: Model, out: Path, epochs: int) -> Generator[None]:
    """Add to an interrupt, such as Ctrl-C, which epoch is saved."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        unfinished = unfinished_file(out)
        if not model.history.columns.get("epoch"):
            state = " before the end of the first epoch; nothing is saved"
        elif unfinished.exists():
            saved = len(load(unfinished, backend=host_backend()).history["epoch"])
            state = f" after epoch {saved} of {epochs}, which is saved in {str(unfinished)!r}; continue with --resume"
        else:
            state = f" after the end of the training; its model is saved in {str(out)!r}"
        interrupt.args = (state,)
        raise


@contextmanager
def advising(out: Path) -> Generator[None]:
    """What helps against divergence in a command: its options, for it prepares the data itself."""
    try:
        yield
    except DivergenceError as error:
        saved = f" {str(unfinished_file(out))!r} holds the last finished epoch, if there was one."
        raise DivergenceError(error.args[0], f"Pass a lower --lr, or --optimizer adam.{saved}") from error
