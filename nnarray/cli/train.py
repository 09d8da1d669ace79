"""`nnarray train`: from a table, a folder of images or a text to a trained network in a file."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nnarray
from nnarray import backends, files
from nnarray.apps.workflow.model_files import (
    file_to_resume,
    refuse_other_folds,
)
from nnarray.cli.app import app, though_nobody_reads
from nnarray.cli.completion import column_names
from nnarray.cli.console import (
    Dates,
    Decimal,
    Delimiter,
    Encoding,
    Flag,
    Header,
    Json,
    Missing,
    Skip,
    Thousands,
    dense_parameters,
    described,
    integers,
    output,
    print_epoch,
    reading_bar,
    terminal,
    text_format,
    training_bar,
)
from nnarray.cli.logs import LogFile, Verbose, logged
from nnarray.cli.standard_input import STANDARD, from_standard_input
from nnarray.cli.texts import is_text, plan_of, refuse_options_of_text, train_text
from nnarray.cli.training_file import advising, claimed, saying_that_folds_are_not_saved, saying_what_is_saved
from nnarray.cli.training_output import facts_of, facts_of_linear, log_end, show_end, show_start
from nnarray.layers.activations import FUNCTIONS
from nnarray.optimizers import OPTIMIZERS
from nnarray.tables.text_format import USUAL

if TYPE_CHECKING:
    from nnarray.apps.workflow.steps import Plan

log = logging.getLogger("nnarray")

BALANCED = "the classes are balanced: probabilities are those of equally frequent classes, too high for rare ones"


def _fraction(text: str) -> float:
    """A part of the examples; refuses the name of a file."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(
            f"a part of the examples is needed, such as 0.2; got {text!r}. If this is a file: train without it, and "
            f"then nnarray evaluate MODEL {text}"
        ) from None


