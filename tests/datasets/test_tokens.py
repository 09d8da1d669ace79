"""Text files as tokens, and windows over them, in memory and in mapped files."""

from __future__ import annotations

import errno
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.text.reading import text_in
from tests.tolerances import to_host

TOKENS = np.arange(23, dtype=np.uint8) % 7


def test_windows_and_the_tokens_that_follow() -> None:
    windows = nn.datasets.token_windows(TOKENS, 4)
    assert windows.shape == (5, 4)
    X, y = np.asarray(windows), np.asarray(windows.targets)
    assert X.ravel().tolist() == TOKENS[:20].tolist()
    assert y.ravel().tolist() == TOKENS[1:21].tolist()
    assert nn.datasets.token_windows(TOKENS, 4, stride=3).rows([2, 0]).tolist() == [[6, 0, 1, 2], [0, 1, 2, 3]]
    assert nn.datasets.token_windows(TOKENS, 22).shape == (1, 22)
    assert nn.datasets.token_windows(TOKENS[:5], 4).targets.rows(slice(0, 1)).tolist() == [[1, 2, 3, 4]]


def test_windows_train_as_arrays_do(be: nn.Backend) -> None:
    windows = nn.datasets.token_windows(TOKENS, 4, stride=2)
    model = nn.Network(nn.Embedding(7, 3), nn.Dense(7)).init((4,), backend=be)
    other = model.copy()
    history = model.fit(windows, windows.targets, epochs=3, batch_size=4, validation=(windows, windows.targets))
    X, y = (be.asarray(np.asarray(each)) for each in (windows, windows.targets))
    again = other.fit(X, y, epochs=3, batch_size=4, validation=(X, y))
    np.testing.assert_allclose(history["val_loss"], again["val_loss"], rtol=1e-6)


def test_batches_are_drawn_anywhere_and_from_the_seed() -> None:
    windows = nn.datasets.token_windows(TOKENS, 4)
    batches = list(windows.batches(3, steps_per_epoch=40, seed=1).epoch(2))
    again = list(windows.batches(3, steps_per_epoch=40, seed=1).epoch(2))
    assert all(
        np.array_equal(a, b) for one, two in zip(batches, again, strict=True) for a, b in zip(one, two, strict=True)
    )
    starts = set()
    for X, y in batches:
        assert X.shape == y.shape == (3, 4)
        assert np.array_equal(X[:, 1:], y[:, :-1])
        starts |= set(map(tuple, X.tolist()))
    assert len(starts) == 7  # all that there are
    other = next(iter(windows.batches(3, seed=2).epoch(0)))[0]
    assert not np.array_equal(other, next(iter(windows.batches(3, seed=1).epoch(0)))[0])
    assert len(list(windows.batches(2).epoch(0))) == 2  # as many tokens as there are


def test_a_model_trains_on_batches(be: nn.Backend) -> None:
    windows = nn.datasets.token_windows(np.arange(200) % 7, 4)
    model = nn.Network(nn.Embedding(7, 8), nn.Dense(7)).init((4,), backend=be)
    history = model.fit(windows.batches(8), optimizer=nn.Adam(0.1), epochs=10, validation=(windows, windows.targets))
    assert history["val_loss"][-1] < 0.2
    assert to_host(be, model.generate([3], max_tokens=5, temperature=0)).tolist() == [4, 5, 6, 0, 1]


def test_a_file_is_read_in_parts_that_end_behind_words(tmp_path: Path) -> None:
    text = "\ufeffone  two\r\nthree 東京 four 😀\n" * 50
    file = tmp_path / "t.txt"
    file.write_bytes(text.encode())
    want = text[1:]
    for part in (1, 2, 3, 7, 64, 10**6):
        parts = [*text_in(file, part=part)]
        assert "".join(parts) == want
        assert all(each[0].isspace() and not before[-1].isspace() for before, each in pairwise(parts))
    file.write_bytes(want.encode("utf-16"))
    assert "".join(text_in(file, "utf-16", part=5)) == want
    file.write_bytes("naïve".encode("cp1252"))
    assert "".join(text_in(file, "cp1252")) == "naïve"


