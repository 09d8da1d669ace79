"""Options of several commands, and their functions for printing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from nnarray import backends
from nnarray.backends import Backend, dtype_name
from nnarray.cli.app import though_nobody_reads
from nnarray.cli.completion import backend_names
from nnarray.training.callbacks import Run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from nnarray.apps.workflow.importance import Importance
    from nnarray.apps.workflow.scores import Scores
    from nnarray.apps.workflow.steps import Trained
    from nnarray.apps.workflow.texts import TextTrained
    from nnarray.tables.text_format import TextFormat

QUIET = 5.0  # seconds to the first report of progress, if there is no bar
SHOWN_CLASSES = 10  # in a confusion matrix in a terminal

Flag = Annotated[
    str,
    typer.Option(
        "--backend",
        help="numpy, cupy, torch, torch:cuda:0, jax, strict; auto: a GPU if it is faster, else NumPy.",
        autocompletion=backend_names,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the data and of the initial parameters.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Skip = Annotated[bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be decoded.")]
Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", help="Separator of the entries of a CSV file, such as ';' or tab.", show_default=False),
]
Decimal = Annotated[str | None, typer.Option("--decimal", help="Decimal mark: '.' or ','.", show_default=False)]
Thousands = Annotated[
    str | None, typer.Option("--thousands", help="Separator of thousands, such as ',' or '.'.", show_default=False)
]
Missing = Annotated[
    str | None,
    typer.Option(
        "--missing", help="Further words for a missing entry, such as '?,-'; with '', only empty entries are missing."
    ),
]
Header = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether the first row has the names of columns.", show_default=False),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding", help="Encoding of a CSV file, such as cp932 or cp1252; default: UTF-8.", show_default=False
    ),
]
Dates = Annotated[
    str | None,
    typer.Option(
        "--dates",
        help="How dates in text are written, if not in ISO form: '%d.%m.%Y', '%m/%d/%Y %H:%M'.",
        show_default=False,
    ),
]


def text_format(usual: TextFormat, *, missing: str | None, **settings: Any) -> TextFormat:
    """The format of a text file: the default, changed by the options."""
    words = {} if missing is None else {"missing": tuple(word.strip() for word in missing.split(","))}
    return replace(usual, **words, **{name: value for name, value in settings.items() if value is not None})


def integers(text: str, option: str) -> tuple[int, ...]:
    """The integers in a string such as "5,5"."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{option} must be integers above 0 separated by commas, such as 5,5; got {text!r}.")
    return tuple(int(part) for part in parts)


def output() -> Console:
    """Standard output: with the terminal's width; in a pipe, without colours and without line breaks in rows."""
    console = _console(sys.stdout)
    return console if console.is_terminal else _console(sys.stdout, width=500)


def _console(stream: TextIO | None, width: int | None = None) -> Console:
    """Writes escape codes to a terminal only, even with FORCE_COLOR; a closed pipe raises an error."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    terminal = None if stream and stream.isatty() else False
    return Plain(file=stream, width=width, force_terminal=terminal, markup=False, highlight=False, emoji=False)


def show_table(
    console: Console, names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """A table of rows with column names; columns in `right` are right-aligned."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for i, name in enumerate(names):
        table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    _print(console, table)


def show_facts(console: Console, facts: dict[str, str]) -> None:
    """Two columns: names in bold, and their values."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(name, value)
    _print(console, grid)
    console.print()


def _print(console: Console, table: Table) -> None:
    """Print a table; in a pipe without blanks at the ends of rows."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def described(be: Backend, dtype: Any, flag: str) -> str:
    """The description of the backend, with the reason if the user did not choose it."""
    about = backends.describe(be.name)
    return f"{be.name} {about.version} on {about.device}, {dtype_name(dtype)}" + (
        f" ({flag}: {be.reason})" if be.reason else ""
    )


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names separated by commas; at most the first `most`."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def show_scores(console: Console, scores: Scores, title: str, linear: Scores | None = None) -> None:
    """Print the scores of the network, the linear model and the baseline; scores by class; the confusion matrix."""
    console.print(f"{title}:")
    names = ["", "network", *(["linear model"] if linear else []), f"always {scores.baseline}"]
    rows = [
        [label(name), f"{mine:.4g}", *([f"{linear.rows[name][0]:.4g}"] if linear else []), f"{base:.4g}"]
        for name, (mine, base) in scores.rows.items()
    ]
    show_table(console, names, rows, names[1:])
    console.print()
    show_details(console, scores)


