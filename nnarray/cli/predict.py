"""`nnarray predict` and `nnarray evaluate`: a trained network on new data."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnarray import backends, files
from nnarray.apps.workflow.inputs import Inputs, Rows
from nnarray.cli.app import app, is_closed
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
    output,
    show_importance,
    show_scores,
    text_format,
)
from nnarray.cli.standard_input import STANDARD, from_standard_input
from nnarray.tables.oddities import FAR, MISSING, SAID, UNKNOWN, Oddities
from nnarray.tables.write import print_table
from nnarray.training.context import check_signals

if TYPE_CHECKING:
    from nnarray.model import Model

ModelFile = Annotated[Path, typer.Argument(help="A .safetensors file that `nnarray train` wrote.", show_default=False)]
Data = Annotated[
    Path,
    typer.Argument(
        help="A table with the columns of the training, or a folder of images; -: CSV from standard input.",
        show_default=False,
    ),
]
Unknown = Annotated[
    str,
    typer.Option(
        "--unknown",
        help="error: refuse categories that were not in the training data; ignore: encode them as no category.",
    ),
]

NAMES = {UNKNOWN: "unknown categories", MISSING: "missing entries", FAR: "far numbers"}
BALANCED = (
    "the classes were balanced in the training: probabilities are those of equally frequent classes, too high for rare "
    "ones."
)
DType = Annotated[str | None, typer.Option("--dtype", help="Dtype of the computation; default: that of the file.")]


@app.command(
    short_help="The predictions of a trained network for new data.",
    epilog=(
        "\b\nExamples:\n  nnarray predict flowers.safetensors new.csv --out predictions.csv\n"
        "  nnarray predict houses.safetensors many.parquet --out prices.parquet --backend cupy\n"
        "  nnarray predict pets.safetensors photo.jpg\n"
        "  zcat many.csv.gz | nnarray predict houses.safetensors - --keep id,street > prices.csv"
    ),
)
def predict(
    ctx: typer.Context,
    model: ModelFile,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="A .csv, .tsv, .parquet, .feather or .npz file; -, the default: CSV on standard output."
        ),
    ] = None,
    backend: Flag = "auto",
    dtype: DType = None,
    unknown: Unknown = "error",
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    missing: Missing = None,
    header: Header = None,
    encoding: Encoding = None,
    dates: Dates = None,
    skip: Skip = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", help="Columns of the table that come with the predictions: id,name.", show_default=False
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", help="Address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers compute."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the predicted class and probabilities, or the values, for each row of a table or each image of a folder.

    The predictions are in the order of the data. The data are read in parts, so they may be larger than the memory. The
    columns are "prediction" and "p_<class>" for each class, or the targets. The columns of --keep come first; if a
    target is among them, its prediction is "predicted NAME". For images, "file" is the first column.
    """
    from nnarray.apps.workflow import using

    out = None if out == STANDARD else out
    if out is not None:
        _refuse_own_inputs(out, model, data)
        ctx.with_resource(files.owned(out, "prediction"))
        files.sweep(out)
        files.prove(out)
    elif is_closed():
        raise OSError("standard output is closed, and predictions would be lost: pass --out FILE.")
    net, inputs = _opened(
        model,
        backend,
        dtype,
        missing=missing,
        delimiter=delimiter,
        decimal=decimal,
        thousands=thousands,
        header=header,
        encoding=encoding,
        dates=dates,
    )
    errors = "skip" if skip else "raise"
    if "class weights" in net.metadata:
        typer.echo(f"nnarray: note: {BALANCED}", err=True)
    oddities = Oddities()
    settings: dict[str, Any] = {"unknown": unknown, "errors": errors, "scheduler": scheduler, "keep": keep or ()}
    with from_standard_input(data) as file:
        parts = _while_wanted(using.predict(net, inputs, file, oddities=oddities, **settings))
        if out is None:
            _print(parts, as_json=as_json)
        else:
            count = using.predict_to_file(parts, out)
            typer.echo(
                json.dumps({"predictions": count, "out": str(out)}) if as_json else f"{count} predictions: {out}"
            )
    for line in oddities.described.values():  # not on standard output, where the predictions may be
        typer.echo(f"nnarray: note: {line}.", err=True)


