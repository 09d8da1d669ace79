"""Text: tokenizers, which turn text into integers and back, and rows of equal length for batches."""

# pyright: reportUnusedImport=false

from nnarray.text.batches import Batch, packed, padded
from nnarray.text.characters import ByteTokenizer, CharacterTokenizer
from nnarray.text.kinds import load, tokenizer_from_json
from nnarray.text.pairs import BytePairTokenizer
from nnarray.text.tokenizer import Tokenizer
from nnarray.text.wordpiece import WordPieceTokenizer
