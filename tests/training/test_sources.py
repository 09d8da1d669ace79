"""A training over a file is that over an array in memory, bit for bit."""

from __future__ import annotations

import mmap
import os
import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

import nnarray as nn
from nnarray.datasets import MemoryMapped, Source, memory_mapped, scratch, sources
from tests.tolerances import to_host

COUNT = 50
PLAIN = nn.Network(nn.Dense(6, "tanh"), nn.Dense(2))
DRAWING = nn.Network(nn.Dense(6), nn.BatchNorm(), nn.Activation("tanh"), nn.Dropout(0.2), nn.Dense(2))
COLUMNS = ("loss", "val_loss", "accuracy", "val_accuracy")


def examples(count: int = COUNT) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(count, 3))
    y = (X[:, 0] > X[:, 1] * X[:, 2]).astype(np.int32)
    return {"X": X, "y": y, "w": draw.uniform(0.5, 1.5, count)}


def mapped(folder: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each of them in a file of its own."""
    for name, x in arrays.items():
        np.save(folder / f"{name}.npy", x)
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in arrays}


def same(be: nn.Backend, one: nn.Model, other: nn.Model) -> None:
    """The parameters, the state and the history."""
    np.testing.assert_array_equal(to_host(be, one.theta), to_host(be, other.theta))
    np.testing.assert_array_equal(to_host(be, one.state), to_host(be, other.state))
    assert list(one.history.columns) == list(other.history.columns)
    assert [one.history.columns.get(name) for name in COLUMNS] == [other.history.columns.get(name) for name in COLUMNS]
    assert one.history.settings == other.history.settings


SETTINGS: dict[str, dict[str, Any]] = {
    "shuffled": {},
    "in order": {"shuffle": False},
    "all at once": {"batch_size": None},
    "fraction": {"validation": 0.3, "metrics": ["accuracy"]},
    "several batches a step": {"accumulate": 2, "shuffle": False, "validation": 0.2},
    "an average": {"ema": 0.9, "check_finite": False},
}


@pytest.mark.once_a_library  # on all devices, files are read in the two tests below
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("net", [PLAIN, DRAWING], ids=["plain", "drawing"])
@pytest.mark.parametrize("case", SETTINGS)
def test_a_mapped_file_gives_the_bits_of_memory(
    be: nn.Backend, tmp_path: Path, case: str, net: nn.Network, dtype: str
) -> None:
    """With weights; the file is float64, the model is not always; the last batch has two examples."""
    arrays, settings = examples(), {"epochs": 3, "batch_size": 8, "checkpoint": tmp_path / "a.safetensors"}
    X, y, w = (be.asarray(x) for x in arrays.values())
    files = mapped(tmp_path, arrays)
    dtype = dtype if dtype in be.dtypes else "float32"
    models = [net.init((3,), seed=1, backend=be, dtype=dtype) for _ in range(3)]
    models[0].fit(X, y, sample_weight=w, **(settings | SETTINGS[case]))
    models[1].fit(files["X"], files["y"], sample_weight=files["w"], **(settings | SETTINGS[case]))
    models[2].fit(MemoryMapped(files["X"]), y, sample_weight=w, **(settings | SETTINGS[case]))
    same(be, models[0], models[1])
    same(be, models[0], models[2])


def test_validation_examples_may_be_a_file(be: nn.Backend, tmp_path: Path) -> None:
    arrays = examples()
    X, y, _ = (be.asarray(x) for x in arrays.values())
    files = mapped(tmp_path, arrays)
    settings = {"epochs": 2, "batch_size": 8, "metrics": ["accuracy"]}
    one, other = (DRAWING.init((3,), seed=1, backend=be, dtype="float32") for _ in range(2))
    one.fit(X[:30, ...], y[:30], validation=(X[30:, ...], y[30:]), **settings)
    other.fit(files["X"][:30], files["y"][:30], validation=(files["X"][30:], files["y"][30:]), **settings)
    same(be, one, other)


def test_predictions_are_those_of_memory(be: nn.Backend, tmp_path: Path) -> None:
    arrays = examples()
    model, X = PLAIN.init((3,), seed=1, backend=be, dtype="float32"), be.asarray(arrays["X"])
    files = mapped(tmp_path, arrays)
    for size in (None, 8):
        want = to_host(be, model.predict(X, batch_size=size))
        np.testing.assert_array_equal(to_host(be, model.predict(files["X"], batch_size=size)), want)
        np.testing.assert_array_equal(
            to_host(be, model.predict(memory_mapped(tmp_path / "X.npy"), batch_size=size)), want
        )


@pytest.mark.parametrize("rule", [nn.SGD(0.1), nn.LBFGS()], ids=["sgd", "lbfgs"])
@pytest.mark.parametrize("engine", ["layers", "numpy"])
def test_each_engine_reads_a_file(host: nn.Backend, tmp_path: Path, rule: Any, engine: str) -> None:
    if isinstance(rule, nn.LBFGS):
        pytest.importorskip("scipy")
    arrays = examples()
    files, size = mapped(tmp_path, arrays), 8 if isinstance(rule, nn.SGD) else None
    one, other = (PLAIN.init((3,), seed=1, backend=host, dtype="float32") for _ in range(2))
    one.fit(arrays["X"], arrays["y"], optimizer=rule, epochs=3, batch_size=size, engine=engine)
    other.fit(files["X"], files["y"], optimizer=rule, epochs=3, batch_size=size, engine=engine)
    same(host, one, other)


def test_a_training_over_a_file_goes_on_from_memory(host: nn.Backend, tmp_path: Path) -> None:
    arrays = examples()
    files, saved = mapped(tmp_path, arrays), tmp_path / "run.safetensors"
    one, other = (DRAWING.init((3,), seed=1, backend=host, dtype="float32") for _ in range(2))
    one.fit(arrays["X"], arrays["y"], epochs=4, batch_size=8, checkpoint=tmp_path / "whole.safetensors")
    other.fit(files["X"], files["y"], epochs=2, batch_size=8, checkpoint=saved)
    other.fit(arrays["X"], arrays["y"], epochs=4, batch_size=8, checkpoint=saved, resume=True)
    same(host, one, other)


def test_a_search_for_a_rate_reads_a_file(host: nn.Backend, tmp_path: Path) -> None:
    arrays = examples(200)
    files, model = mapped(tmp_path, arrays), PLAIN.init((3,), seed=1, backend=host)
    want = model.find_lr(arrays["X"], arrays["y"], steps=20)
    assert model.find_lr(memory_mapped(tmp_path / "X.npy"), files["y"], steps=20) == want


# --- What is read ----------------------------------------------------------------------------------------------------


class Noted(Source):
    """Examples of which it is noted how many were asked for at once."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.asked = x, []

    @property
    def shape(self) -> tuple[int, ...]:
        return self.x.shape

    def rows(self, indices: Any) -> np.ndarray:
        found = self.x[indices]
        self.asked.append(len(found))
        return found


def test_one_batch_at_a_time_is_read(be: nn.Backend) -> None:
    arrays = examples()
    source, y = Noted(arrays["X"]), be.asarray(arrays["y"])
    model = PLAIN.init((3,), seed=1, backend=be, dtype="float32")
    history = model.fit(source, y, epochs=1, batch_size=8, check_finite=False)
    assert source.asked[-7:] == [8, 8, 8, 8, 8, 8, 2]
    assert max(source.asked) == 8
    twin = PLAIN.init((3,), seed=1, backend=be, dtype="float32")
    assert twin.fit(be.asarray(arrays["X"]), y, epochs=1, batch_size=8)["loss"] == history["loss"]


def test_a_look_for_nan_reads_part_by_part(be: nn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnarray.datasets.sources.PART", 10 * 3 * 8)
    arrays = examples()
    arrays["X"][33, 1] = np.nan
    source, y = Noted(arrays["X"]), be.asarray(arrays["y"])
    model = PLAIN.init((3,), backend=be, dtype="float32")
    with pytest.raises(ValueError, match=r"X\[30:40\] contains NaN or infinity: row 3, column 1\. Remove or repair"):
        model.fit(source, y, epochs=1, batch_size=8)
    assert max(source.asked) == 10
    with pytest.raises(nn.DivergenceError, match="X contains NaN or infinity, which check_finite=False does not check"):
        model.fit(source, y, epochs=1, batch_size=8, check_finite=False)


def test_a_number_beyond_the_models_dtype_is_an_error_in_a_batch_too(host: nn.Backend) -> None:
    X, y = np.asarray([[1.0], [1e300]]), np.asarray([0, 1])
    model = PLAIN.init((1,), backend=host, dtype="float32")
    with pytest.raises(ValueError, match="X has numbers that float32, the model's dtype, cannot hold: row 1"):
        model.fit(Noted(X), y, epochs=1)
    with pytest.raises(ValueError, match=r"float32 cannot hold 1e\+300"):
        model.fit(Noted(X), y, epochs=1, check_finite=False)


# --- Errors ----------------------------------------------------------------------------------------------------------


def test_lengths_shapes_and_places_must_fit(be: nn.Backend) -> None:
    arrays = examples()
    model, source = PLAIN.init((3,), backend=be, dtype="float32"), Noted(arrays["X"])
    with pytest.raises(ValueError, match=r"X has 50 examples, but y has shape \(49,\); make their lengths equal"):
        model.fit(source, be.asarray(arrays["y"][:49]))
    with pytest.raises(ValueError, match=r"X has 50 examples, but y has shape \(49,\); make their lengths equal"):
        model.fit(source, be.asarray(arrays["y"][:49]), validation=0.2)
    with pytest.raises(ValueError, match=r"the network expects \(batch, 3\).*got X of shape \(50, 2\)"):
        model.fit(Noted(arrays["X"][:, :2]), be.asarray(arrays["y"]))
    with pytest.raises(ValueError, match=r"X has no examples: its shape is \(0, 3\)"):
        model.fit(Noted(arrays["X"][:0]), be.asarray(arrays["y"][:0]))
    if be.library.name != "numpy":
        with pytest.raises(TypeError, match="nothing is moved silently"):
            model.fit(source, arrays["y"])


def test_a_source_must_give_what_it_promises(host: nn.Backend) -> None:
    class Short(Noted):
        def rows(self, indices: Any) -> np.ndarray:
            return super().rows(indices)[1:]

    arrays = examples()
    model = PLAIN.init((3,), backend=host)
    with pytest.raises(ValueError, match=r"Short\.rows returned shape \(49, 3\) for 50 examples of shape \(3,\)"):
        model.fit(Short(arrays["X"]), arrays["y"])

    class Listed(Noted):
        def rows(self, indices: Any) -> Any:
            return super().rows(indices).tolist()

    with pytest.raises(TypeError, match=r"Listed\.rows must return an array; got list of 50 entries"):
        model.fit(Listed(arrays["X"]), arrays["y"])


def test_a_source_is_an_array_where_one_is_asked_for(be: nn.Backend) -> None:
    arrays, y = examples(), be.asarray(examples()["y"])
    source, model = Noted(arrays["X"]), PLAIN.init((3,), seed=1, backend=be)
    with pytest.raises(TypeError, match=r"X must be an array; got tests\.Noted\. Make one with .*asarray\(X\)"):
        model(source)
    X = be.asarray(source)
    np.testing.assert_array_equal(be.to_numpy(X), be.to_numpy(be.asarray(arrays["X"])))
    assert float(nn.value_and_grad(model, X, y)[0]) == float(nn.value_and_grad(model, be.asarray(arrays["X"]), y)[0])


def test_a_path_is_no_array(host: nn.Backend) -> None:
    model = PLAIN.init((3,), backend=host)
    with pytest.raises(
        TypeError, match=r"got str\. If 'X\.npy' is the path of a \.npy file, pass nn\.datasets\.memory_m"
    ):
        model.fit("X.npy", examples()["y"])


@pytest.mark.parametrize("wrong", [-1, 50])
def test_an_index_out_of_range(tmp_path: Path, wrong: int) -> None:
    mapped(tmp_path, examples())
    with pytest.raises(IndexError, match=rf"indices must be from 0 to 49, for 50 examples; got {wrong}"):
        memory_mapped(tmp_path / "X.npy").rows(np.asarray([3, wrong]))


def test_rows_may_be_asked_for_in_many_ways(tmp_path: Path) -> None:
    X = examples()["X"]
    mapped(tmp_path, {"X": X, "turned": np.asfortranarray(X)})
    for name in ("X", "turned"):
        source = memory_mapped(tmp_path / f"{name}.npy")
        assert (len(source), source.shape) == (50, (50, 3))
        assert "X.npy" in repr(source) or "turned.npy" in repr(source)
        many = np.random.default_rng(1).integers(0, 50, 70)
        for at in (many, many[:0], [3, 1], slice(0, 50), slice(9, 40), slice(40, 2, -3), slice(None, None, -1)):
            np.testing.assert_array_equal(source.rows(at), X[at])
        with pytest.raises(TypeError, match=r"got bool of shape \(50,\)\. For a mask, use numpy\.flatnonzero"):
            source.rows(X[:, 0] > 0)


def test_a_file_that_becomes_shorter_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    arrays = examples(4000)
    mapped(tmp_path, arrays)
    file = tmp_path / "X.npy"
    source, size = memory_mapped(file), file.stat().st_size
    np.testing.assert_array_equal(source.rows(np.asarray([3999, 0])), arrays["X"][[3999, 0]])
    with file.open("r+b") as opened:
        opened.truncate(size - 10_000)
    with pytest.raises(OSError, match=rf"has become shorter after it was mapped: it has {size - 10_000} bytes"):
        source.rows(slice(0, 8))
    with pytest.raises(OSError, match="Write it again under another name"):
        PLAIN.init((3,)).fit(source, arrays["y"])


def test_a_file_that_is_written_to_in_mid_training_is_an_error(tmp_path: Path) -> None:
    arrays = examples(400)
    mapped(tmp_path, arrays)
    file = tmp_path / "X.npy"
    source = memory_mapped(file)

    def write(run: nn.Run) -> None:
        with file.open("r+b") as opened:
            opened.seek(-8, 2)
            opened.write(b"12345678")
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 10**9))  # whatever the clock of the disk

    model = PLAIN.init((3,))
    with pytest.raises(OSError, match=r"X\.npy' was changed after it was mapped, and its examples may have changed"):
        model.fit(source, arrays["y"], epochs=3, callbacks=[write])
    assert len(model.history["loss"]) == 1
    os.replace(shutil.copy(file, tmp_path / "other.npy"), file)  # another file of that name is none of its concern
    assert source.rows(slice(0, 2)).shape == (2, 3)


