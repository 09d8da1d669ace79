"""`nnarray demo`: train a small network, and draw its predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnarray import backends, plotting
from nnarray.backends import Backend
from nnarray.checks import integer
from nnarray.cli.app import app
from nnarray.cli.console import (
    Flag,
    Seed,
    dense_parameters,
    described,
    integers,
    output,
    show_facts,
    show_table,
    training_bar,
)
from nnarray.layers.activations import FUNCTIONS
from nnarray.training.history import History

if TYPE_CHECKING:
    from rich.console import Console

    from nnarray.apps.demos import LineFit, SineFit, Start, Trained

demo = typer.Typer(rich_markup_mode=None)
app.add_typer(demo, name="demo", short_help="Train a small network, and draw its predictions.")

Activation = Annotated[
    str, typer.Option("--activation", help=f"Function of the hidden layers: {', '.join(FUNCTIONS)}.")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="The figure: a .png, .svg or .pdf; default: nnarray-<demo>.png.")
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
        str | None,
        typer.Option("--hidden-sizes", help="Instead of --hidden: one network for each size, such as 1,2,3,5,50."),
    ] = None,
    activation: Activation = "tanh",
    noise: Annotated[
        float | None,
        typer.Option("--noise", help="Standard deviation of the noise; default: 0.1 on moons."),
    ] = None,
    seed: Seed = 0,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Number of epochs; default: 500 on moons.")] = None,
    out: Out = None,
) -> None:
    """Train a small network to classify points, and draw its predictions. Others: a line, a sine, images, a text."""
    if ctx.invoked_subcommand:
        _refuse_options_before(ctx)
        return
    if hidden is not None and hidden_sizes is not None:
        raise ValueError("pass --hidden (one network) or --hidden-sizes (several), not both.")
    if epochs is not None:
        integer(epochs, "--epochs", 1, usual=500)
    layers = None if hidden is None else integers(hidden, "--hidden")
    sizes = None if hidden_sizes is None else integers(hidden_sizes, "--hidden-sizes")
    picture = _picture(out, "nnarray-demo.png" if sizes is None else "nnarray-hidden-sizes.png")
    from nnarray.apps import demos

    largest = [max(sizes)] if sizes else demos.hidden_of(dataset) if layers is None else layers
    be, console = backends.backend(backend, parameters=dense_parameters(2, *largest, 2)), output()
    starts = [
        demos.untrained(be, dataset, hidden=each, activation=activation, noise=noise, seed=seed, epochs=epochs)
        for each in ([layers] if sizes is None else [(size,) for size in sizes])
    ]
    _show_classification(console, be, backend, starts)
    with training_bar(sum(start.epochs for start in starts)) as watch:
        results = [demos.train(start, watch) for start in starts]
    if sizes is None:
        _show_trained(console, results[0])
        _save(console, picture, lambda: demos.draw_training(results[0]))
    else:
        _show_sizes(console, results)
        _save(console, picture, lambda: demos.draw_sizes(results))


@demo.command(
    short_help="A line through noisy points, and least squares.",
    epilog="\b\nExamples:\n  nnarray demo line\n  nnarray demo line --slope -1 --intercept 3 --noise 0.1",
)
def line(
    slope: Annotated[float, typer.Option("--slope", help="Slope of the true line.")] = 2.0,
    intercept: Annotated[float, typer.Option("--intercept", help="Intercept of the true line.")] = -1.0,
    noise: Annotated[float, typer.Option("--noise", help="Standard deviation of the noise.")] = 0.3,
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
    be, console = backends.backend(backend, parameters=dense_parameters(1, 1)), output()
    from nnarray.apps import demos

    with training_bar(epochs) as watch:
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
        "backend": described(be, fit.model.theta.dtype, backend),
        "data": f"{points} points of {true}, noise {noise:g}, seed {seed}",
        "network": "y = x w + b, 2 parameters",
        "training": f"{epochs} epochs on all points at once, gradient descent, rate {demos.LINE_OPTIMIZER.lr:g}",
        "speed": _speed(fit.history),
    }
    show_facts(console, facts)
    _show_line(console, fit)
    _save(console, picture, lambda: demos.draw_line(fit))


@demo.command(
    short_help="A sine by a network, and by straight lines between samples.",
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
    layers = integers(hidden, "--hidden")
    integer(samples, "--samples", 2, usual=15)
    integer(epochs, "--epochs", 1, usual=3000)
    picture = _picture(out, "nnarray-sine.png")
    be, console = backends.backend(backend, parameters=dense_parameters(1, *layers, 1)), output()
    from nnarray.apps import demos

    with training_bar(epochs) as watch:
        fit = demos.fit_sine(
            be, hidden=layers, activation=activation, samples=samples, seed=seed, epochs=epochs, watch=watch
        )
    facts = {
        "backend": described(be, fit.model.theta.dtype, backend),
        "network": f"{demos.shape_of(fit.model)}, {activation}, {fit.model.theta.shape[0]} parameters",
        "training": f"{epochs} epochs on {fit.samples} samples at once, Adam, rate 0.05 falling along a cosine",
        "speed": _speed(fit.history),
    }
    show_facts(console, facts)
    _show_sine(console, fit)
    _save(console, picture, lambda: demos.draw_sine(fit))


@demo.command(
    short_help="Cats and dogs in drawn images, by a convolutional network.",
    epilog="\b\nExamples:\n  nnarray demo pets\n  nnarray demo pets --images 10000 --epochs 10 --backend torch",
)
def pets(
    images: Annotated[int, typer.Option("--images", "--pictures", help="Number of training images.")] = 4000,
    backend: Flag = "auto",
    seed: Seed = 0,
    epochs: Annotated[int, typer.Option("--epochs", help="Number of epochs.")] = 6,
    out: Out = None,
) -> None:
    """Classify drawn images of cats and dogs with a small convolutional network, and show which pixels matter."""
    integer(images, "--images", 2, usual=4000)
    integer(epochs, "--epochs", 1, usual=6)
    picture = _picture(out, "nnarray-pets.png")
    be, console = backends.backend(backend), output()
    from nnarray.apps import demos, pets

    with training_bar(epochs) as watch:
        fit = pets.fit_pets(be, images=images, epochs=epochs, seed=seed, watch=watch)
    facts = {
        "backend": described(be, fit.model.theta.dtype, backend),
        "data": f"{images} drawn images of {pets.SIZE} x {pets.SIZE}, cats and dogs, seed {seed}",
        "network": f"3 convolutions, {fit.model.theta.shape[0]} parameters",
        "training": f"{epochs} epochs in batches of {pets.BATCH}, Adam, rate {pets.RATE:g} along a cosine, "
        f"{fit.history['seconds'][-1]:.3g} s",
        "accuracy": f"{demos.percent(fit.history['accuracy'][-1])} in the last epoch, "
        f"{demos.percent(fit.accuracy)} on {pets.NEW_IMAGES} new images",
    }
    show_facts(console, facts)
    names = ["", *(f"predicted {name}" for name in pets.NAMES)]
    rows = [[name, *(str(int(n)) for n in row)] for name, row in zip(pets.NAMES, fit.confusion, strict=True)]
    show_table(console, names, rows, right=names[1:])
    _save(console, picture, lambda: pets.draw_pets(fit))


@demo.command(
    short_help="Tales, written character by character by a small transformer.",
    epilog="\b\nExamples:\n  nnarray demo text\n  nnarray demo text --epochs 5 --backend torch",
)
def text(
    backend: Flag = "auto",
    seed: Seed = 0,
    epochs: Annotated[int, typer.Option("--epochs", help="Number of epochs, of 100 steps each.")] = 20,
    out: Out = None,
) -> None:
    """Train a small transformer on made-up tales, show what it writes while it learns, and draw its attention."""
    integer(epochs, "--epochs", 1, usual=20)
    picture = _picture(out, "nnarray-text.png")
    be, console = backends.backend(backend), output()
    from nnarray.apps.demos import text as tales

    start = tales.untrained_text(be, seed=seed)
    facts = {
        "backend": described(be, start.model.theta.dtype, backend),
        "data": f"{tales.TALES} tales of a grammar, {len(start.train.tokens)} characters to train on, seed {seed}",
        "network": f"{tales.BLOCKS} transformer blocks of {tales.HEADS} heads, {start.model.theta.shape[0]} parameters",
        "training": f"{epochs} epochs of {tales.STEPS} batches of {tales.BATCH} x {tales.LENGTH} characters, AdamW",
    }
    show_facts(console, facts)

    def show(epoch: int, sample: str) -> None:
        console.print(f"after epoch {epoch}:", markup=False)
        console.print(f"  {' / '.join(sample.splitlines())}\n", soft_wrap=True, markup=False)

    with training_bar(epochs) as watch:
        fit = tales.fit_text(start, epochs=epochs, seed=seed, show=show, watch=watch)
    console.print(f"loss {fit.history['val_loss'][-1]:.3g} nats a character on held-out tales; {_speed(fit.history)}")
    _save(console, picture, lambda: tales.draw_text(fit))


# --- Before the training -------------------------------------------------------------------------------------


def _refuse_options_before(ctx: typer.Context) -> None:
    """Refuse options before a sub-command, which would ignore them."""
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise ValueError(f"write {option} after {ctx.invoked_subcommand!r}, or leave it out; see its --help.")


def _picture(out: Path | None, usual: str) -> Path | None:
    """The path of the figure, tested by opening it for writing; None, with a message, if drawing is not possible."""
    try:
        plotting.need_matplotlib()
    except ImportError as error:
        if out is not None:
            raise
        typer.echo(f"nnarray: no figure is drawn: {error}", err=True)
        return None
    path = Path(usual) if out is None else out
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--out must end in .png, .svg or .pdf; got {str(path)!r}.")
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise OSError(
            f"cannot write the figure {str(path)!r}: {error.strerror}. Choose another path with --out."
        ) from error
    if not existed:
        path.unlink()
    return path


# --- What is shown --------------------------------------------------------------------------------------------


def _speed(history: History) -> str:
    from nnarray.apps.demos import speed

    return f"{speed(history):,.0f} steps per second, {history['seconds'][-1]:.2g} s in all"


def _show_classification(console: Console, be: Backend, flag: str, starts: Sequence[Start]) -> None:
    from nnarray.apps.demos import shape_of

    start, *others = starts
    networks = ", ".join(shape_of(each.model) for each in starts)
    parameters = "" if others else f", {start.model.theta.shape[0]} parameters"
    facts = {
        "backend": described(be, start.model.theta.dtype, flag),
        "data": f"{start.dataset}: {start.X.shape[0]} points, {start.classes} classes, "
        f"noise {start.noise:g}, seed {start.seed}",
        "network" if not others else "networks": f"{networks}, {start.activation}{parameters}",
        "training": f"{start.epochs} epochs on all points at once, Adam, rate {start.optimizer.lr:g}",
    }
    show_facts(console, facts)
    if not others:
        _show_forward(console, be, start)


def _show_forward(console: Console, be: Backend, start: Start) -> None:
    """Print a few points and the outputs of the untrained network for them."""
    X, y, z, p = (be.to_numpy(v) for v in (start.X, start.y, start.logits, start.probabilities))
    console.print("Forward propagation before any training:")
    names = ["x1", "x2", "logits", "probabilities", "likeliest", "class"]
    rows = [
        [f"{X[i, 0]:.3f}", f"{X[i, 1]:.3f}", _numbers(z[i]), _numbers(p[i]), str(p[i].argmax()), str(int(y[i]))]
        for i in range(0, len(X), len(X) // 5)
    ]
    show_table(console, names, rows[:5], right=names)
    console.print()


def _numbers(row: Any) -> str:
    digits = 3 if len(row) == 2 else 2  # with three classes, so that a row fits into 80 columns
    return "  ".join(f"{value:{digits + 3}.{digits}f}" for value in row)


def _show_trained(console: Console, done: Trained) -> None:
    from nnarray.apps.demos import NEW_POINTS, percent

    before, after = done.start.scores, done.scores
    rows = [
        ["loss", f"{before.loss:.4g}", f"{after.loss:.4g}"],
        ["accuracy", percent(before.accuracy), percent(after.accuracy)],
        [f"accuracy on {NEW_POINTS} new points", percent(before.new_accuracy), percent(after.new_accuracy)],
    ]
    show_table(console, ["", "before", "after"], rows, right=["before", "after"])
    console.print(f"\n{_speed(done.history)}")


def _show_sizes(console: Console, results: Sequence[Trained]) -> None:
    from nnarray.apps.demos import NEW_POINTS, percent, speed

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
    show_table(console, names, rows, right=names)


def _show_line(console: Console, fit: LineFit) -> None:
    names = ["", "slope", "intercept", "mean squared error"]
    lines = {"true line": fit.true, "least squares": fit.least_squares, "gradient descent": fit.descent}
    rows = [[name, f"{at.slope:.6g}", f"{at.intercept:.6g}", f"{at.error:.6g}"] for name, at in lines.items()]
    show_table(console, names, rows, right=names[1:])


def _show_sine(console: Console, fit: SineFit) -> None:
    names = ["", "root mean square error", "largest error"]
    every = {f"straight lines between {n} samples": errors for n, errors in fit.interpolation.items()}
    rows = [[name, f"{at.rms:.3g}", f"{at.largest:.3g}"] for name, at in {**every, "network": fit.network}.items()]
    show_table(console, names, rows, right=names[1:])


def _save(console: Console, path: Path | None, draw: Callable[[], Any]) -> None:
    """Draw and write the figure, and print its path."""
    if path is None:
        return
    plotting.save(draw(), path)
    console.print(f"\nfigure: {path}", soft_wrap=True)