def _refuse_own_inputs(out: Path, *inputs: Path) -> None:
    """Refuse to write predictions over what they are made from."""
    for each in inputs:
        if out.exists() and each.exists() and out.samefile(each):
            raise ValueError(f"--out {str(out)!r} would replace {str(each)!r}, which is read. Choose another --out.")


def _opened(file: Path, backend: str, dtype: str | None, **options: Any) -> tuple[Model, Inputs]:
    """The network in a file, and its inputs; the options change the format of its text tables."""
    from nnarray.apps.workflow import using

    model, inputs = using.load(file, backends.backend(backend), dtype)
    if isinstance(inputs, Rows):
        return model, replace(inputs, text=text_format(inputs.text, **options))
    if any(value is not None for value in options.values()):
        raise ValueError(
            "--delimiter, --missing and similar options are for tables, but the model takes images. Leave them out."
        )
    return model, inputs


def _while_wanted(parts: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The parts, until a signal ends the command, so that nothing is written after it."""
    for part in parts:
        check_signals()
        yield part
    check_signals()


def _print(parts: Iterator[dict[str, Any]], *, as_json: bool) -> None:
    """Print as CSV, or as one JSON object per line."""
    if not as_json:
        sys.stdout.flush()
        print_table(sys.stdout.buffer, parts)
        return
    for part in parts:
        columns = [column if isinstance(column, list) else column.tolist() for column in part.values()]
        rows = zip(*columns, strict=True)
        sys.stdout.writelines(json.dumps(dict(zip(part, row, strict=True)), default=str) + "\n" for row in rows)


@app.command(
    short_help="The scores of a trained network on data with known targets.",
    epilog=(
        "\b\nExamples:\n  nnarray evaluate flowers.safetensors test.csv\n"
        "  nnarray evaluate pets.safetensors photos/ --json"
    ),
)
def evaluate(
    model: ModelFile,
    data: Data,
    backend: Flag = "auto",
    dtype: DType = None,
    unknown: Unknown = "error",
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    missing: Missing = None,
    header: Header = None,
    encoding: Encoding = None,
    dates: Dates = None,
    skip: Skip = False,
    importance: Annotated[
        bool, typer.Option("--importance", help="How much worse it is without each column: shuffled among the rows.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the predictions of a network, and a baseline, with the targets in the data.

    The baseline always predicts the most common class, or the mean.
    """
    from nnarray.apps.workflow import using
    from nnarray.apps.workflow.importance import importance_in

    net, inputs = _opened(
        model,
        backend,
        dtype,
        missing=missing,
        delimiter=delimiter,
        decimal=decimal,
        thousands=thousands,
        header=header,
        encoding=encoding,
        dates=dates,
    )
    errors, oddities = "skip" if skip else "raise", Oddities()
    with from_standard_input(data) as file:
        scores = using.evaluate(net, inputs, file, unknown=unknown, errors=errors, oddities=oddities)  # type: ignore[arg-type]
        columns = importance_in(net, inputs, file, unknown=unknown) if importance else None  # type: ignore[arg-type]
    if as_json:
        facts = {"model": str(model), "data": str(data)} | scores.to_json()
        facts |= {
            NAMES[kind]: oddities.to_json(kind)
            for kind in SAID
            if oddities.rows[kind] or (kind == UNKNOWN and unknown == "ignore")
        }
        facts |= {"importance": columns.to_json()} if columns else {}
        typer.echo(json.dumps(facts, indent=2))
        return
    for line in oddities.described.values():
        output().print(f"note: {line}\n", soft_wrap=True)
    show_scores(output(), scores, f"on {scores.examples} examples of {data}")
    if columns is not None:
        show_importance(output(), columns)
