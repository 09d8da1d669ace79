"""Models of published files: weights as safetensors, with a config.json beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nnarray.arguments import explained
from nnarray.backends import Backend, backend, dtype_name
from nnarray.checks import integer, switch
from nnarray.functional.propagation import Wiring
from nnarray.model import Model
from nnarray.models.bert import bert
from nnarray.models.gpt import gpt
from nnarray.names import named, shown
from nnarray.network import Network
from nnarray.persistence import published
from nnarray.text.kinds import in_folder
from nnarray.text.published import FILES, files_of
from nnarray.text.tokenizer import Tokenizer

ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
NOTE = "published"
"""Where a model's metadata have the settings of its file."""
ALONE = "To load the weights alone, pass tokenizer=False."


@explained
def load_published(
    path: str | os.PathLike[str],
    *,
    config: Mapping[str, Any] | None = None,
    length: int | None = None,
    pooling: str = "none",
    tokenizer: bool = True,
    backend: str | Backend | None = None,
    dtype: object = None,
) -> Model:
    """A model of published weights: GPT-2, BERT or MiniLM, or a model like Llama.

    Weights are read as safetensors files usually have them, without another package. The settings of the network are
    those in `config.json`.

    Parameters
    ----------
    path : path
        A folder with `model.safetensors` and `config.json`, or the file of the weights beside `config.json`.
    config : mapping, optional
        The settings, if there is no such file.
    length : int, optional
        The number of positions of the model's inputs; as many as it has learned if None. Shorter is faster.
    pooling : str
        As for `bert`; "mean" makes vectors of sentences.
    tokenizer : bool
        Whether the tokenizer beside the weights is read, as by `nn.text.load`. Then it is `model.tokenizer`.
    backend : str or Backend, optional
        Where the model computes.
    dtype : str, optional
        That of the file, at least float32, if None.

    Returns
    -------
    Model
        Its `metadata["published"]` has the settings.

    Raises
    ------
    FileNotFoundError
        If there are no weights or settings.
    ValueError
        If the settings are of another kind of model, or the weights do not fit them; the message names the array. If
        `length` is more than it has learned. If the tokenizer is of a kind that is not here, or has another number of
        tokens than the weights.

    Notes
    -----
    The encoders of this package take tokens only, so the vector of the first type of tokens is added to the positions.

    Examples
    --------
    >>> import nnarray as nn, tempfile
    >>> model = nn.models.gpt(65, size=32, layers=2, heads=4, activation="gelu_tanh").init((16,), dtype="float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.models.save_published(model, folder)
    ...     again = nn.models.load_published(folder)
    >>> bool((again.theta == model.theta).all())
    True
    """
    weights, settings = _found(Path(path), config)
    beside = _tokenizer(weights.parent) if switch(tokenizer, "tokenizer") else None
    kind, network, learned = _network(settings, pooling)
    length = learned if length is None else integer(length, "length", 1, usual=learned)
    if length > learned:
        raise ValueError(f"these weights have learned {learned} positions; got length={length}. Use at most {learned}.")
    wiring = Wiring.of(network, (length,))
    vector = published.read(published.STYLES[kind], wiring.params, weights)
    be = _backend(backend)
    theta = be.asarray(vector, dtype=be.floating(dtype_name(vector.dtype) if dtype is None else dtype))
    model = Model(network, (length,), theta, theta[:0], wiring=wiring)
    model.metadata[NOTE] = {name: settings[name] for name in settings if _is_plain(settings[name])}
    try:
        _refuse_other_padding(beside, network)
        model.tokenizer = beside
    except ValueError as error:
        raise ValueError(f"the files in {str(weights.parent)!r} do not belong together: {error} {ALONE}") from error
    return model


