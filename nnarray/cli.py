"""The command line: what can compute here, and the demos.

Exit codes: 0 done, 1 it went wrong, 2 it was asked for wrongly, 130 interrupted.
"""

from __future__ import annotations

import json
import platform
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import nnarray
from nnarray import backends, plotting
from nnarray.backends import Backend, dtype_name
from nnarray.callbacks import History, Run
from nnarray.checks import integer

if TYPE_CHECKING:
    from rich.console import Console

    from nnarray.demos import LineFit, SineFit, Start, Trained

# --- Errors --------------------------------------------------------------------------------------------------

EXPECTED = (ImportError, RuntimeError, OSError, ArithmeticError, MemoryError)
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # every misuse that the parser finds; click's, or typer's copy of it


class OneLine(TyperGroup):
    """Commands whose errors are one line on stderr, without a traceback unless `--debug` asks for it."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _errors(debug=False):
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _errors(debug=ctx.params["debug"]):
            return super().invoke(ctx)


@contextmanager
def _errors(*, debug: bool) -> Generator[None]:
    """Errors as one line and an exit code."""
    try:
        with warnings.catch_warnings():
            if not debug:  # an overflow ends in an error of ours, which says more
                warnings.simplefilter("ignore", RuntimeWarning)
            yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        typer.echo("nnarray: interrupted", err=True)
        raise typer.Exit(130) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            typer.echo(f"nnarray: {' '.join(_told(error).split())}", err=True)
        raise typer.Exit(_code(error)) from None


def _told(error: Exception) -> str:
    """What is said of an error."""
    if isinstance(error, USAGE_ERROR):
        usage: Any = error
        path = usage.ctx.command_path if usage.ctx else "nnarray"
        said = usage.format_message()
        return f"{said}{'' if said.endswith(('.', '?')) else '.'} See '{path} --help'."
    if isinstance(error, (ValueError, *EXPECTED)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error} (nnarray --debug ... shows where)"


def _code(error: Exception) -> int:
    """2 for what was asked for wrongly, 1 for all else."""
    return 2 if isinstance(error, (ValueError, USAGE_ERROR)) else 1


# --- The commands --------------------------------------------------------------------------------------------

app = typer.Typer(
    cls=OneLine,
    help="Neural networks from scratch on the Python array API standard.",
    epilog="\b\nExamples:\n  nnarray info\n  nnarray demo\n  nnarray demo --help",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
demo = typer.Typer(rich_markup_mode=None)
app.add_typer(demo, name="demo", short_help="Train a small network, and draw what it learnt.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nnarray {nnarray.__version__}")
        raise typer.Exit


@app.callback()
def main(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = (
        False
    ),
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """What every command has."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command(
    short_help="What can compute here, and what mends the rest.",
    epilog="\b\nExamples:\n  nnarray info\n  nnarray info --json",
)
def info(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Show which array libraries and devices can compute here, and what mends those that cannot."""
    found = backends.list_backends()
    if as_json:
        versions = {"nnarray": nnarray.__version__, "python": platform.python_version(), "platform": sys.platform}
        typer.echo(json.dumps(versions | {"backends": [asdict(each) for each in found]}, indent=2))
        return
    out = _console()
    out.print(f"nnarray {nnarray.__version__}, Python {platform.python_version()} on {platform.system()}\n")
    rows = [
        [each.name, each.version, each.device, _gibibytes(each.memory), ", ".join(each.dtypes)]
        for each in found
        if each.usable
    ]
    _table(out, ["usable", "version", "device", "memory", "dtypes"], rows)
    unusable = [each for each in found if not each.usable]
    if unusable:
        out.print("\nnot usable", style="bold")
    for each in unusable:  # outside of the table: a command must stay on its line to be copied
        reason = each.reason.removeprefix(f"backend {each.name!r} cannot be used: ")
        version = f" {each.version}" if each.version else ""
        out.print(f"  {each.name}{version}: {reason}", soft_wrap=True)


def _gibibytes(size: int | None) -> str:
    return f"{size / 2**30:.1f} GiB" if size else ""


Flag = Annotated[
    str, typer.Option("--backend", help="numpy, cupy, torch, torch:cuda:0, jax, strict; auto: a GPU, else NumPy.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of the data and of the first parameters.")]
Activation = Annotated[str, typer.Option("--activation", help="Of the hidden layers: tanh, relu, gelu, sin, ...")]
Out = Annotated[
    Path | None, typer.Option("--out", help="The picture: a .png, .svg or .pdf; default: nnarray-<demo>.png.")
]


@demo.callback(
    invoke_without_command=True,
    epilog=(
        "\b\nExamples:\n  nnarray demo\n  nnarray demo --dataset spirals --backend torch\n"
        "  nnarray demo --hidden-sizes 1,2,3,4,5,20,50\n  nnarray demo sine --help"
    ),
)
def classes(
    ctx: typer.Context,
    backend: Flag = "auto",
    dataset: Annotated[
        str, typer.Option("--dataset", help="moons, circles, spirals, blobs, xor or checkerboard.")
    ] = "moons",
    hidden: Annotated[
        str | None, typer.Option("--hidden", help="Sizes of the hidden layers, such as 5,5; default: 5 on moons.")
    ] = None,
    hidden_sizes: Annotated[
        str | None, typer.Option("--hidden-sizes", help="Instead: one network for each size, such as 1,2,3,5,50.")
    ] = None,
    activation: Activation = "tanh",
    noise: Annotated[
        float | None,
        typer.Option("--noise", help="Standard deviation of the points; default: 0.1 on moons."),
    ] = None,
    seed: Seed = 0,
    epochs: Annotated[int | None, typer.Option("--epochs", help="default: 500 on moons.")] = None,
    out: Out = None,
) -> None:
    """Train a small network to tell classes apart, and draw what it learnt. Also: a line, a sine."""
    if ctx.invoked_subcommand:
        _refuse_options_before(ctx)
        return
    if hidden is not None and hidden_sizes is not None:
        raise ValueError("give --hidden (one network) or --hidden-sizes (several), not both.")
    if epochs is not None:
        integer(epochs, "--epochs", 1, usual=500)
    layers = None if hidden is None else _integers(hidden, "--hidden")
    sizes = None if hidden_sizes is None else _integers(hidden_sizes, "--hidden-sizes")
    picture = _picture(out, "nnarray-demo.png" if sizes is None else "nnarray-hidden-sizes.png")
    be, console = backends.backend(backend), _console()
    from nnarray import demos

    starts = [
        demos.untrained(be, dataset, hidden=each, activation=activation, noise=noise, seed=seed, epochs=epochs)
        for each in ([layers] if sizes is None else [(size,) for size in sizes])
    ]
    _tell_classification(console, be, backend, starts)
    with _progress(sum(start.epochs for start in starts)) as watch:
        results = [demos.train(start, watch) for start in starts]
    if sizes is None:
        _tell_trained(console, results[0])
        _save(console, picture, lambda: demos.draw_training(results[0]))
    else:
        _tell_sizes(console, results)
        _save(console, picture, lambda: demos.draw_sizes(results))


@demo.command(
    short_help="A line through noisy points, and least squares.",
    epilog="\b\nExamples:\n  nnarray demo line\n  nnarray demo line --slope -1 --intercept 3 --noise 0.1",
)
def line(
    slope: Annotated[float, typer.Option("--slope", help="Of the true line.")] = 2.0,
    intercept: Annotated[float, typer.Option("--intercept", help="Of the true line.")] = -1.0,
    noise: Annotated[float, typer.Option("--noise", help="Standard deviation of the points around it.")] = 0.3,
    points: Annotated[int, typer.Option("--points", help="How many.")] = 100,
    backend: Flag = "auto",
    seed: Seed = 0,
    epochs: Annotated[int, typer.Option("--epochs")] = 300,
    out: Out = None,
) -> None:
    """Fit a line to noisy points by gradient descent, and compare it with least squares."""
    integer(points, "--points", 2, usual=100)
    integer(epochs, "--epochs", 1, usual=300)
    picture = _picture(out, "nnarray-line.png")
    be, console = backends.backend(backend), _console()
    from nnarray import demos

    with _progress(epochs) as watch:
        fit = demos.fit_line(
            be,
            slope=slope,
            intercept=intercept,
            noise=noise,
            points=points,
            seed=seed,
            epochs=epochs,
            watch=watch,
        )
    true = f"y = {slope:g} x {'-' if intercept < 0 else '+'} {abs(intercept):g}"
    facts = {
        "backend": _described(be, fit.model.theta.dtype, backend),
        "data": f"{points} points of {true}, noise {noise:g}, seed {seed}",
        "network": "y = x w + b, 2 parameters",
        "training": f"{epochs} epochs on all points at once, gradient descent, rate {demos.LINE_OPTIMIZER.lr:g}",
        "speed": _speed(fit.history),
    }
    _facts(console, facts)
    _tell_line(console, fit)
    _save(console, picture, lambda: demos.draw_line(fit))


@demo.command(
    short_help="A sine, and straight lines between samples.",
    epilog="\b\nExamples:\n  nnarray demo sine\n  nnarray demo sine --hidden 10,10 --samples 30",
)
def sine(
    hidden: Annotated[str, typer.Option("--hidden", help="Sizes of the hidden layers, such as 10,10.")] = "20",
    activation: Activation = "tanh",
    samples: Annotated[int, typer.Option("--samples", help="Interpolate between 2, 3, ... this many samples.")] = 15,
    backend: Flag = "auto",
    seed: Seed = 0,
    epochs: Annotated[int, typer.Option("--epochs")] = 3000,
    out: Out = None,
) -> None:
    """Approximate a sine by a network, and compare it with straight lines between samples."""
    layers = _integers(hidden, "--hidden")
    integer(samples, "--samples", 2, usual=15)
    integer(epochs, "--epochs", 1, usual=3000)
    picture = _picture(out, "nnarray-sine.png")
    be, console = backends.backend(backend), _console()
    from nnarray import demos

    with _progress(epochs) as watch:
        fit = demos.fit_sine(
            be, hidden=layers, activation=activation, samples=samples, seed=seed, epochs=epochs, watch=watch
        )
    facts = {
        "backend": _described(be, fit.model.theta.dtype, backend),
        "network": f"{demos.shape_of(fit.model)}, {activation}, {fit.model.theta.shape[0]} parameters",
        "training": f"{epochs} epochs on {fit.samples} samples at once, Adam, rate 0.05 falling along a cosine",
        "speed": _speed(fit.history),
    }
    _facts(console, facts)
    _tell_sine(console, fit)
    _save(console, picture, lambda: demos.draw_sine(fit))


@demo.command(
    short_help="Cats and dogs in drawn pictures, by a convolutional network.",
    epilog="\b\nExamples:\n  nnarray demo pets\n  nnarray demo pets --pictures 10000 --epochs 10 --backend torch",
)
def pets(
    pictures: Annotated[int, typer.Option("--pictures", help="How many to learn from.")] = 4000,
    backend: Flag = "auto",
    seed: Seed = 0,
    epochs: Annotated[int, typer.Option("--epochs", help="How often each picture is seen.")] = 6,
    out: Out = None,
) -> None:
    """Tell cats from dogs in drawn pictures by a small convolutional network, and see what it looks at."""
    integer(pictures, "--pictures", 2, usual=4000)
    integer(epochs, "--epochs", 1, usual=6)
    picture = _picture(out, "nnarray-pets.png")
    be, console = backends.backend(backend), _console()
    from nnarray import demo_pets, demos

    with _progress(epochs) as watch:
        fit = demo_pets.fit_pets(be, pictures=pictures, epochs=epochs, seed=seed, watch=watch)
    facts = {
        "backend": _described(be, fit.model.theta.dtype, backend),
        "data": f"{pictures} drawn pictures of {demo_pets.SIZE} x {demo_pets.SIZE}, cats and dogs, seed {seed}",
        "network": f"3 convolutions, {fit.model.theta.shape[0]} parameters",
        "training": f"{epochs} epochs in batches of {demo_pets.BATCH}, Adam, rate {demo_pets.RATE:g} along a cosine, "
        f"{fit.history['seconds'][-1]:.3g} s",
        "accuracy": f"{demos.percent(fit.history['accuracy'][-1])} in the last epoch, "
        f"{demos.percent(fit.accuracy)} on {demo_pets.NEW_PICTURES} new pictures",
    }
    _facts(console, facts)
    names = ["", *(f"told {name}" for name in demo_pets.NAMES)]
    rows = [[name, *(str(int(n)) for n in row)] for name, row in zip(demo_pets.NAMES, fit.confusion, strict=True)]
    _table(console, names, rows, right=names[1:])
    _save(console, picture, lambda: demo_pets.draw_pets(fit))


# --- Before the training -------------------------------------------------------------------------------------


def _refuse_options_before(ctx: typer.Context) -> None:
    """Options before a sub-command would be lost without a word."""
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise ValueError(f"write {option} after {ctx.invoked_subcommand!r}, or leave it out; see its --help.")


def _integers(text: str, option: str) -> tuple[int, ...]:
    """The integers of a text such as "5,5"."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{option} must be integers above 0 with commas between them, such as 5,5; got {text!r}.")
    return tuple(int(part) for part in parts)


