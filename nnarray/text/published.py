"""Tokenizers in the files that lie beside published weights: read with the settings that they have, and written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnarray.names import shown
from nnarray.text.pairs import BytePairTokenizer, tokens_in_order
from nnarray.text.reading import json_in
from nnarray.text.tokenizer import FORMAT, Tokenizer
from nnarray.text.wordpiece import BEGIN, LONGEST, SEPARATOR, UNKNOWN, WordPieceTokenizer

OWN = "nnarray_tokenizer.json"
"""The file of a tokenizer that published models have no files for."""
WHOLE, SETTINGS, PIECES, PAIRS, MERGES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
NO_LINE = re.compile("[\\r\\n]")  # what a line of text cannot hold
FILES = (WHOLE, PIECES, PAIRS, MERGES, OWN)
OTHERS = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
"""Files of tokenizers that are not here."""


def files_of(tokenizer: Tokenizer) -> dict[str, str]:
    """The texts of its files by their names, as other programs read them beside the weights."""
    if isinstance(tokenizer, WordPieceTokenizer) and tokenizer.ends and not NO_LINE.search("".join(tokenizer.tokens)):
        settings: dict[str, Any] = {"tokenizer_class": "BertTokenizer", "do_lower_case": tokenizer.lower}
        settings |= {"strip_accents": tokenizer.strip_accents}
        return {PIECES: _lines(tokenizer.vocabulary), SETTINGS: _json(settings)}
    if isinstance(tokenizer, BytePairTokenizer):
        merges = _lines(("#version: 0.2", *tokenizer.merges))
        settings = {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False}
        return {PAIRS: _json(tokenizer.numbers), MERGES: merges, SETTINGS: _json(settings)}
    return {OWN: _json({"format": FORMAT} | tokenizer.to_json())}


def _lines(lines: tuple[str, ...]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"


def published_in(folder: Path) -> Tokenizer | None:
    """The tokenizer of the files in a folder; None if it has none.

    Of several files, `tokenizer.json` comes first, because it has all settings.

    Raises
    ------
    ValueError
        If a file is damaged, or of a kind of tokenizer that is not here; the message names it.
    """
    if (folder / WHOLE).is_file():
        return of_json(folder / WHOLE)
    settings = json_in(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    if (folder / PIECES).is_file():
        return _word_pieces(folder / PIECES, folder / SETTINGS, settings)
    if (folder / PAIRS).is_file() and (folder / MERGES).is_file():
        _require(folder / SETTINGS, settings, "", add_prefix_space=(False, None))
        return BytePairTokenizer.from_files(folder / PAIRS, folder / MERGES)
    other = next((name for name in OTHERS if (folder / name).is_file()), None)
    if other is not None:
        raise ValueError(
            f"{str(folder / other)!r} is a tokenizer of SentencePiece, which is not here; only word pieces, as of "
            f"BERT, and byte pairs, as of GPT-2, are."
        )
    return None


def _word_pieces(file: Path, origin: Path, settings: Mapping[str, Any]) -> Tokenizer:
    _require(origin, settings, "", tokenize_chinese_chars=(True, None), do_basic_tokenize=(True, None))
    lower, strip = settings.get("do_lower_case", True), settings.get("strip_accents")
    return WordPieceTokenizer.from_file(file, lower=lower, strip_accents=strip)


# --- tokenizer.json --------------------------------------------------------------------------------------------------


def of_json(file: Path) -> Tokenizer:
    """The tokenizer of a published `tokenizer.json`.

    Its truncation and padding are not read: they are the `length=` of `Tokenizer.batch`.

    Raises
    ------
    ValueError
        If it is damaged, or has a part that is not here; the message names the part.
    """
    whole = json_in(file)
    model = _part(whole, "model")
    kind = model.get("type") or ("BPE" if "merges" in model else "WordPiece" if "vocab" in model else None)
    make = {"WordPiece": _pieces_of_json, "BPE": _pairs_of_json}.get(str(kind))
    if make is None:
        raise ValueError(
            f"{str(file)!r} has a tokenizer of the kind {shown(kind)}, which is not here; only 'WordPiece', as of "
            f"BERT, and 'BPE' of bytes, as of GPT-2, are."
        )
    try:
        return make(file, whole, model)
    except TypeError as error:
        raise ValueError(f"{str(file)!r} is damaged: {error}") from error


def _pieces_of_json(file: Path, whole: Mapping[str, Any], model: Mapping[str, Any]) -> Tokenizer:
    normalizer = _part(whole, "normalizer")
    _require(file, normalizer, "normalizer", type=("BertNormalizer",), clean_text=(True,), handle_chinese_chars=(True,))
    _require(file, _part(whole, "pre_tokenizer"), "pre_tokenizer", type=("BertPreTokenizer",))
    usual = {"unk_token": (UNKNOWN,), "continuing_subword_prefix": ("##",), "max_input_chars_per_word": (LONGEST,)}
    _require(file, model, "model", **usual)
    settings: dict[str, Any] = {"lower": normalizer.get("lowercase", True)}
    settings |= {"strip_accents": normalizer.get("strip_accents")}
    return WordPieceTokenizer(_vocabulary(file, whole, model), ends=_has_ends(file, whole), **settings)


def _has_ends(file: Path, whole: Mapping[str, Any]) -> bool:
    """Whether texts are put between "[CLS]" and "[SEP]"."""
    processor = _part(whole, "post_processor")
    if not processor or processor.get("type") == "BertProcessing":
        return bool(processor)
    _require(file, processor, "post_processor", type=("TemplateProcessing",))
    single: Any = processor.get("single")
    names = [next(iter(each.values()))["id"] for each in single] if isinstance(single, list) else None
    if names != [BEGIN, "A", SEPARATOR]:
        raise ValueError(
            f"{str(file)!r}: texts between {shown(names)} are not here; only between {BEGIN!r} and {SEPARATOR!r}."
        )
    return True


def _pairs_of_json(file: Path, whole: Mapping[str, Any], model: Mapping[str, Any]) -> Tokenizer:
    bytewise = {"type": ("ByteLevel",), "add_prefix_space": (False,), "use_regex": (True, None)}
    _require(file, _part(whole, "pre_tokenizer"), "pre_tokenizer", **bytewise)
    _require(file, _part(whole, "normalizer"), "normalizer", type=(None,))
    _require(file, _part(whole, "post_processor"), "post_processor", type=(None, "ByteLevel"))
    nothing: dict[str, Any] = dict.fromkeys(("continuing_subword_prefix", "end_of_word_suffix"), (None, ""))
    nothing |= dict.fromkeys(("byte_fallback", "ignore_merges"), (None, False))
    _require(file, model, "model", dropout=(None, 0.0), **nothing)
    merges: Any = model.get("merges", [])
    pairs = tuple(each if isinstance(each, str) else " ".join(each) for each in merges)
    try:
        return BytePairTokenizer(_vocabulary(file, whole, model), pairs)
    except ValueError as error:
        raise ValueError(f"{str(file)!r}: {error}") from error


def _vocabulary(file: Path, whole: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[str, ...]:
    """The tokens in their order, with those that were added."""
    numbers: Any = model.get("vocab")
    added: Any = {each["content"]: each["id"] for each in whole.get("added_tokens") or ()}
    return tokens_in_order({**numbers, **added} if isinstance(numbers, dict) else numbers, file, WHOLE)


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of the description; empty if it is none."""
    part = whole.get(name)
    return part if isinstance(part, dict) else {}


def _require(file: Path, settings: Mapping[str, Any], where: str, **usual: tuple[Any, ...]) -> None:
    """Refuse settings that change the tokens in a way that is not here."""
    for name, values in usual.items():
        if settings.get(name) not in values:
            full = f"{where}.{name}" if where else name
            raise ValueError(
                f"{str(file)!r}: a tokenizer with {full}={shown(settings.get(name))} is not here; only with "
                f"{' or '.join(map(repr, values))}."
            )