def _tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer beside the weights, if there is one."""
    try:
        return in_folder(folder)
    except ValueError as error:
        raise ValueError(f"{error} {ALONE}") from error


_backend = backend


@explained
def save_published(model: Model, folder: str | os.PathLike[str]) -> None:
    """Write the weights of a model of `gpt` or `bert` under their published names, with the settings.

    Other programs read the folder as they read published models.

    Parameters
    ----------
    model : Model
    folder : path
        Gets `model.safetensors`, `config.json`, and the files of `model.tokenizer` if there is one: `vocab.txt` for
        word pieces, `vocab.json` and `merges.txt` for byte pairs, and a file of `Tokenizer.save` for other kinds. It is
        made if it does not exist.

    Raises
    ------
    ValueError
        If published models have no such layers; if a number is NaN or infinite; or if the folder has the files of
        another tokenizer.

    Examples
    --------
    See `load_published`.
    """
    settings = _settings(model)
    theta, _ = model.snapshot()
    style, layout = published.STYLES[settings["model_type"]], model.wiring.params
    size = settings.get("hidden_size") or settings["n_embd"]
    made = published.written(style, layout, layout.views(theta), size)
    texts = {} if model.tokenizer is None else files_of(model.tokenizer)
    _refuse_others(Path(folder), model.tokenizer, texts)
    published.write(Path(folder), made, {"config.json": json.dumps(settings, indent=2) + "\n"} | texts)


def _refuse_others(folder: Path, tokenizer: Tokenizer | None, texts: Mapping[str, str]) -> None:
    """Refuse a folder whose tokenizer would be read instead of the one that is written."""
    others = [name for name in FILES if (folder / name).exists() and name not in texts]
    if texts and others and in_folder(folder) != tokenizer:
        raise ValueError(
            f"the folder {str(folder)!r} has the files of another tokenizer, {', '.join(others)}, which would be read "
            f"instead of that of the model. Remove them, or save into another folder."
        )


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _found(path: Path, config: Mapping[str, Any] | None) -> tuple[Path, Mapping[str, Any]]:
    """The file of the weights, and the settings."""
    weights = path / "model.safetensors" if path.is_dir() else path
    if not weights.is_file():
        raise FileNotFoundError(f"there are no weights {str(weights)!r}; pass the folder with model.safetensors.")
    if config is not None:
        return weights, config
    beside = weights.with_name("config.json")
    if not beside.is_file():
        raise FileNotFoundError(
            f"there is no {str(beside)!r} with the settings of the network. Copy it there, or pass config={{...}}."
        )
    try:
        settings = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{str(beside)!r} is no JSON file: {error}. Copy it again from where the weights are."
        ) from error
    if not isinstance(settings, dict):
        raise ValueError(f"{str(beside)!r} must hold settings by name; got {shown(settings)}.")
    return weights, settings


def _refuse_other_padding(tokenizer: Tokenizer | None, network: Network) -> None:
    """Refuse a tokenizer that fills rows up with another token than the network leaves out."""
    left_out = getattr(network.layers[0], "padding_index", None)
    if tokenizer is not None and None not in (left_out, tokenizer.padding) and left_out != tokenizer.padding:
        raise ValueError(
            f"the tokenizer fills rows up with token {tokenizer.padding}, but the network leaves out {left_out}, "
            f"the pad_token_id of config.json."
        )


# --- From published settings -----------------------------------------------------------------------------------------


def _network(settings: Mapping[str, Any], pooling: str) -> tuple[str, Network, int]:
    """The kind of model, its network, and the number of its positions."""
    kind = settings.get("model_type")
    make: Callable[..., tuple[Network, int]] = named(kind, KINDS, "model_type")
    try:
        network, length = make(settings, pooling)
    except KeyError as error:
        raise ValueError(f"the settings of this {kind} lack {error}. Pass the whole config.json.") from error
    return str(kind), network, length


def _activation(settings: Mapping[str, Any], name: str) -> str:
    given = str(settings.get(name, "gelu"))
    return ACTIVATIONS.get(given, given)


def _refuse(settings: Mapping[str, Any], **usual: Any) -> None:
    """Refuse settings that change the arithmetic in a way that is not here."""
    for name, value in usual.items():
        if settings.get(name) not in (None, value):
            raise ValueError(f"a network with {name}={settings[name]!r} is not here; only {value!r} is.")


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
        activation=_activation(settings, "activation_function"),
        tied=settings.get("tie_word_embeddings", True),
    )
    return network, length


def _bert(settings: Mapping[str, Any], pooling: str) -> tuple[Network, int]:
    _refuse(settings, position_embedding_type="absolute", is_decoder=False)
    length = settings["max_position_embeddings"]
    network = bert(
        settings["vocab_size"],
        settings["hidden_size"],
        settings["num_hidden_layers"],
        settings["num_attention_heads"],
        hidden=settings["intermediate_size"],
        length=length,
        epsilon=settings.get("layer_norm_eps", 1e-12),
        activation=_activation(settings, "hidden_act"),
        padding_index=settings.get("pad_token_id", 0),
        pooling=pooling,
    )
    return network, length


def _llama(settings: Mapping[str, Any], pooling: str) -> tuple[Network, int]:
    size, heads = settings["hidden_size"], settings["num_attention_heads"]
    _refuse(
        settings, hidden_act="silu", rope_scaling=None, attention_bias=False, mlp_bias=False, head_dim=size // heads
    )
    network = gpt(
        settings["vocab_size"],
        size,
        settings["num_hidden_layers"],
        heads,
        hidden=settings["intermediate_size"],
        kv_heads=settings.get("num_key_value_heads"),
        rotary=settings.get("rope_theta", 10_000.0),
        norm="rms",
        epsilon=settings.get("rms_norm_eps", 1e-6),
        activation="swiglu",
        bias=False,
        tied=settings.get("tie_word_embeddings", False),
    )
    return network, settings["max_position_embeddings"]


KINDS = {"gpt2": _gpt2, "bert": _bert, "llama": _llama}


# --- To published settings -------------------------------------------------------------------------------------------


def _settings(model: Model) -> dict[str, Any]:
    """The published settings of a network of `gpt` or `bert`.

    Raises
    ------
    ValueError
        If it is none.
    """
    whole = model.network.layers[0] if model.network.layers[0].named_layers else model.network  # pyright: ignore[reportAttributeAccessIssue]
    layers = dict(whole.named_layers)
    block: Any = layers.get("0")
    if block is None or "tokens" not in layers or not hasattr(block, "kv_heads"):
        raise ValueError(f"only networks of nn.models.gpt and nn.models.bert have published names; got {model!r}.")
    made = {"post": _as_bert, "pre": _as_llama if block.norm == "rms" else _as_gpt2}.get(block.order)
    tokens: Any = layers["tokens"]
    settings = made(model, layers, tokens, block) if made else None
    if settings is None:
        raise ValueError(f"no published kind of model has blocks such as {block!r}. Save it with model.save.")
    return settings


def _count(layers: Mapping[str, Any]) -> int:
    return sum(name.isdecimal() for name in layers)


def _hidden(block: Any) -> int:
    return 4 * block.size if block.hidden is None else block.hidden


def _learned(model: Model, layers: Mapping[str, Any]) -> int:
    return layers["positions"].length or model.input_shape[0]


def _as_gpt2(model: Model, layers: Mapping[str, Any], tokens: Any, block: Any) -> dict[str, Any] | None:
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


def _as_bert(model: Model, layers: Mapping[str, Any], tokens: Any, block: Any) -> dict[str, Any] | None:
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


def _as_llama(model: Model, layers: Mapping[str, Any], tokens: Any, block: Any) -> dict[str, Any] | None:
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
