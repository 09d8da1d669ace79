"""Models of published files: weights as safetensors, with a config.json beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnarray.arguments import explained
from nnarray.backends import Backend, backend, dtype_name
from nnarray.checks import integer, switch
from nnarray.files import settle
from nnarray.functional.propagation import Wiring
from nnarray.model import Model
from nnarray.models.published_settings import network_of, settings_of
from nnarray.names import shown
from nnarray.persistence import published
from nnarray.text.kinds import in_folder
from nnarray.text.published import FILES, OTHERS, files_of
from nnarray.text.tokenizer import Tokenizer

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
        If the settings are of another kind of model, or change its arithmetic in a way that is not here; the message
        names them. If the weights do not fit the settings; the message names the array. If
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
    kind, network, learned = network_of(settings, pooling)
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

    Other programs read the folder as they read published models. Dropout and initial values are not written, and
    neither is `pooling`, which is an argument of `load_published`.

    Parameters
    ----------
    model : Model
    folder : path
        Gets `model.safetensors`, `config.json`, and the files of `model.tokenizer` if there is one: `vocab.txt` for
        word pieces, `vocab.json` and `merges.txt` for byte pairs, and a file of `Tokenizer.save` for other kinds. It is
        made if it does not exist. All files are replaced together, or none.

    Raises
    ------
    ValueError
        If published settings cannot say the network; the message names the first layer that differs. If a number is
        NaN or infinite; or if the folder has the files of another tokenizer, also if the model has none.
    OSError
        If the folder may not be written to, or is full; or if another process saves into it now.

    Examples
    --------
    See `load_published`.
    """
    settings = settings_of(model)
    theta, _ = model.snapshot()
    style, layout = published.STYLES[settings["model_type"]], model.wiring.params
    size = settings.get("hidden_size") or settings["n_embd"]
    made = published.written(style, layout, layout.views(theta), size)
    texts = {} if model.tokenizer is None else files_of(model.tokenizer)
    settle(Path(folder))
    _refuse_others(Path(folder), model.tokenizer, texts)
    published.write(Path(folder), made, {published.CONFIG: json.dumps(settings, indent=2) + "\n"} | texts)


def _refuse_others(folder: Path, tokenizer: Tokenizer | None, texts: Mapping[str, str]) -> None:
    """Refuse a folder whose tokenizer would be read instead of the one that is written, or although there is none."""
    others = [name for name in (*FILES, *OTHERS) if (folder / name).exists() and name not in texts]
    if not others or (tokenizer is not None and in_folder(folder) == tokenizer):
        return
    whose = "and the model has none" if tokenizer is None else "which would be read instead of that of the model"
    raise ValueError(
        f"the folder {str(folder)!r} has the files of another tokenizer, {', '.join(others)}, {whose}. Remove them, or "
        f"save into another folder."
    )


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _found(path: Path, config: Mapping[str, Any] | None) -> tuple[Path, Mapping[str, Any]]:
    """The file of the weights, and the settings."""
    weights = path / published.WEIGHTS if path.is_dir() else path
    settle(weights.parent)
    if not weights.is_file():
        raise FileNotFoundError(f"there are no weights {str(weights)!r}; pass the folder with model.safetensors.")
    if config is not None:
        return weights, config
    beside = weights.with_name(published.CONFIG)
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