def test_pages_that_were_changed_in_memory_are_kept(tmp_path: Path) -> None:
    """In the mode "c", copy on write."""
    mapped(tmp_path, examples())
    array = np.load(tmp_path / "X.npy", mmap_mode="c")
    array[7] = 5.0
    source = MemoryMapped(array)
    for _ in range(2):
        np.testing.assert_array_equal(source.rows(slice(7, 8)), np.full((1, 3), 5.0))


def test_a_file_that_was_removed_stays_readable(tmp_path: Path) -> None:
    mapped(tmp_path, examples())
    source = memory_mapped(tmp_path / "X.npy")
    try:
        (tmp_path / "X.npy").unlink()
    except OSError:
        pytest.skip("this system does not remove a file that is mapped")
    assert source.rows(slice(0, 8)).shape == (8, 3)


def test_what_cannot_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("1, 2, 3")
    np.save(tmp_path / "objects.npy", np.asarray([None, "a"], dtype=object), allow_pickle=True)
    np.save(tmp_path / "words.npy", np.asarray(["a", "b"]))
    np.save(tmp_path / "one.npy", np.asarray(1.0))
    for name, kind, message in [
        ("text.npy", ValueError, r"cannot be mapped: it is not a \.npy file\. It must be a .npy file of numbers"),
        ("objects.npy", ValueError, "cannot be mapped: .*It must be a .npy file of numbers"),
        ("words.npy", TypeError, "array"),
        ("one.npy", ValueError, "array must have an axis of examples"),
    ]:
        with pytest.raises(kind, match=message):
            memory_mapped(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*missing\.npy'; check the path"):
        memory_mapped(tmp_path / "missing.npy")
    with pytest.raises(IsADirectoryError, match=r"is a folder; pass the path of a \.npy file"):
        memory_mapped(tmp_path)
    with pytest.raises(TypeError, match=r"path must be the path of a \.npy file; got \[1, 2\]"):
        memory_mapped([1, 2])  # type: ignore[arg-type]


# --- Archives --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [np.asarray, np.asfortranarray, lambda x: x.astype(">f8"), np.float32])
def test_an_array_of_an_archive_gives_the_bits_of_memory(host: nn.Backend, tmp_path: Path, change: Any) -> None:
    arrays = examples()
    X, y = change(arrays["X"]), arrays["y"]
    np.savez(tmp_path / "data.npz", y=y, X=X)
    file = memory_mapped(tmp_path / "data.npz", "X")
    assert isinstance(file.array, np.memmap)
    np.testing.assert_array_equal(file.rows(np.asarray([49, 3])), X[[49, 3]])
    one, other = (PLAIN.init((3,), seed=1, backend=host, dtype="float64") for _ in range(2))
    one.fit(host.asarray(X), host.asarray(y), epochs=2, batch_size=8)
    other.fit(file, memory_mapped(tmp_path / "data.npz", "y"), epochs=2, batch_size=8)
    same(host, one, other)


def test_the_only_array_of_an_archive_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", np.arange(6.0))
    assert memory_mapped(tmp_path / "one.npz").rows(slice(2, 4)).tolist() == [2.0, 3.0]
    np.savez(tmp_path / "none.npz", X=np.zeros((0, 3)))
    assert memory_mapped(tmp_path / "none.npz").rows(slice(0, 0)).shape == (0, 3)


def test_an_archive_that_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X=np.ones((5000, 3)))
    file = memory_mapped(tmp_path / "data.npz")
    with (tmp_path / "data.npz").open("r+b") as opened:
        opened.truncate(5000)
    with pytest.raises(OSError, match=r"data\.npz' has become shorter after it was mapped"):
        file.rows(slice(0, 8))


