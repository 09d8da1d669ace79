"""`nnarray generate`: a language model continues a text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nnarray import backends
from nnarray.cli.app import app
from nnarray.cli.console import Flag


@app.command(
    short_help="Continue a text with a language model.",
    epilog=(
        "\b\nExamples:\n  nnarray generate book.safetensors --prompt 'Once upon a time'\n"
        "  nnarray generate book.safetensors --temperature 0.7 --top-p 0.9 --max-tokens 500 --seed 3"
    ),
)
def generate(
    model: Annotated[
        Path, typer.Argument(help="A .safetensors file that nnarray train wrote of a text.", show_default=False)
    ],
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="The text to continue; default: the beginning of a line.", show_default=False),
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="The largest number of tokens.")] = 200,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Below 1: likelier tokens; 0: the most likely one.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option("--top-k", help="Draw from so many likely tokens only.", show_default=False)
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option("--top-p", help="Draw from the likely tokens of this probability only.", show_default=False),
    ] = None,
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", help="Above 1: tokens that were there before are less likely.")
    ] = 1.0,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help="A text at which it ends; may be given several times.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same text.")] = 0,
    backend: Flag = "auto",
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32 or float64; default: that of the file.", show_default=False)
    ] = None,
) -> None:
    """Continue a text, and print it while it is made."""
    from nnarray.apps.workflow import texts

    net = texts.load(model, backends.backend(backend), dtype)
    begin = texts.first_prompt(net) if prompt is None else prompt
    waiting = [begin]  # not shown before it is known to be one that the model can continue

    def show(text: str) -> None:
        sys.stdout.write("".join((*waiting, text)))
        sys.stdout.flush()
        waiting.clear()

    net.generate(
        begin,
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        stop=tuple(stop or ()),
        seed=seed,
        stream=show,
    )
    show("\n")
