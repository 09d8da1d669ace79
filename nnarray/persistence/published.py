"""The weights of published language models, under the names that their files usually have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nnarray.checks import refuse_non_finite
from nnarray.files import replace_together
from nnarray.functional.layout import Layout, Slot
from nnarray.persistence.archive import fill, on_host
from nnarray.persistence.pytorch import numbers, state_dict_of

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class Style(NamedTuple):
    """The names of one kind of model: those of its layers, by those here."""

    prefix: str
    """What all names may begin with."""
    block: str
    """The beginning of the names of a block, with its number."""
    outside: Mapping[str, str]
    inside: Mapping[str, tuple[str, ...]]
    """Layers of a block. One of several names holds several arrays here, next to each other."""
    transposed: bool
    """Whether weights are (outputs, inputs)."""
    ignored: tuple[str, ...]
    """What names that are not needed contain."""
    added: str = ""
    """An array whose first row is a part of the positions here."""


STYLES = {
    "gpt2": Style(
        "transformer.",
        "h.{}.",
        {"tokens": "wte", "positions": "wpe", "norm": "ln_f", "output": "lm_head"},
        {
            "attention.norm": ("ln_1",),
            "attention.heads": ("attn.c_attn",),
            "attention.heads.out": ("attn.c_proj",),
            "mlp.norm": ("ln_2",),
            "mlp.hidden": ("mlp.c_fc",),
            "mlp.out": ("mlp.c_proj",),
        },
        transposed=False,
        ignored=(".attn.bias", ".attn.masked_bias", "lm_head"),
    ),
    "bert": Style(
        "bert.",
        "encoder.layer.{}.",
        {
            "tokens": "embeddings.word_embeddings",
            "positions": "embeddings.position_embeddings",
            "norm": "embeddings.LayerNorm",
        },
        {
            "attention.heads": ("attention.self.query", "attention.self.key", "attention.self.value"),
            "attention.heads.out": ("attention.output.dense",),
            "attention_norm": ("attention.output.LayerNorm",),
            "mlp.hidden": ("intermediate.dense",),
            "mlp.out": ("output.dense",),
            "mlp_norm": ("output.LayerNorm",),
        },
        transposed=True,
        ignored=("position_ids", "pooler.", "cls."),
        added="embeddings.token_type_embeddings.weight",
    ),
    "llama": Style(
        "model.",
        "layers.{}.",
        {"tokens": "embed_tokens", "norm": "norm", "output": "lm_head"},
        {
            "attention.norm": ("input_layernorm",),
            "attention.heads": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            "attention.heads.out": ("self_attn.o_proj",),
            "mlp.norm": ("post_attention_layernorm",),
            "mlp.hidden.gate": ("mlp.gate_proj",),
            "mlp.hidden.value": ("mlp.up_proj",),
            "mlp.out": ("mlp.down_proj",),
        },
        transposed=True,
        ignored=("rotary_emb.inv_freq", "lm_head"),
    ),
}
TABLES = ("tokens", "positions")  # whose rows are vectors in both


class Place(NamedTuple):
    """Where a parameter is in a published file."""

    slot: Slot
    keys: tuple[str, ...]
    transposed: bool


def places(style: Style, layout: Layout) -> Iterator[Place]:
    """The place of each parameter, in their order."""
    for slot in layout.slots:
        path = [part for part in slot.path if part != "tied"]
        *module, attribute = path
        if attribute.startswith("out_"):
            module, attribute = [*module, "out"], attribute.removeprefix("out_")
        inside = module[0].isdecimal()
        name = ".".join(module[1:] if inside else module)
        theirs = style.inside[name] if inside else (style.outside[name],)
        start = style.block.format(module[0]) if inside else ""
        table = name in TABLES or len(slot.param.shape) < 2
        yield Place(slot, tuple(f"{start}{each}.{attribute}" for each in theirs), style.transposed and not table)


def read(style: Style, layout: Layout, source: Any) -> np.ndarray:
    """The vector of all parameters, in the dtype of the file, at least float32.

    Raises
    ------
    FileNotFoundError, ImportError, TypeError
        As `Model.load_torch`.
    ValueError
        If an array is missing or unexpected, has the wrong shape, or is not finite; the message names it.
    """
    arrays = _without_prefix(style, state_dict_of(source).arrays)
    wanted = list(places(style, layout))
    needed = {key for place in wanted for key in place.keys} | ({style.added} & {*arrays})
    missing = sorted(needed - {*arrays})
    extra = sorted(key for key in arrays if key not in needed and not any(part in key for part in style.ignored))
    if missing or extra:
        found = "; ".join(
            f"{word}: {', '.join(keys[:8])}" for word, keys in (("missing", missing), ("extra", extra)) if keys
        )
        raise ValueError(
            f"the weights do not fit the network; {found}. Make the network with the settings of these weights: they "
            f"are in the config.json next to the file."
        )
    parts = [_part(place, arrays, style) for place in wanted]
    return np.concatenate([part.reshape(-1) for part in parts])


def _without_prefix(style: Style, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(style.prefix): x for name, x in arrays.items()}


def _part(place: Place, arrays: Mapping[str, Any], style: Style) -> np.ndarray:
    """The array of one parameter."""
    found = [numbers(key, arrays[key]) for key in place.keys]
    for key, x in zip(place.keys, found, strict=True):
        refuse_non_finite(x, f"entry {key!r}", "Repair it, or use another file.")
    joined = np.concatenate([x.T if place.transposed else x for x in found], axis=-1)
    wanted = place.slot.param.shape
    if joined.shape != wanted:
        given = " and ".join(f"{key!r} of shape {x.shape}" for key, x in zip(place.keys, found, strict=True))
        raise ValueError(
            f"parameter {place.slot.name!r} of shape {wanted} cannot be {given}. Make the network with the settings of "
            f"these weights: they are in the config.json next to the file."
        )
    if place.slot.path[-2] == "positions" and style.added in arrays:
        joined = joined + numbers(style.added, arrays[style.added])[0]
    return joined.astype(np.promote_types(joined.dtype, np.float32), copy=False)


def written(style: Style, layout: Layout, arrays: Mapping[str, Any], size: int) -> dict[str, np.ndarray]:
    """The arrays under their published names; `size` is the number of features of a position."""
    made: dict[str, np.ndarray] = {}
    for place in places(style, layout):
        x = on_host(arrays[place.slot.name])
        others = (x.shape[-1] - size) // 2  # keys and values may have fewer heads than queries
        parts = np.split(x, [size, size + others], axis=-1) if len(place.keys) == 3 else [x]
        for key, part in zip(place.keys, parts, strict=True):
            made[key] = np.ascontiguousarray(part.T if place.transposed else part)
    if style.added:
        made[style.added] = np.zeros((2, size), dtype=next(iter(made.values())).dtype)
    return made


def write(path: Path, made: dict[str, np.ndarray], texts: Mapping[str, str]) -> None:
    """The arrays as `model.safetensors` in a folder, and other files by their names: all are replaced, or none."""
    others = {name: text.encode("utf-8") for name, text in texts.items()}
    for key, x in made.items():
        refuse_non_finite(x, f"entry {key!r}", "Repair the model first; nothing was written.")  # pyright: ignore[reportArgumentType]
    writes: dict[str, Callable[[Path], Any]] = {WEIGHTS: lambda part: fill(part, made, {"format": "pt"})}
    writes |= {name: partial(Path.write_bytes, data=data) for name, data in others.items()}
    replace_together(path, writes, first=CONFIG)
