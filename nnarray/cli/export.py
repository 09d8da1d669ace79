"""`nnarray export`: a model as an ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nnarray.backends import host_backend
from nnarray.cli.app import app
from nnarray.cli.console import Json, output, show_facts
from nnarray.network import load
from nnarray.onnx.reading.facts import facts_of
from nnarray.onnx.reading.file import read_file
from nnarray.onnx.writing.file import SUFFIX


@app.command(
    short_help="A model as an ONNX file, with the preparation of its data.",
    epilog="\b\nExamples:\n  nnarray export flowers.safetensors\n"
    "  nnarray export flowers.safetensors -o web/flowers.onnx",
)
def export(
    model: Annotated[Path, typer.Argument(help="A .safetensors file of nnarray.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Default: the name of MODEL with the ending .onnx.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="Dtype of the network; default: that of the file.")
    ] = None,
    unknown: Annotated[
        str,
        typer.Option(
            "--unknown", help="New categories of a table. ignore: they count as none; error: the computation fails."
        ),
    ] = "ignore",
    batch: Annotated[
        int | None, typer.Option("--batch", help="The number of rows in each call; default: any number.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Run the file first, and compare its answers with the model's.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Write a model as an ONNX file, which other programs run without nnarray and without Python.

    For a table, each column is an input of the file, and the outputs are the label and the probabilities, or the
    value: what `nnarray predict` writes. For images, the input is their bytes. Other models are written as the network
    alone.
    """
    out = model.with_suffix(SUFFIX) if out is None else out
    net = load(model, backend=host_backend(), dtype=dtype)
    noted = net.metadata.get("input")
    if isinstance(noted, dict) and noted.get("kind") != "text":
        from nnarray.apps.workflow.pipeline import load_pipeline

        pipeline = load_pipeline(model, backend=host_backend(), dtype=dtype)
        pipeline.to_onnx(out, unknown=unknown, batch=batch, check=check)  # type: ignore[arg-type]
    else:
        net.to_onnx(out, batch=batch, check=check)
    facts = facts_of(read_file(out, texts=True))
    shown: dict[str, Any] = {"inputs": facts["inputs"], "outputs": facts["outputs"], "notes": facts["notes"]}
    if as_json:
        typer.echo(json.dumps({"model": str(model), "out": str(out), "compared": check, **shown}, indent=2))
        return
    compared = "compared with the model" if check else "not compared with the model"
    texts = {name: "; ".join(f"{key}: {each}" for key, each in shown[name].items()) for name in ("inputs", "outputs")}
    show_facts(output(), {"file": f"{out}, {compared}", **texts})
