"""What the commands share: how they ask, and how they tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnarray import backends
from nnarray.backends import Backend, dtype_name

if TYPE_CHECKING:
    from rich.console import Console

Flag = Annotated[
    str, typer.Option("--backend", help="numpy, cupy, torch, torch:cuda:0, jax, strict; auto: a GPU, else NumPy.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of the data and of the first parameters.")]


def integers(text: str, option: str) -> tuple[int, ...]:
    """The integers of a text such as "5,5"."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{option} must be integers above 0 with commas between them, such as 5,5; got {text!r}.")
    return tuple(int(part) for part in parts)


def output() -> Console:
    """Standard output: in a terminal as wide as it is; in a pipe plain, so wide that no row is broken."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, emoji=False, width=500)


def tell_table(
    console: Console, names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Rows under names; those in `right` are flush right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for i, name in enumerate(names):
        table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def tell_facts(console: Console, facts: dict[str, str]) -> None:
    """Names in bold, each with what is to be said of it."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(name, value)
    console.print(grid)
    console.print()


def described(be: Backend, dtype: Any, flag: str) -> str:
    """The backend, and why it was taken if that was not the user's word."""
    about = backends.describe(be.name)
    return f"{be.name} {about.version} on {about.device}, {dtype_name(dtype)}" + (
        f" ({flag}: {be.reason})" if be.reason else ""
    )
