"""Tokenizers in files and in models: a kind, and settings that are checked as in a call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nnarray.files import settle
from nnarray.names import named, shown
from nnarray.text.characters import ByteTokenizer, CharacterTokenizer
from nnarray.text.pairs import BytePairTokenizer
from nnarray.text.published import MERGES, OWN, PAIRS, PIECES, WHOLE, of_json, published_in
from nnarray.text.reading import json_in
from nnarray.text.tokenizer import FORMAT, Tokenizer
from nnarray.text.wordpiece import WordPieceTokenizer

KINDS: dict[str, type[Tokenizer]] = {
    each.kind: each for each in (CharacterTokenizer, ByteTokenizer, BytePairTokenizer, WordPieceTokenizer)
}


def tokenizer_from_json(description: Any) -> Tokenizer:
    """The tokenizer that `Tokenizer.to_json` described.

    Raises
    ------
    TypeError, ValueError
        If it is not a description, or a setting in it is not valid.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.text.tokenizer_from_json({"kind": "characters", "characters": "abc"}).encode("cab")
    [2, 0, 1]
    """
    if not isinstance(description, dict) or not isinstance(description.get("kind"), str):
        raise TypeError(f"a tokenizer is described by a dict with its kind, as by to_json; got {shown(description)}.")
    kind = named(description["kind"], KINDS, "kind of tokenizer")
    settings = {name: value for name, value in description.items() if name not in ("kind", "format")}
    try:
        return kind.from_settings(settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the description of the tokenizer is damaged: {str(error).rstrip('.')}.") from error


def load(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a file that `Tokenizer.save` wrote, or in the files of a published model.

    Parameters
    ----------
    path : path
        A .json file of `Tokenizer.save`; a published `tokenizer.json` of word pieces or of byte pairs; or a folder that
        has one, or `vocab.txt`, or `vocab.json` with `merges.txt`.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or the folder has none.
    ValueError
        If it is another file, damaged, or of a kind of tokenizer that is not here; the message names it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import nnarray as nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.text.CharacterTokenizer("abc").save(pathlib.Path(folder, "abc.json"))
    ...     nn.text.load(pathlib.Path(folder, "abc.json")).encode("cab")
    [2, 0, 1]
    """
    file = Path(path)
    if file.is_dir():
        found = in_folder(file)
        if found is None:
            raise FileNotFoundError(
                f"the folder {str(file)!r} has no tokenizer: neither {WHOLE} nor {PIECES}, nor {PAIRS} with {MERGES}."
            )
        return found
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(file)!r}; check the path.")
    description = json_in(file)
    if "model" in description:
        return of_json(file)
    if description.get("format") != FORMAT:
        raise ValueError(
            f"{str(file)!r} is not a file of Tokenizer.save. Read vocab.json and merges.txt with "
            f"nn.text.BytePairTokenizer.from_files, and vocab.txt with nn.text.WordPieceTokenizer.from_file."
        )
    try:
        return tokenizer_from_json(description)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{str(file)!r}: {error}") from error


def in_folder(folder: Path) -> Tokenizer | None:
    """The tokenizer that lies beside weights, if there is one; errors as `load`."""
    settle(folder)
    return load(folder / OWN) if (folder / OWN).is_file() else published_in(folder)
