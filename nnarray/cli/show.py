"""`nnarray show`: the contents of a model file."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from nnarray.apps.workflow.model_files import has_ended, origin_of
from nnarray.backends import dtype_name, host_backend
from nnarray.cli.app import app
from nnarray.cli.console import Json, label, label_in_training, output, show_facts, show_table
from nnarray.layers.base import described
from nnarray.model import Model
from nnarray.names import memory
from nnarray.network import load
from nnarray.onnx.reading.facts import facts_of
from nnarray.onnx.reading.file import read_file
from nnarray.persistence.archive import sha256_of

SHORT = 12  # hexadecimal digits of a digest for people


@app.command(
    short_help="The contents of a model file.",
    epilog="\b\nExamples:\n  nnarray show flowers.safetensors\n  nnarray show flowers.safetensors --json\n"
    "  nnarray show model.onnx",
)
def show(
    model: Annotated[
        Path, typer.Argument(help="A .safetensors file of nnarray, or an .onnx file.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Show the architecture, the number of parameters, the settings of the training, and the source of the data.

    "file" begins the SHA-256 of the file, as `sha256sum` shows it, and `GET /` of `nnarray serve`.
    """
    if model.suffix == ".onnx":
        _show_graph(model, as_json=as_json)
        return
    net = load(model, backend=host_backend())
    if as_json:
        typer.echo(json.dumps(_facts(net, model), indent=2))
        return
    console = output()
    show_facts(console, _texts(net, model))
    console.print(str(net.summary()))
    preparation = _preparation(net)
    if preparation is not None:
        console.print()
        show_table(console, ["column", "kind", "what is done"], preparation.describe())


def _show_graph(path: Path, *, as_json: bool) -> None:
    """The inputs, the outputs and the operators of an ONNX file."""
    facts: dict[str, Any] = {"model": str(path), "sha256": sha256_of(path), **facts_of(read_file(path, texts=True))}
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    console = output()
    operators = facts.pop("operators")
    texts = facts | {"sha256": facts["sha256"][:SHORT], "parameters": f"{facts['parameters']:,}"}
    for name in ("inputs", "outputs", "versions of operators", "notes"):
        texts[name] = "; ".join(f"{key}: {value}" for key, value in facts[name].items())
    texts["bytes of constants"] = memory(facts["bytes of constants"])
    show_facts(console, {label(name): str(text) for name, text in texts.items() if text})
    show_table(console, ["operator", "number"], [(name, str(number)) for name, number in operators.items()])


def _preparation(net: Model) -> Any:
    noted = net.metadata.get("input")
    if not isinstance(noted, dict) or noted.get("kind") != "table":
        return None
    from nnarray.tables.preparation import Preparation

    try:
        return Preparation.from_json(noted.get("preparation"))
    except ValueError:  # metadata of the user's own, or damaged ones: --json shows them unchanged
        return None


def _facts(net: Model, path: Path) -> dict[str, Any]:
    return {
        "model": str(path),
        "sha256": sha256_of(path),
        "trained": origin_of(net.metadata).to_json(),
        "training ended": has_ended(net.metadata),
        "layers": [described(layer) for layer in getattr(net.network, "layers", (net.network,))],
        "input shape": net.input_shape,
        "output shape": list(net.output_shape),
        "parameters": net.theta.shape[0],
        "dtype": dtype_name(net.theta.dtype),
        "frozen": sorted(net.frozen),
        "epochs": len(net.history.columns.get("epoch", [])),
        "steps": net.history.steps,
        "training": net.history.settings,
        "last epoch": {name: column[-1] for name, column in net.history.columns.items() if column},
        "metadata": net.metadata,
    }


def _texts(net: Model, path: Path) -> dict[str, str]:
    history, metadata = net.history, dict(net.metadata)
    facts = {"model": f"{path}, {net.theta.shape[0]} parameters, {dtype_name(net.theta.dtype)}"}
    facts["file"] = f"sha256 {sha256_of(path)[:SHORT]}"
    if (origin := origin_of(metadata)).ended:
        facts["trained"] = origin.text
        del metadata["trained"]
    if isinstance(metadata.get("data"), dict):
        facts["data"] = ", ".join(f"{name} {value}" for name, value in metadata.pop("data").items())
    if history.settings:
        ended = "" if has_ended(net.metadata) else "not ended (continue: --resume); "
        facts["training"] = (
            f"{ended}{len(history.columns.get('epoch', []))} epochs, {history.steps} steps; "
            + ", ".join(
                f"{name} {value}" for name, value in history.settings.items() if value is not None and value != []
            )
        )
        facts["last epoch"] = ", ".join(
            f"{label_in_training(name, history.settings)} {column[-1]:.4g}"
            for name, column in history.columns.items()
            if column and name != "epoch"
        )
    for name in ("scores", "test scores"):
        scores = metadata.get(name)
        if isinstance(scores, dict) and isinstance(scores.get("metrics"), dict):
            facts[name] = _scores(metadata.pop(name))
    with suppress(TypeError, ValueError):  # metadata of the user's own, or damaged ones, are shown unchanged
        if net.tokenizer is not None:
            del metadata["tokenizer"]
            facts["tokenizer"] = f"{net.tokenizer.kind}, {len(net.tokenizer)} tokens"
    if isinstance(metadata.get("input"), dict):  # has a table of its own
        del metadata["input"]
    return facts | {name: str(value) for name, value in metadata.items()}


def _scores(scores: dict[str, Any]) -> str:
    metrics = ", ".join(
        f"{label(name)} {value:.4g}" if isinstance(value, float) else f"{label(name)} {value}"
        for name, value in scores["metrics"].items()
    )
    return f"{metrics} (of {scores.get('examples')} {scores.get('of', 'examples')})"