@app.command(
    short_help="Train a network on a table, a folder of images or a text.",
    epilog=(
        "\b\nExamples:\n  nnarray train flowers.csv --target species --out flowers.safetensors\n"
        "  nnarray train houses.parquet --target price --drop id,street --report figures\n"
        "  nnarray train photos/ --size 64 --epochs 20 --backend cupy\n"
        "  nnarray train book.txt --out book.safetensors\n"
        "  nnarray train flowers.csv --target species --out flowers.safetensors --epochs 200 --resume"
    ),
)
def train(
    ctx: typer.Context,
    data: Annotated[
        Path,
        typer.Argument(
            help="A .csv, .tsv (or .csv.gz, ...), .parquet, .feather, .arrow, .npz or .npy file; or a folder with a "
            "subfolder of images for each class; or a .txt file without --target: a text; -: CSV from standard input.",
            show_default=False,
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help="The column to predict; for several numeric columns: a,b.",
            show_default=False,
            autocompletion=column_names,
        ),
    ] = None,
    task: Annotated[str, typer.Option("--task", help="classify, regress; auto: by the target.")] = "auto",
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop",
            help="Columns to leave out, such as id,name.",
            show_default=False,
            autocompletion=column_names,
        ),
    ] = None,
    categories: Annotated[
        list[str] | None,
        typer.Option(
            "--categories",
            help="Columns whose numbers are names, such as postcode.",
            show_default=False,
            autocompletion=column_names,
        ),
    ] = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    missing: Missing = None,
    header: Header = None,
    encoding: Encoding = None,
    dates: Dates = None,
    hidden: Annotated[
        str | None,
        typer.Option(
            "--hidden", help="Sizes of the hidden layers; default: 64,64; for images filters: 16,32,64. '': none."
        ),
    ] = None,
    activation: Annotated[
        str, typer.Option("--activation", help=f"Function of the hidden layers: {', '.join(FUNCTIONS)}.")
    ] = "relu",
    dropout: Annotated[
        float | None,
        typer.Option(
            "--dropout",
            help="Rate after each hidden layer of a table; default: 0.2 for classes, or for few rows; else 0.",
            show_default=False,
        ),
    ] = None,
    backend: Flag = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="float32 or float64.")] = "float32",
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            help="The largest total number of epochs; default: 50, and more for small tables.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", help="Examples per step; default: 32, or 256 for at least 10,000 examples."),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            "--optimizer",
            help=f"{', '.join(OPTIMIZERS)}; default for tables: adamw with decay 0.1, or 1 for few rows; else adam.",
            show_default=False,
        ),
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="The learning rate; default: the optimizer's own.")] = None,
    validation: Annotated[
        float,
        typer.Option(
            "--validation",
            parser=_fraction,
            metavar="FLOAT",
            help="The fraction of the examples that is held out to choose the epoch.",
        ),
    ] = 0.2,
    test: Annotated[
        float,
        typer.Option(
            "--test",
            parser=_fraction,
            metavar="FLOAT",
            help="A third part of the examples, on which the network is scored in the end.",
        ),
    ] = 0.0,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            help="Cross-validation with so many parts; the network that is saved is then trained on all of them.",
            show_default=False,
        ),
    ] = None,
    class_weight: Annotated[
        str | None,
        typer.Option("--class-weight", help="balanced: rare classes count as much as others.", show_default=False),
    ] = None,
    linear: Annotated[
        bool, typer.Option("--linear/--no-linear", help="Train a linear model on a table too, to compare with.")
    ] = True,
    early_stopping: Annotated[
        bool | None,
        typer.Option(
            "--early-stopping/--no-early-stopping",
            help="Stop when the held-out loss no longer falls, and keep the best epoch; on if examples are held out.",
            show_default=False,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            help="Epochs without improvement before early stopping; default: a tenth of --epochs, at least 10.",
        ),
    ] = None,
    size: Annotated[int, typer.Option("--size", help="Height and width that images are resized to.")] = 64,
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", help="Of a text: characters, bytes, or pairs of bytes that are learned.")
    ] = "characters",
    vocabulary: Annotated[int, typer.Option("--vocabulary", help="The number of tokens of --tokenizer pairs.")] = 1000,
    context: Annotated[int, typer.Option("--context", help="The number of tokens that a model of a text sees.")] = 64,
    blocks: Annotated[int, typer.Option("--blocks", help="The number of transformer blocks for a text.")] = 4,
    heads: Annotated[int, typer.Option("--heads", help="The number of heads of attention in each block.")] = 4,
    features: Annotated[int, typer.Option("--features", help="The number of features of each token.")] = 128,
    skip: Skip = False,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Keep the data on the disk, not in memory; on if they would take over half of the free memory.",
            show_default=False,
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option("--scratch", help="The folder for --stream; default: that of the data.", show_default=False),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            help="As --stream, in a folder that keeps the files for the next time.",
            show_default=False,
        ),
    ] = None,
    grains: Annotated[
        int | None,
        typer.Option(
            "--grains",
            help="The number of parts of each batch, a power of two, and so the largest number of workers. "
            "Default: 1, and 8 on a cluster.",
            show_default=False,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", help="Address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers compute."
        ),
    ] = None,
    checkpoint_every: Annotated[
        int, typer.Option("--checkpoint-every", help="Number of epochs between two saves.")
    ] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the training of --out, if there is one, up to --epochs in total.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Train from the start, also if an unfinished training of --out is lost.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the split, the initial parameters and the order.")] = 0,
    out: Annotated[
        Path,
        typer.Option("--out", help="The file of the network, replaced at the end; until then, NAME.unfinished beside."),
    ] = Path("model.safetensors"),
    report: Annotated[
        Path | None, typer.Option("--report", help="A folder for figures of the training and of the predictions.")
    ] = None,
    as_json: Json = False,
    log_file: LogFile = None,
    verbose: Verbose = False,
) -> None:
    """Train a network on a table, a folder of images or a text, and print its scores on held-out examples.

    Numbers are standardised, categories one-hot; a missing number becomes the mean. What is needed for that is learned
    from the training part alone and saved with the network, so that `nnarray predict` takes files of the same shape.
    """
    from nnarray.apps.workflow import reports, steps

    ctx.with_resource(logged(log_file, verbose))
    if is_text(data, target):
        text_plan = plan_of(ctx, data)
        files.prove(claimed(ctx, out, resume=resume, restart=restart))
        log.info("nnarray %s trains on %s, a text, into %s", nnarray.__version__, data, out)
        with advising(out):
            train_text(
                data,
                text_plan,
                backend,
                out,
                as_json=as_json,
                saying=lambda model, epochs: saying_what_is_saved(model, out, epochs),
            )
        return
    refuse_options_of_text(ctx, data)
    plan = steps.Plan(
        target=tuple(target or ()),
        task=task,  # type: ignore[arg-type]  # checked there
        drop=tuple(drop or ()),
        categories=tuple(categories or ()),
        text=text_format(
            USUAL,
            missing=missing,
            delimiter=delimiter,
            decimal=decimal,
            thousands=thousands,
            header=header,
            encoding=encoding,
            dates=dates,
        ),
        hidden=None if hidden is None else integers(hidden, "--hidden") if hidden else (),
        activation=activation,
        dropout=dropout,
        optimizer=optimizer,
        lr=lr,
        epochs=epochs,
        batch_size=batch_size,
        validation=validation,
        test=test,
        class_weight=class_weight,  # type: ignore[arg-type]  # checked there
        early_stopping=early_stopping,
        patience=patience,
        size=size,
        errors="skip" if skip else "raise",
        checkpoint_every=checkpoint_every,
        resume=resume,
        seed=seed,
        dtype=dtype,
        stream=stream,
        scratch=scratch,
        cache=cache,
        grains=grains,
        scheduler=scheduler,
    )
    if folds is not None and str(getattr(ctx.get_parameter_source("validation"), "name", "")) != "DEFAULT":
        raise ValueError("--folds holds out each part once: leave out --validation.")
    file = claimed(ctx, out, resume=resume, restart=restart)
    if resume and (begun := file_to_resume(file)) is not None:
        refuse_other_folds(begun, folds)
    files.prove(file)
    if report is not None:
        reports.prepare(report)
    if data == STANDARD and cache is not None:
        raise ValueError("--cache keeps the rows of a file, to be found again; standard input is none: pass --stream.")
    log.info("nnarray %s trains on %s, target %s, into %s", nnarray.__version__, data, ",".join(plan.target), out)
    with advising(out), from_standard_input(data) as source:
        _train(source, plan, folds, backend, out, report, linear=linear, as_json=as_json)


