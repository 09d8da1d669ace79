"""Padding is no text: which tokens a network masks, and where they must not stand."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from nnarray.layers.base import Layer, every
from nnarray.names import shown
from nnarray.text.tokenizer import Tokenizer


def masked_tokens(layer: Layer) -> set[int]:
    """The integers that the layers of a network take as padding."""
    return {each for each in (getattr(inner, "padding_index", None) for inner in every(layer)) if each is not None}


def padding_of(model: Any) -> set[int]:
    """The tokens that rows of this model are padded with, by its network and its tokenizer."""
    own = None if model.tokenizer is None else model.tokenizer.padding
    return masked_tokens(model.wiring.network) | (set() if own is None else {own})


def refuse_padding(rows: list[list[int]], padding: AbstractSet[int]) -> None:
    """Refuse padding in a prompt: it is continued from its last token, which must be one of its text.

    Raises
    ------
    ValueError
        The message names the first one.
    """
    for number, row in enumerate(rows):
        at = next((i for i, token in enumerate(row) if token in padding), None)
        if at is not None:
            raise ValueError(
                f"prompt: token {row[at]} at position {at} of row {number} is padding, and a text is continued from "
                f"its last token. Leave padding out, and continue prompts of different lengths one after the other: "
                f"[model.generate(prompt) for prompt in prompts]."
            )


def refuse_other_padding(network: Layer, tokenizer: Tokenizer) -> None:
    """Refuse a network that masks tokens which texts of the tokenizer may have.

    Raises
    ------
    ValueError
        The message names the first one.
    """
    wrong = masked_tokens(network) - tokenizer.fillers
    if wrong and tokenizer.padding is not None:
        raise ValueError(
            f"the tokenizer fills rows up with token {tokenizer.padding}, but the model leaves out token "
            f"{min(wrong)}, which its texts may have. Make the network with "
            f"nn.Embedding(..., padding_index={tokenizer.padding}); in a config.json, that is pad_token_id."
        )
    if wrong:
        raise ValueError(
            f"the model leaves out token {min(wrong)} as padding, but that is {shown(tokenizer.tokens[min(wrong)])} in "
            f"the tokenizer, which has no padding token. Use one that has, such as {tokenizer.with_padding}, or make "
            f"the network without padding_index."
        )
