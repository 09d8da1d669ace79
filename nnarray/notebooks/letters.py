"""The figures of notebook 6, "From letters to a language model": each function draws one."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from nnarray.drawing.canvas import BLUE, GREEN, ORANGE, VERMILLION, on_host
from nnarray.model import Model
from nnarray.notebooks.panels import panels
from nnarray.plotting.attention import attention_weights, plot_attention
from nnarray.typing import Array

COLOURS = (ORANGE, GREEN, BLUE, VERMILLION)


def seen(letter: str) -> str:
    """A letter that can be seen: a space and the end of a line have a sign."""
    return letter.replace("\n", "⏎").replace(" ", "·")


def pairs(P: Array, alphabet: Sequence[str]) -> None:
    """How likely each letter is to follow another: a row is a letter, a column is the next one."""
    names = [seen(letter) for letter in alphabet]
    with panels(1, 8, 7.4) as (axes,):
        axes.imshow(on_host(P), cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set(xlabel="next letter", ylabel="letter")
        axes.set_title("the darker, the more likely", y=-0.05, fontsize=11)


def weights(P: Array, names: Sequence[str]) -> None:
    """Weights of attention with their numbers: each row is a position, and shows from which others it reads."""
    values = on_host(P)
    with panels(1, 4.2, 4.2) as (axes,):
        axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                colour = "white" if value > 0.6 else "black"
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=12)
        axes.set_xticks(range(len(names)), names, fontsize=13)
        axes.set_yticks(range(len(names)), names, fontsize=13)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set(xlabel="reads from", ylabel="position")


def heads(model: Model, text: str, *, layer: int = -1) -> None:
    """What each head of a layer reads, for one text."""
    tokenizer: Any = model.tokenizer
    count = list(attention_weights(model, tokenizer.encode(text)).values())[layer].shape[0]
    with panels(count, 5.2 * min(count, 2), 5.4 * -(-count // 2), rows=-(-count // 2)) as axes:
        for head, each in enumerate(axes):
            plot_attention(model, text, layer=layer, head=head, ax=each)
            each.set(title=f"head {head + 1}", xlabel="")


def losses(named: Mapping[str, float]) -> None:
    """The losses of several models on new text as bars."""
    with panels(1, 7, 0.6 + 0.55 * len(named)) as (axes,):
        bars = axes.barh(list(named), list(named.values()), color=[COLOURS[i % 4] for i in range(len(named))])
        axes.bar_label(bars, [f" {value:.2f}" for value in named.values()])
        axes.invert_yaxis()
        axes.set(xlabel="loss on new tales, in nats per letter", xlim=(0, 1.12 * max(named.values())))


def writes(texts: Mapping[str, str]) -> Any:
    """Texts side by side, each below its title; for a notebook, whose texts differ in the last digit of a number."""
    from IPython.display import HTML

    look = "white-space: pre-wrap; border-left: 3px solid #9ecae9; padding-left: 0.8em; margin: 0.3em 0 1em"
    parts = (
        f'<b>{html.escape(title)}</b><div style="{look}">{html.escape(text)}</div>' for title, text in texts.items()
    )
    return HTML("".join(parts))