def label(metric: str) -> str:
    """The name of a metric in a report for people: F1 says of which average it is."""
    return "f1 (macro)" if metric == "f1" else metric


def show_details(console: Console, scores: Scores) -> None:
    """Print notes on weak scores, the scores by class, and the confusion matrix."""
    if scores.no_better == ["accuracy"]:
        _show_that_probabilities_tell_more(console, scores)
    elif scores.no_better:
        compared = ", ".join(
            f"{name} {a:.4g}, baseline {b:.4g}" for name, (a, b) in scores.rows.items() if name in scores.no_better
        )
        mine, base = scores.rows.get("f1", (0.0, 0.0))
        advice = (
            f"It is better in {label('f1')} ({mine:.4g}, baseline {base:.4g}): it finds more of the rare classes, as "
            f"with --class-weight balanced."
            if mine > base
            else "Check that the columns are related to the target. Then train with more examples, a smaller network "
            "(--hidden 16), --dropout 0.3 or another --lr."
        )
        console.print(
            f"note: this network is not better than always predicting {scores.baseline!r} ({compared}). {advice}\n",
            soft_wrap=True,
        )
    if scores.overlooked:
        lost = ", ".join(f"{name!r} ({k} of {n} examples)" for name, k, n in scores.overlooked[:SHOWN_CLASSES])
        console.print(
            f"note: rare classes are mostly predicted as others: {lost}. Accuracy hides this; see balanced_accuracy, "
            f"the mean of the recalls. To predict them more often, train with --class-weight balanced, or with more "
            f"examples of them.\n",
            soft_wrap=True,
        )
    if scores.confusion is None:
        return
    columns = ["class", "examples", "recall", "precision", "f1"]
    rows = [[name, str(n), *(f"{score:.3g}" for score in each)] for name, n, *each in scores.by_class]
    show_table(console, columns, rows, columns[1:])
    console.print()
    if len(scores.classes) <= SHOWN_CLASSES:
        predicted = [f"predicted {name}" for name in scores.classes]
        rows = zip(scores.classes, scores.confusion.tolist(), strict=True)
        show_table(console, ["", *predicted], [[name, *map(str, row)] for name, row in rows], predicted)
        console.print()


def _show_that_probabilities_tell_more(console: Console, scores: Scores) -> None:
    """Of rare classes, the most common one is the best guess for each example, though the probabilities are good."""
    accuracy, base = scores.rows["accuracy"]
    others = ", ".join(
        f"{name} {scores.rows[name][0]:.4g}, baseline {scores.rows[name][1]:.4g}"
        for name in ("cross_entropy", "roc_auc")
        if name in scores.rows
    )
    console.print(
        f"note: the accuracy is not better than always predicting {scores.baseline!r} (accuracy {accuracy:.4g}, "
        f"baseline {base:.4g}), but the probabilities are ({others}): use them, such as those above a lower threshold "
        f"than 0.5. To predict rare classes more often, train with --class-weight balanced; the probabilities are then "
        f"too high.\n",
        soft_wrap=True,
    )


def show_importance(console: Console, importance: Importance) -> None:
    """Print how much the loss rises when each column is shuffled."""
    console.print(f"importance: rise of {importance.loss}, a column shuffled among {importance.rows} rows")
    rows = [[each.name, f"{each.mean:.3g}", f"{each.spread:.2g}"] for each in importance.columns]
    show_table(console, ["column", "rise", "spread"], rows, ["rise", "spread"])
    console.print()


