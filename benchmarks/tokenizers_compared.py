"""Tokens of `nn.text` beside those of Hugging Face's tokenizers, over many hard strings: the tokens must be the same.

    pip install tokenizers
    python benchmarks/tokenizers_compared.py [--vocabulary vocab.txt --reference tokenizer.json]

Byte pairs are learned by both from the same text, and compared. The two files are those of a published model with word
pieces, such as all-MiniLM-L6-v2; without them, only byte pairs are compared. The strings have no characters that are
newer than Python's Unicode. Those that are newer than the reference's are counted apart: it takes them for others.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from nnarray import datasets, text

RANGES = [(32, 127), (1, 0x250), (0x300, 0x370), (0x370, 0x600), (0x900, 0xE80), (0x2000, 0x2C00), (0x3000, 0x3400)]
RANGES += [
    (0x4E00, 0x5200),
    (0xAC00, 0xB000),
    (0xF900, 0xFFFF),
    (0x10000, 0x10800),
    (0x1D400, 0x1D800),
    (0x1F300, 0x1F700),
]
POOLS = [list(" \t\n\r  .,!?'’“”-–—"), list("abcdefghijklmnopqrstuvwxyz      '"), list("0123456789²³½Ⅷ①")]
WORDS = [
    "the",
    "quick",
    "brown",
    "isn't",
    "they've",
    "we'll",
    "naïve",
    "café",
    "Straße",
    "İstanbul",
    "ΟΔΟΣ",
    "東京",
    "한국",
]


def strings(count: int) -> Iterator[str]:
    """Words, blanks, signs, accents and characters of many scripts, in any order."""
    draw = random.Random(1)
    known = [[c for c in map(chr, range(*each)) if unicodedata.category(c) not in ("Cn", "Cs")] for each in RANGES]
    pools = known + POOLS
    for _ in range(count):
        parts = []
        for _ in range(draw.randint(1, 8)):
            if draw.random() < 0.35:
                parts.append(draw.choice(WORDS) + draw.choice(["", " ", "'s ", "s", "ing "]))
            else:
                parts.append("".join(draw.choices(draw.choice(pools), k=draw.randint(1, 6))))
        yield "".join(parts)


def compared(name: str, mine: Callable[[str], list[int]], theirs: Callable[[str], list[int]], given: list[str]) -> None:
    wrong = [each for each in given if mine(each) != theirs(each)]
    newer = [each for each in wrong if any(not same(character, mine, theirs) for character in each)]
    print(f"{name}: {len(given)} strings, {len(wrong)} differ, {len(newer)} of them by a character that is newer")
    for character in sorted({c for each in newer for c in each if not same(c, mine, theirs)})[:20]:
        print(f"    U+{ord(character):04X} {unicodedata.category(character)} {unicodedata.name(character, '')}")


def same(character: str, mine: Callable[[str], list[int]], theirs: Callable[[str], list[int]]) -> bool:
    around = f"a{character}b"
    return mine(around) == theirs(around)


def byte_pairs(given: list[str]) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    corpus = datasets.tales(500) + " ".join(given[: len(given) // 5])
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer, theirs.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    start = time.perf_counter()
    theirs.train_from_iterator(
        [corpus], trainers.BpeTrainer(vocab_size=3000, min_frequency=2, initial_alphabet=alphabet)
    )
    middle = time.perf_counter()
    mine = text.BytePairTokenizer.train(corpus, 3000, specials=())
    end = time.perf_counter()
    numbers = theirs.get_vocab()
    alike = tuple(sorted(numbers, key=numbers.__getitem__)) == mine.vocabulary
    print(
        f"learned from {len(corpus)} characters: theirs {middle - start:.2f} s, ours {end - middle:.2f} s; "
        f"the vocabularies are {'the same' if alike else 'different'}"
    )
    with tempfile.TemporaryDirectory() as folder:
        theirs.model.save(folder)
        mine = text.BytePairTokenizer.from_files(Path(folder, "vocab.json"), Path(folder, "merges.txt"))
    compared("byte pairs", mine.encode, lambda each: theirs.encode(each).ids, given)
    lost = sum(mine.decode(mine.encode(each)) != each for each in given)
    print(f"byte pairs: {lost} strings do not come back")


def word_pieces(given: list[str], vocabulary: Path, reference: Path) -> None:
    from tokenizers import Tokenizer

    theirs = Tokenizer.from_file(str(reference))
    theirs.no_padding()
    theirs.no_truncation()
    mine = text.WordPieceTokenizer.from_file(vocabulary)
    compared("word pieces", mine.encode, lambda each: theirs.encode(each).ids, given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strings", type=int, default=20_000)
    parser.add_argument("--vocabulary", type=Path)
    parser.add_argument("--reference", type=Path)
    asked = parser.parse_args()
    given = list(strings(asked.strings))
    byte_pairs(given)
    if asked.vocabulary and asked.reference:
        word_pieces(given, asked.vocabulary, asked.reference)


if __name__ == "__main__":
    main()