def _train(
    data: Path,
    plan: Plan,
    folds: int | None,
    backend: str,
    out: Path,
    report: Path | None,
    *,
    linear: bool,
    as_json: bool,
) -> None:
    """Read, train, compare, and show what has come of it."""
    from nnarray.apps.workflow import comparisons, reports, steps

    known = None if data.is_dir() else dense_parameters(*plan.dense_sizes)  # of the layers between, the columns aside
    be, console = backends.backend(backend, parameters=known), output()
    folded = None
    if folds is not None:
        with reading_bar() as read, saying_that_folds_are_not_saved():
            folded = comparisons.cross_validated(
                data, plan, folds, be, read, linear=linear, importance=report is not None
            )
        plan = comparisons.on_all(plan, folded)
    with reading_bar() as read:
        examples = steps.read(data, plan, read)
    if plan.class_weight:
        examples = examples._replace(notes=[*examples.notes, BALANCED])
    model = steps.model_for(data, examples, plan, be)
    if not as_json:
        with though_nobody_reads():
            show_start(console, model, examples, described(be, model.theta.dtype, backend))
    epochs = steps.epochs_of(plan, examples)
    with saying_what_is_saved(model, out, epochs):
        with training_bar(epochs) as watch:
            watches = [watch] if as_json or terminal() else [watch, print_epoch]
            scores = None if folded is None else folded.to_json()
            done = steps.train(model, examples, plan, out, watches, scores_to_note=scores)
        log_end(done, out)
        compared = comparisons.linear_model(data, examples, plan, be) if linear and not done.idle else None
        drawn = reports.Drawn([], []) if report is None else reports.draw(done, report, folded)
    if as_json:
        facts = facts_of(done, out, drawn)
        facts |= facts_of_linear(done, compared) if compared else {}
        facts |= {"folds": folded.to_json()} if folded else {}
        typer.echo(json.dumps(facts, indent=2))
    else:
        show_end(console, done, epochs, compared, folded)
        link = f", a link to {out.resolve()}" if out.is_symlink() else ""
        for line in [f"model: {out}{link}", *(f"figure: {file}" for file in drawn.files)]:
            console.print(line, soft_wrap=True)
        for note in drawn.notes:
            console.print(f"note: {note}", soft_wrap=True)