def _picture(out: Path | None, usual: str) -> Path | None:
    """Where the picture goes, proved by writing there; None, and a word about it, if it cannot be drawn."""
    try:
        plotting.need_matplotlib()
    except ImportError as error:
        if out is not None:
            raise
        typer.echo(f"nnarray: no picture this time: {error}", err=True)
        return None
    path = Path(usual) if out is None else out
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--out must end in .png, .svg or .pdf; got {str(path)!r}.")
    there = path.exists()
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise OSError(f"cannot write the picture {str(path)!r}: {error.strerror}. Name another with --out.") from error
    if not there:
        path.unlink()
    return path


@contextmanager
def _progress(epochs: int) -> Generator[Callable[[Run], None]]:
    """A bar on stderr while it trains, in a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=epochs)
        yield lambda run: bar.advance(task)


# --- What is told --------------------------------------------------------------------------------------------


def _console() -> Console:
    """Standard output: in a terminal as wide as it is; in a pipe plain, so wide that no row is broken."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, emoji=False, width=500)


def _table(console: Console, names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Rows under names; those in `right` are flush right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for i, name in enumerate(names):
        table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _facts(console: Console, facts: dict[str, str]) -> None:
    from rich.table import Table

    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(name, value)
    console.print(grid)
    console.print()


def _described(be: Backend, dtype: Any, flag: str) -> str:
    """The backend, and why it was taken if that was not the user's word."""
    about = backends.describe(be.name)
    return f"{be.name} {about.version} on {about.device}, {dtype_name(dtype)}" + (
        f" ({flag}: {be.reason})" if be.reason else ""
    )


def _speed(history: History) -> str:
    from nnarray.demos import speed

    return f"{speed(history):,.0f} steps per second, {history['seconds'][-1]:.2g} s in all"


def _tell_classification(console: Console, be: Backend, flag: str, starts: Sequence[Start]) -> None:
    from nnarray.demos import shape_of

    start, *others = starts
    networks = ", ".join(shape_of(each.model) for each in starts)
    parameters = "" if others else f", {start.model.theta.shape[0]} parameters"
    facts = {
        "backend": _described(be, start.model.theta.dtype, flag),
        "data": f"{start.dataset}: {start.X.shape[0]} points, {start.classes} classes, "
        f"noise {start.noise:g}, seed {start.seed}",
        "network" if not others else "networks": f"{networks}, {start.activation}{parameters}",
        "training": f"{start.epochs} epochs on all points at once, Adam, rate {start.optimizer.lr:g}",
    }
    _facts(console, facts)
    if not others:
        _tell_forward(console, be, start)


def _tell_forward(console: Console, be: Backend, start: Start) -> None:
    """A few points, and what the untrained network makes of them."""
    X, y, z, p = (be.to_numpy(v) for v in (start.X, start.y, start.logits, start.probabilities))
    console.print("Forward propagation before any training:")
    names = ["x1", "x2", "logits", "probabilities", "likeliest", "class"]
    rows = [
        [f"{X[i, 0]:.3f}", f"{X[i, 1]:.3f}", _numbers(z[i]), _numbers(p[i]), str(p[i].argmax()), str(int(y[i]))]
        for i in range(0, len(X), len(X) // 5)
    ]
    _table(console, names, rows[:5], right=names)
    console.print()


def _numbers(row: Any) -> str:
    digits = 3 if len(row) == 2 else 2  # of three classes, so that a row fits into 80 columns
    return "  ".join(f"{value:{digits + 3}.{digits}f}" for value in row)


def _tell_trained(console: Console, done: Trained) -> None:
    from nnarray.demos import NEW_POINTS, percent

    before, after = done.start.scores, done.scores
    rows = [
        ["loss", f"{before.loss:.4g}", f"{after.loss:.4g}"],
        ["accuracy", percent(before.accuracy), percent(after.accuracy)],
        [f"accuracy on {NEW_POINTS} new points", percent(before.new_accuracy), percent(after.new_accuracy)],
    ]
    _table(console, ["", "before", "after"], rows, right=["before", "after"])
    console.print(f"\n{_speed(done.history)}")


def _tell_sizes(console: Console, results: Sequence[Trained]) -> None:
    from nnarray.demos import NEW_POINTS, percent, speed

    names = ["hidden units", "parameters", "loss", "accuracy", f"on {NEW_POINTS} new points", "steps per second"]
    rows = [
        [
            str(done.start.hidden[0]),
            str(done.model.theta.shape[0]),
            f"{done.scores.loss:.4g}",
            percent(done.scores.accuracy),
            percent(done.scores.new_accuracy),
            f"{speed(done.history):,.0f}",
        ]
        for done in results
    ]
    _table(console, names, rows, right=names)


def _tell_line(console: Console, fit: LineFit) -> None:
    names = ["", "slope", "intercept", "mean squared error"]
    lines = {"true line": fit.true, "least squares": fit.least_squares, "gradient descent": fit.descent}
    rows = [[name, f"{at.slope:.6g}", f"{at.intercept:.6g}", f"{at.error:.6g}"] for name, at in lines.items()]
    _table(console, names, rows, right=names[1:])


def _tell_sine(console: Console, fit: SineFit) -> None:
    names = ["", "root mean square error", "largest error"]
    every = {f"straight lines between {n} samples": errors for n, errors in fit.interpolation.items()}
    rows = [[name, f"{at.rms:.3g}", f"{at.largest:.3g}"] for name, at in {**every, "network": fit.network}.items()]
    _table(console, names, rows, right=names[1:])


def _save(console: Console, path: Path | None, draw: Callable[[], Any]) -> None:
    """Draw, write, and say where."""
    if path is None:
        return
    plotting.save(draw(), path)
    console.print(f"\npicture: {path}", soft_wrap=True)