@pytest.mark.parametrize(
    "tokenizer",
    [nn.text.ByteTokenizer(), nn.text.BytePairTokenizer.train("one two three " * 9, 300)],
    ids=repr,
)
def test_tokens_of_a_file_are_those_of_its_text(
    tokenizer: nn.text.Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "one  two\n\n three's 12 " * 40
    (tmp_path / "t.txt").write_text(text)
    monkeypatch.setattr("nnarray.text.reading.text_in.__kwdefaults__", {"part": 17})
    want = tokenizer.encode(text)
    held = nn.datasets.tokenized(tmp_path / "t.txt", tokenizer)
    assert held.tolist() == want
    assert held.dtype == (np.uint8 if len(tokenizer) == 256 else np.uint16)
    mapped = nn.datasets.tokenized(tmp_path / "t.txt", tokenizer, tmp_path / "t.npy")
    assert isinstance(mapped, np.memmap)
    assert mapped.tolist() == want == np.load(tmp_path / "t.npy").tolist()
    windows = nn.datasets.token_windows(mapped, 8)
    assert isinstance(windows.tokens, np.memmap)
    assert np.asarray(windows)[0].tolist() == want[:8]


def test_a_fault_leaves_no_part_of_the_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnarray.text.reading.text_in.__kwdefaults__", {"part": 8})
    (tmp_path / "t.txt").write_text("aaa\naaa aaa aaa aaa\naab aaa")
    with pytest.raises(ValueError, match=r"t\.txt', after 1 lines: character 'b' \(U\+0062\)"):
        nn.datasets.tokenized(tmp_path / "t.txt", nn.text.CharacterTokenizer(" \na"), tmp_path / "t.npy")
    assert not (tmp_path / "t.npy").exists()
    (tmp_path / "t.npy").write_bytes(b"old")
    with pytest.raises(ValueError, match="character 'b'"):
        nn.datasets.tokenized(tmp_path / "t.txt", nn.text.CharacterTokenizer(" \na"), tmp_path / "t.npy")
    assert (tmp_path / "t.npy").read_bytes() == b"old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["t.npy", "t.txt"]
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*no' to write 't\.npy' into; make it first"):
        nn.datasets.tokenized(tmp_path / "t.txt", nn.text.ByteTokenizer(), tmp_path / "no" / "t.npy")
    (tmp_path / "f.npy").mkdir()
    with pytest.raises(IsADirectoryError, match=r"cannot write '.*f\.npy': it is a folder"):
        nn.datasets.tokenized(tmp_path / "t.txt", nn.text.ByteTokenizer(), tmp_path / "f.npy")


def test_a_mapped_file_may_be_written_again(tmp_path: Path) -> None:
    """Its old array keeps the old tokens. In a file that became shorter, a read would end the process."""
    file, out = tmp_path / "t.txt", tmp_path / "t.npy"
    file.write_text("ab" * 500_000)
    old = nn.datasets.tokenized(file, nn.text.ByteTokenizer(), out)
    out.chmod(0o640)
    file.write_text("ba")
    new = nn.datasets.tokenized(file, nn.text.ByteTokenizer(), out)
    assert (old[-1], len(old), new.tolist()) == (98, 10**6, [98, 97])
    assert out.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("ends", [True, False])
def test_the_tokens_around_a_text_are_there_once(ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnarray.text.reading.text_in.__kwdefaults__", {"part": 8})
    text = "z zz z " * 40
    (tmp_path / "t.txt").write_text(text)
    tokenizer = nn.text.WordPieceTokenizer(("[UNK]", "[CLS]", "[SEP]", "z", "##z"), ends=ends)
    for out in (None, tmp_path / "t.npy"):
        found = nn.datasets.tokenized(tmp_path / "t.txt", tokenizer, out).tolist()
        assert found == tokenizer.encode(text)
        assert found.count(1) == found.count(2) == ends
    assert tokenizer.encode_part("z") == [3]


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (b"", "utf-8", r"t\.txt' is empty\. Pass a text file"),
        (b"\xef\xbb\xbf", "utf-8", r"t\.txt' is empty"),
        (b"a\nb\xe9c", "utf-8", r"t\.txt' is not text in UTF-8: byte 3, in line 2, does not fit\. Pass its encoding"),
        (b"a" * 30 + b"\n\xe9", "utf-8", r"byte 31, in line 2"),
        (
            "ab".encode("utf-16"),
            "utf-8",
            r"byte 0, in line 1, does not fit\. It begins as UTF-16 does: pass encoding='ut",
        ),
        (b"\x81\n", "cp1252", r"is not text in cp1252: byte 0"),
        (b"abc\xe3\x81", "utf-8", r"byte 3, in line 1"),
        (b"a", "utf-9", r"there is no encoding 'utf-9', for .*t\.txt'; use for example 'utf-8'"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, data: bytes, encoding: str, message: str) -> None:
    file = tmp_path / "t.txt"
    file.write_bytes(data)
    for part in (10**6, 4):
        with pytest.raises(ValueError, match=message):
            "".join(text_in(file, encoding, part=part))
    with pytest.raises(ValueError, match=message):
        nn.datasets.tokenized(file, nn.text.ByteTokenizer(), encoding=encoding)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: nn.datasets.token_windows([1, 2], 2),
            ValueError,
            r"need at least 3 tokens; got 2\. Pass a longer text",
        ),
        (lambda: nn.datasets.token_windows("ab", 2), TypeError, r"tokens must be integers along one axis; got <U2"),
        (lambda: nn.datasets.token_windows([[1]], 2), TypeError, r"got int64 of shape \(1, 1\)"),
        (lambda: nn.datasets.token_windows([1, 2], 0), ValueError, r"length must be an integer of at least 1; got 0"),
        (
            lambda: nn.datasets.tokenized("no.txt", nn.text.ByteTokenizer()),
            FileNotFoundError,
            r"there is no file 'no\.txt'",
        ),
        (
            lambda: nn.datasets.tokenized(".", nn.text.ByteTokenizer()),
            IsADirectoryError,
            r"is a folder; pass the path of a",
        ),
        (
            lambda: nn.datasets.tokenized("a", nn.text.ByteTokenizer(), "b.bin"),
            ValueError,
            r"path of a \.npy file; got 'b",
        ),
    ],
)
def test_what_is_wrong_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_limited_addresses_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    (tmp_path / "t.txt").write_text("text")
    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(MemoryError, match=r"so much of the address space, which is limited.*ulimit -v unlimited"):
        nn.datasets.tokenized(tmp_path / "t.txt", nn.text.ByteTokenizer(), tmp_path / "t.npy")


def test_tales_come_from_the_seed() -> None:
    text = nn.datasets.tales(20, seed=1)
    assert text.startswith(nn.datasets.tales(3, seed=1))
    assert text != nn.datasets.tales(20)
    assert text.count("\n\n") == 20
    for tale in text.split("\n\n")[:-1]:
        name = tale.split("called ")[1].split(".")[0]
        assert tale.count(name) >= 5