@contextmanager
def bar(total: int, *columns: Any, **fields: Any) -> Generator[Callable[..., None]]:
    """Show a progress bar on stderr, in a terminal only; yields the function that updates it, with its fields."""
    from rich.progress import Progress

    console = _console(sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield partial(progress.update, progress.add_task("", total=total, **fields))


@contextmanager
def reading_bar() -> Generator[Callable[[str, float | None], None]]:
    """Show the progress of reading on stderr: a bar in a terminal, or else a line after 5 s, 15 s, 35 s, ..."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

    doing, ended = ["reading"], threading.Event()

    def report() -> None:
        wait, begun = QUIET, time.monotonic()
        while not ended.wait(wait):
            with suppress(OSError):
                typer.echo(f"nnarray: {doing[0]} ({time.monotonic() - begun:.0f} s)", err=True)
            wait *= 2  # the longer the wait, the rarer the reports

    with bar(1, BarColumn(bar_width=10), TextColumn("{task.fields[text]}"), TimeElapsedColumn(), text="") as update:

        def watch(what: str, fraction: float | None) -> None:
            doing[0] = what
            update(completed=fraction, text=what)

        # A daemon thread, which does not keep the program alive if reading fails.
        reporter = threading.Thread(target=report, name="nnarray-reading", daemon=True)
        if not _console(sys.stderr).is_terminal:
            reporter.start()
        try:
            yield watch
        finally:
            ended.set()


@contextmanager
def training_bar(epochs: int) -> Generator[Callable[[Run], None]]:
    """A progress bar of training on stderr, in a terminal only: latest losses and metrics, rate, remaining time."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(compact=True),
    )
    with bar(epochs, *columns, text="") as update:
        seen: dict[int, int] = {}  # by training: there may be several, and one may be resumed

        def watch(run: Run) -> None:
            update(advance=run.epoch - seen.get(id(run), 0), text=_newest(run.last, run.history.settings))
            seen[id(run)] = run.epoch

        yield watch


def terminal() -> bool:
    """Whether a person watches standard output."""
    return sys.stdout.isatty()


def print_epoch(run: Run) -> None:
    """A plain line on standard output, at once, so that a file that it goes to can be followed."""
    with though_nobody_reads():
        typer.echo(f"epoch {run.epoch}/{run.epochs}  {_newest(run.last, run.history.settings)}")


def facts_of_training(done: Trained | TextTrained) -> dict[str, Any]:
    """What --json says of a training, be it of a table, of images or of a text."""
    history = done.model.history
    return {
        "epochs": len(history["epoch"]),
        "steps": history.steps,
        "seconds": history["seconds"][-1],
        "stopped": done.stopped,
        "nothing to do": done.idle,
        "best epoch": done.best_epoch,
        "settings": history.settings,
        "last epoch": {name: column[-1] for name, column in history.items()},
        "held out": done.held_out,
    }


def label_in_training(name: str, settings: dict[str, Any]) -> str:
    """The name of a column of a history: says of a metric that the examples had weights, unlike in the scores."""
    of_metric = name.removeprefix("val_") in settings.get("metrics", ())
    return f"{name} (weighted)" if of_metric and settings.get("weighted") else name


def _newest(row: Mapping[str, float], settings: dict[str, Any]) -> str:
    """Losses and metrics, each with that of the held-out examples; short enough for 80 columns."""
    parts = list[str]()
    for name, value in row.items():
        if name in ("epoch", "seconds") or name.startswith("val_"):
            continue
        held = f" | {row[f'val_{name}']:.3g}" if f"val_{name}" in row else ""
        parts.append(f"{label_in_training(name, settings)} {value:.3g}{held}")
    return "  ".join(parts)


def dense_parameters(*sizes: int) -> int:
    """The number of weights and biases of dense layers between these sizes, for the choice of a backend."""
    return sum((before + 1) * after for before, after in pairwise(sizes))