def test_archives_that_cannot_be_mapped(tmp_path: Path) -> None:
    np.savez(tmp_path / "several.npz", a=np.zeros(3), b=np.zeros(3))
    np.savez_compressed(tmp_path / "small.npz", X=np.zeros(3))
    np.savez(tmp_path / "objects.npz", X=np.asarray([None, "a"], dtype=object))
    whole = (tmp_path / "several.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-30])
    with ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("X.npy", "1, 2, 3")
    with ZipFile(tmp_path / "texts.npz", "w") as archive:
        archive.writestr("X.txt", "1, 2, 3")
    np.save(tmp_path / "X.npy", np.zeros(3))
    for path, name, message in [
        ("several.npz", None, r"several\.npz' has the arrays 'a', 'b'; name one, memory_mapped\(path, name\)\."),
        ("several.npz", "c", r"unknown array of several\.npz 'c'.*a, b"),
        ("small.npz", "X", r"'X' of '.*small\.npz' is compressed, .*: save it with numpy\.savez instead of"),
        ("objects.npz", None, r"'X\.npy' of '.*objects\.npz' holds Python objects; save an array of numbers"),
        ("cut.npz", "a", r"cut\.npz' cannot be mapped: File is not a zip file\. Write it again with numpy\.savez"),
        ("other.npz", None, r"'X\.npy' of '.*other\.npz' cannot be mapped: .*\. Write it again with numpy\.savez"),
        ("texts.npz", None, r"texts\.npz' has no arrays; save arrays in it with numpy\.savez"),
        ("X.npy", "X", r"X\.npy' is not a \.npz file, and its array has no name; got 'X'\. Leave the name out\."),
    ]:
        with pytest.raises(ValueError, match=message):
            memory_mapped(tmp_path / path, name)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not say what is mapped")
@pytest.mark.parametrize("shuffled", [False, True])
def test_of_a_large_file_nothing_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffled: bool
) -> None:
    """A system may map 2 MB around each row: so rows are read, and not taken from the mapping."""
    monkeypatch.setattr(scratch, "free_host_memory", lambda: 80 * 2**20)
    (tmp_path / "X.bin").write_bytes(bytes(48 * 2**20))
    source = MemoryMapped(np.memmap(tmp_path / "X.bin", np.uint8, "r", shape=(48 * 2**10, 2**10)))
    order = np.random.default_rng(0).permutation(len(source)) if shuffled else np.arange(len(source))
    before, most = mapped_pages(), 0
    for start in range(0, len(source), 16):
        source.rows(order[start : start + 16] if shuffled else slice(start, start + 16))
        most = max(most, mapped_pages() - before)
    assert most < 2**20


def mapped_pages() -> int:
    """Bytes of mapped files that are in memory, of this process."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * mmap.PAGESIZE


@pytest.mark.parametrize("from_file", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64", "bool", ">i4"])
def test_rows_are_those_of_the_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_file: bool, dtype: str
) -> None:
    """Read from the file, or taken from the mapping, where there is memory for it."""
    monkeypatch.setattr(sources, "is_too_much", lambda needed: from_file)
    np.save(tmp_path / "X.npy", (np.arange(300).reshape(50, 2, 3) % 200).astype(dtype))
    array = np.load(tmp_path / "X.npy", mmap_mode="r")
    for part in (array, array[7:40], array[:, 1:], array[::2]):
        source = MemoryMapped(part)
        count = len(part)
        for rows in (
            slice(0, count),
            slice(count // 2, count),
            slice(0, count, 3),
            np.arange(count)[::-1],
            [0] * count,
        ):
            got = source.rows(rows if isinstance(rows, slice) else np.asarray(rows, dtype=int))
            np.testing.assert_array_equal(got, np.asarray(part)[rows])
            assert got.dtype == array.dtype
            assert got.flags.writeable
