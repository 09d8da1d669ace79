"""Text: tokenizers, which turn text into integers and back, and rows of equal length for batches."""

# pyright: reportUnusedImport=false

from typing import TYPE_CHECKING

from nnarray.arguments import attribute_errors
from nnarray.names import also
from nnarray.text.batches import Batch, packed, padded
from nnarray.text.characters import ByteTokenizer, CharacterTokenizer
from nnarray.text.kinds import load, tokenizer_from_json
from nnarray.text.pairs import BytePairTokenizer
from nnarray.text.tokenizer import Tokenizer
from nnarray.text.wordpiece import WordPieceTokenizer

if not TYPE_CHECKING:  # a type checker would accept every name
    __getattr__ = attribute_errors(
        __name__,
        (
            "BytePairTokenizer",
            "ByteTokenizer",
            "CharacterTokenizer",
            "WordPieceTokenizer",
            "load",
            "packed",
            "padded",
            "tokenizer_from_json",
        ),
        also(
            BytePairTokenizer="bpe bpe_tokenizer gpt2_tokenizer gpt2_tokenizer_fast byte_level_bpe_tokenizer",
            CharacterTokenizer="char_tokenizer char_level_tokenizer",
            WordPieceTokenizer="bert_tokenizer bert_tokenizer_fast wordpiece",
            load="auto_tokenizer from_pretrained",
            padded="pad pad_sequence pad_sequences",
        ),
    )
