"""`nnarray train text.txt`: from a text file to a language model in a file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nnarray import backends
from nnarray.backends import dtype_name
from nnarray.cli.app import though_nobody_reads
from nnarray.cli.console import (
    described,
    facts_of_training,
    output,
    print_epoch,
    show_facts,
    show_table,
    terminal,
    training_bar,
)
from nnarray.layers.base import described as described_layer

if TYPE_CHECKING:
    from rich.console import Console

    from nnarray.apps.workflow.texts import TextPlan, TextTrained
    from nnarray.model import Model

ENDING = ".txt"
OF_TEXT = ("tokenizer", "vocabulary", "context", "blocks", "heads", "features")
"""Options that only texts have."""
OPTIONS = (*OF_TEXT, "dropout", "optimizer", "lr", "epochs", "batch_size", "validation", "early_stopping", "patience")
OPTIONS = (*OPTIONS, "checkpoint_every", "resume", "seed", "dtype", "encoding", "scratch")
"""Options of `nnarray train` that texts have."""
ALWAYS = ("data", "backend", "out", "restart", "as_json", "log_file", "verbose")
SAMPLE = 200  # tokens that are shown at the end


def is_text(data: Path, target: Any) -> bool:
    """Whether it is a text and not a table: its name ends in .txt, and no column of it is named."""
    return data.suffix.lower() == ENDING and not target


def plan_of(ctx: typer.Context, data: Path) -> TextPlan:
    """The plan of the options that are given.

    Raises
    ------
    ValueError
        If there is an option that texts do not have.
    """
    from nnarray.apps.workflow.texts import TextPlan

    given = _given(ctx)
    others = [name for name in given if name not in (*OPTIONS, *ALWAYS)]
    if others:
        raise ValueError(
            f"{_option(others[0])} is not for texts, and {str(data)!r} is read as a text: it ends in {ENDING}, and no "
            f"--target is given. Leave it out; or for a table, pass --target COLUMN."
        )
    if "vocabulary" in given and ctx.params["tokenizer"] != "pairs":
        raise ValueError(
            f"--vocabulary is for --tokenizer pairs, and the tokenizer is {ctx.params['tokenizer']}. Leave it "
            f"out: the vocabulary follows from the text."
        )
    return TextPlan(**{name: ctx.params[name] for name in given if name in OPTIONS})


def refuse_options_of_text(ctx: typer.Context, data: Path) -> None:
    """Refuse options for texts where the data are something else.

    Raises
    ------
    ValueError
        If there is one; the message says what is read as a text.
    """
    wrong = [name for name in _given(ctx) if name in OF_TEXT]
    if wrong:
        raise ValueError(
            f"{_option(wrong[0])} is for texts, and {str(data)!r} is none: a text is a file that ends in {ENDING}, "
            f"without --target. Leave it out, or rename the file."
        )


def _given(ctx: typer.Context) -> list[str]:
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def _option(name: str) -> str:
    return {"as_json": "--json", "errors": "--skip-unreadable"}.get(name, "--" + name.replace("_", "-"))


def train_text(data: Path, plan: TextPlan, backend: str, out: Path, *, as_json: bool, saying: Any) -> None:
    """Read, train, and show what has come of it; `saying(model, epochs)` names what is saved if it is interrupted."""
    from nnarray.apps.workflow import texts

    console = output()
    read = texts.read(data, plan)
    be = backends.backend(backend)
    model = texts.model_for(read, plan, be)
    epochs = texts.epochs_of(read, plan)
    if not as_json:
        with though_nobody_reads():
            _show_start(console, model, data, described(be, model.theta.dtype, backend))
    with saying(model, epochs), training_bar(epochs) as watch:
        done = texts.train(model, read, plan, out, [watch] if as_json or terminal() else [watch, print_epoch])
    if as_json:
        typer.echo(json.dumps(_facts(done, out), indent=2))
        return
    _show_end(console, done, epochs)
    console.print(f"model: {out}", soft_wrap=True)
    console.print(f"continue a text: nnarray generate {out} --prompt ...", soft_wrap=True)


def _show_start(console: Console, model: Model, data: Path, backend: str) -> None:
    noted, tokenizer = model.metadata["data"], model.tokenizer
    assert tokenizer is not None
    facts = {
        "backend": backend,
        "text": f"{data.name}, read as text because it ends in {ENDING} and no --target is given",
        "tokens": f"{tokenizer.kind}, {len(tokenizer)} different; {noted['trained on']} for training, "
        f"{noted['held out']} held out",
        "network": f"{described_layer(model.network)}, {model.theta.shape[0]} parameters",
    }
    show_facts(console, facts)


def _show_end(console: Console, done: TextTrained, limit: int) -> None:
    history = done.model.history
    epochs, stopped = len(history["epoch"]), f", {done.stopped}" if done.stopped else ""
    if done.idle:
        console.print(f"nothing to do: {epochs} of {limit} epochs{stopped}; the model is as it was\n")
    else:
        console.print(f"{epochs} epochs, {history.steps} steps, {history['seconds'][-1]:.3g} s{stopped}\n")
    of = "on held-out tokens" if done.held_out else "on the tokens of the training: none were held out"
    console.print(f"{of}{f' (epoch {done.best_epoch})' if done.best_epoch and done.held_out else ''}:")
    rows = [
        ["loss", f"{done.loss:.4g}", f"{done.by_frequency:.4g}"],
        ["perplexity", f"{math.exp(done.loss):.4g}", f"{math.exp(done.by_frequency):.4g}"],
    ]
    show_table(console, ["", "network", "by frequency alone"], rows, ["network", "by frequency alone"])
    from nnarray.apps.workflow.texts import first_prompt

    prompt = first_prompt(done.model)
    sample = prompt + done.model.generate(prompt, max_tokens=SAMPLE, temperature=0.8)
    console.print("\nsample:")
    console.print(sample.strip(), soft_wrap=True)
    console.print()


def _facts(done: TextTrained, out: Path) -> dict[str, Any]:
    return {
        "model": str(out),
        "task": "text",
        "data": done.model.metadata["data"],
        "parameters": done.model.theta.shape[0],
        "dtype": dtype_name(done.model.theta.dtype),
        **facts_of_training(done),
        "scores": done.model.metadata["scores"],
        "loss by frequency alone": done.by_frequency,
    }
