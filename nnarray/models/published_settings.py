"""The settings of published models: networks of them, and the settings of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from itertools import zip_longest
from typing import Any, NamedTuple

from nnarray.functional.summary import Line, summary
from nnarray.layers import Embedding, Layer, TransformerBlock
from nnarray.layers.base import is_ours
from nnarray.model import Model
from nnarray.models.bert import bert
from nnarray.models.gpt import gpt
from nnarray.names import named
from nnarray.network import Network
from nnarray.typing import Shape

ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
READ = ("rope_theta", "rope_scaling", "rope_parameters", "scale_attn_weights", "scale_attn_by_inverse_layer_idx")
ARITHMETIC = (
    "rope",
    "rotary",
    "scal",
    "softcap",
    "multiplier",
    "window",
    "expert",
    "qk_norm",
    "clip",
    "alibi",
    "quant",
)
"""What names of settings contain that change the arithmetic, in models that are not here."""
TRAINED = ("name", "init", "bias_init", "dropout", "recompute")  # of no account for outputs
BY_SHAPE = ("kv_heads", "length")  # which the shapes of parameters say


# --- From published settings -----------------------------------------------------------------------------------------


def network_of(settings: Mapping[str, Any], pooling: str) -> tuple[str, Network, int]:
    """The kind of model, its network, and the number of its positions."""
    kind = settings.get("model_type")
    make: Callable[..., tuple[Network, int]] = named(kind, KINDS, "model_type")
    _refuse_unknown(settings)
    try:
        network, length = make(settings, pooling)
    except KeyError as error:
        raise ValueError(f"the settings of this {kind} lack {error}. Pass the whole config.json.") from error
    return str(kind), network, length


def _activation(settings: Mapping[str, Any], name: str, usual: str) -> str:
    given = str(settings.get(name, usual))
    return ACTIVATIONS.get(given, given)


def _refuse(settings: Mapping[str, Any], **usual: Any) -> None:
    """Refuse settings that change the arithmetic in a way that is not here."""
    for name, value in usual.items():
        if settings.get(name) not in (None, value):
            raise _not_here(name, settings[name], repr(value))


def _not_here(name: str, value: Any, only: str) -> ValueError:
    return ValueError(
        f"a network with {name}={value!r} is not here; only {only} is. Use the package that made these weights."
    )


def _refuse_unknown(settings: Mapping[str, Any]) -> None:
    """Refuse settings of other kinds of models, unless they are switched off or are a factor of 1."""
    for name, value in settings.items():
        off = value is None or value is False or (value == 1 and not isinstance(value, bool))
        if not off and name not in READ and any(part in name for part in ARITHMETIC):
            raise _not_here(name, value, "one without it")


def _rotary_base(settings: Mapping[str, Any]) -> float:
    """The base of rotary positions; newer settings have it inside, with the kind of its scaling."""
    bases = {settings["rope_theta"]} if settings.get("rope_theta") is not None else set()
    for name in ("rope_parameters", "rope_scaling"):
        inner: Any = settings.get(name) or {}
        if not isinstance(inner, Mapping) or inner.get("rope_type", inner.get("type")) not in (None, "default"):
            raise _not_here(name, inner, "one without scaling, 'rope_type': 'default',")
        if others := {*inner} - {"rope_type", "type", "rope_theta", "partial_rotary_factor"}:
            raise _not_here(name, inner, f"one without {', '.join(sorted(map(repr, others)))}")
        _refuse(inner, partial_rotary_factor=1.0)
        bases |= {inner["rope_theta"]} if inner.get("rope_theta") is not None else set()
    if len(bases) > 1:
        raise ValueError(
            f"the settings have several values of rope_theta: {', '.join(map(repr, sorted(bases)))}. Keep that of "
            f"these weights."
        )
    return next(iter(bases), 10_000.0)


def _gpt2(settings: Mapping[str, Any], pooling: str) -> tuple[Network, int]:
    _refuse(settings, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    length = settings["n_positions"]
    network = gpt(
        settings["vocab_size"],
        settings["n_embd"],
        settings["n_layer"],
        settings["n_head"],
        hidden=settings.get("n_inner"),
        length=length,
        epsilon=settings.get("layer_norm_epsilon", 1e-5),
        activation=_activation(settings, "activation_function", "gelu_new"),
        tied=settings.get("tie_word_embeddings", True),
    )
    return network, length


def _bert(settings: Mapping[str, Any], pooling: str) -> tuple[Network, int]:
    _refuse(settings, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    length = settings["max_position_embeddings"]
    network = bert(
        settings["vocab_size"],
        settings["hidden_size"],
        settings["num_hidden_layers"],
        settings["num_attention_heads"],
        hidden=settings["intermediate_size"],
        length=length,
        epsilon=settings.get("layer_norm_eps", 1e-12),
        activation=_activation(settings, "hidden_act", "gelu"),
        padding_index=settings.get("pad_token_id", 0),
        pooling=pooling,
    )
    return network, length


def _llama(settings: Mapping[str, Any], pooling: str) -> tuple[Network, int]:
    size, heads = settings["hidden_size"], settings["num_attention_heads"]
    _refuse(settings, hidden_act="silu", attention_bias=False, mlp_bias=False, head_dim=size // heads)
    network = gpt(
        settings["vocab_size"],
        size,
        settings["num_hidden_layers"],
        heads,
        hidden=settings["intermediate_size"],
        kv_heads=settings.get("num_key_value_heads"),
        rotary=_rotary_base(settings),
        norm="rms",
        epsilon=settings.get("rms_norm_eps", 1e-6),
        activation="swiglu",
        bias=False,
        tied=settings.get("tie_word_embeddings", False),
    )
    return network, settings["max_position_embeddings"]


KINDS = {"gpt2": _gpt2, "bert": _bert, "llama": _llama}


# --- To published settings -------------------------------------------------------------------------------------------


def settings_of(model: Model) -> dict[str, Any]:
    """The published settings of a network of `gpt` or `bert`.

    Raises
    ------
    ValueError
        If it is none, or `network_of` these settings computes something else; the message names the layer.
    """
    whole = model.network.layers[0] if model.network.layers[0].named_layers else model.network  # pyright: ignore[reportAttributeAccessIssue]
    layers = dict(whole.named_layers)
    block: Any = layers.get("0")
    tokens: Any = layers.get("tokens")
    if not hasattr(block, "order") or getattr(tokens, "family", "") != "embedding":
        raise ValueError(f"only networks of nn.models.gpt and nn.models.bert have published names; got {model!r}.")
    made = {"post": _as_bert, "pre": _as_llama if block.norm == "rms" else _as_gpt2}.get(block.order)
    settings = made(model, layers, tokens, block) if made else None
    if settings is None:
        raise ValueError(f"no published kind of model has blocks such as {block!r}. Save it with model.save.")
    _, published, _ = network_of(settings, "mean" if "mean" in layers else "none")
    _refuse_others(settings["model_type"], model.network, published, model.input_shape)
    return settings


def _refuse_others(kind: str, network: Layer, published: Network, shape: Shape) -> None:
    """Refuse the first layer of a network that differs from that of the published one."""
    for ours, theirs in zip_longest(_parts(network, shape), _parts(published, shape)):
        if ours == theirs:
            continue
        if ours is None or theirs is None or ours.path != theirs.path:
            differs = f"a published {kind} has {_said(theirs)} where the network has {_said(ours)}"
        else:
            name = next(name for name in ours.facts | theirs.facts if ours.facts.get(name) != theirs.facts.get(name))
            found, wanted = ours.facts.get(name), theirs.facts.get(name)
            differs = f"layer {ours.path!r} has {name}={found!r}; that of a published {kind} has {wanted!r}"
        raise ValueError(f"published settings cannot say this network: {differs}. Save it with model.save.")


class _Part(NamedTuple):
    """What a layer computes, as far as the layers inside it do not say it."""

    path: str
    facts: dict[str, Any]


def _said(part: _Part | None) -> str:
    return "no further layer" if part is None else f"{part.facts['class']} {part.path!r}"


def _parts(network: Layer, shape: Shape) -> Iterator[_Part]:
    """All layers of a network, in their order, but those that compute only in a training."""
    for line in summary(network, shape, itemsize=1, frozen=frozenset(), depth=None).lines:
        if line.layer.family != "dropout":
            yield _Part(line.name, {"class": _class(line.layer)} | _facts(line))


def _class(layer: Layer) -> str:
    kind = type(layer)
    return kind.__name__ if is_ours(layer) else f"{kind.__module__}.{kind.__qualname__}"


def _facts(line: Line) -> dict[str, Any]:
    layer = line.layer
    if layer.named_layers and not hasattr(layer, "layers"):  # of a block: the layers inside say all
        return {}
    left_out = {*TRAINED, *BY_SHAPE, "layers", "names"}
    settings = {each.name: getattr(layer, each.name) for each in fields(layer) if each.name not in left_out}
    if layer.named_layers:
        return settings
    shapes = {f"shape of {name}": tuple(param.shape) for name, param in layer.params(line.input_shape).items()}
    return settings | shapes


def _count(layers: Mapping[str, Any]) -> int:
    return sum(name.isdecimal() for name in layers)


def _hidden(block: Any) -> int:
    return 4 * block.size if block.hidden is None else block.hidden


def _learned(model: Model, layers: Mapping[str, Any]) -> int:
    return getattr(layers.get("positions"), "length", None) or model.input_shape[0]


def _as_gpt2(
    model: Model, layers: Mapping[str, Any], tokens: Embedding, block: TransformerBlock
) -> dict[str, Any] | None:
    if not block.causal or not block.bias or block.kv_heads or block.rotary or block.activation == "swiglu":
        return None
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": tokens.count,
        "n_embd": block.size,
        "n_layer": _count(layers),
        "n_head": block.heads,
        "n_inner": block.hidden,
        "n_positions": _learned(model, layers),
        "activation_function": "gelu_new" if block.activation == "gelu_tanh" else block.activation,
        "layer_norm_epsilon": block.epsilon,
        "tie_word_embeddings": "output" not in layers,
    }


def _as_bert(
    model: Model, layers: Mapping[str, Any], tokens: Embedding, block: TransformerBlock
) -> dict[str, Any] | None:
    if block.causal or not block.bias or block.kv_heads or block.rotary or block.norm != "layer":
        return None
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": tokens.count,
        "hidden_size": block.size,
        "num_hidden_layers": _count(layers),
        "num_attention_heads": block.heads,
        "intermediate_size": _hidden(block),
        "max_position_embeddings": _learned(model, layers),
        "type_vocab_size": 2,
        "hidden_act": "gelu_new" if block.activation == "gelu_tanh" else block.activation,
        "layer_norm_eps": block.epsilon,
        "pad_token_id": tokens.padding_index,
    }


def _as_llama(
    model: Model, layers: Mapping[str, Any], tokens: Embedding, block: TransformerBlock
) -> dict[str, Any] | None:
    if not block.causal or block.bias or not block.rotary or block.activation != "swiglu":
        return None
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": tokens.count,
        "hidden_size": block.size,
        "num_hidden_layers": _count(layers),
        "num_attention_heads": block.heads,
        "num_key_value_heads": block.kv_heads or block.heads,
        "intermediate_size": _hidden(block),
        "max_position_embeddings": model.input_shape[0],
        "rope_theta": block.rotary,
        "hidden_act": "silu",
        "rms_norm_eps": block.epsilon,
        "tie_word_embeddings": "output" not in layers,
    }
