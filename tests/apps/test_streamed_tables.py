"""Tables that are held on the disk are trained on as those in memory are, bit for bit."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, feather, parquet

import nnarray as nn
from nnarray.apps.workflow import steps
from nnarray.apps.workflow.splits import Split
from nnarray.datasets import scratch
from nnarray.tables import mapped
from nnarray.tables.read import open_table


def write_npz(table: pa.Table, path: str) -> None:
    np.savez(path, city=table["city"].to_pylist(), **{name: table[name].to_numpy() for name in ("age", "price")})


WRITE: dict[str, Any] = {"csv": csv.write_csv, "parquet": parquet.write_table, "feather": feather.write_feather}
WRITE["npz"] = write_npz


def flats(rows: int = 3000) -> pa.Table:
    draws = np.random.default_rng(0)
    age, city = draws.normal(40, 12, rows), draws.choice(["Basel", "Bern", "Thun"], rows)
    price = age + 30 * (city == "Bern") + draws.normal(0, 1, rows)
    age[::7], price[::11] = np.nan, np.nan
    columns = {"age": pa.array(age, from_pandas=True), "city": pa.array(city).dictionary_encode()}
    return pa.table(columns | {"price": pa.array(price, from_pandas=True)})


def trained(data: Path, out: Path, **settings: Any) -> steps.Trained:
    plan = steps.Plan(target=("price",), epochs=settings.pop("epochs", 3), **settings)
    examples = steps.read(data, plan)
    be = nn.backend("numpy")
    return steps.train(steps.model_for(data, examples, plan, be), examples, plan, out)


def bits(done: steps.Trained) -> tuple[str, dict[str, Any], Any]:
    history = {name: list(column) for name, column in done.model.history.items() if name != "seconds"}
    return hashlib.sha256(np.asarray(done.model.theta).tobytes()).hexdigest(), history, done.scores.to_json()


@pytest.mark.parametrize("ending", WRITE)
def test_a_table_on_the_disk_trains_to_the_bits_of_one_in_memory(ending: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(mapped, "ROWS", 700)
    data = tmp_path / f"flats.{ending}"
    WRITE[ending](flats(), str(data))
    inside = trained(data, tmp_path / "inside.safetensors", stream=False)
    outside = trained(data, tmp_path / "outside.safetensors", stream=True)
    assert bits(outside) == bits(inside)
    assert isinstance(outside.examples.X, nn.datasets.Source)
    assert "is not kept in memory" in outside.examples.notes[-1]
    assert {path.suffix for path in tmp_path.iterdir()} == {data.suffix, ".safetensors"}  # nothing else is left


def test_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    data = tmp_path / "flats.csv"
    csv.write_csv(flats(), str(data))
    whole = trained(data, tmp_path / "whole.safetensors", stream=True, epochs=4)
    trained(data, tmp_path / "parts.safetensors", stream=True, epochs=2)
    resumed = trained(data, tmp_path / "parts.safetensors", stream=True, epochs=4, resume=True)
    assert bits(resumed) == bits(whole)


def test_it_is_chosen_where_the_memory_does_not_hold_the_table(tmp_path: Path, monkeypatch: Any) -> None:
    data = tmp_path / "flats.csv"
    csv.write_csv(flats(), str(data))
    plan = steps.Plan(target=("price",))
    assert isinstance(steps.read(data, plan).X, np.ndarray)
    monkeypatch.setattr(scratch, "free_host_memory", lambda: 100_000)
    assert isinstance(steps.read(data, plan).X, nn.datasets.Source)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_in_a_file_follow_the_same_rule(save: Any, tmp_path: Path, monkeypatch: Any) -> None:
    data = tmp_path / "t.npz"
    save(data, X=np.zeros((1000, 4)), price=np.arange(1000.0))
    plan, size = steps.Plan(target=("price",)), 4 * (5 * 8000 + 2 * 128)
    for free, kind in ((2 * size, np.ndarray), (2 * size - 1, nn.datasets.Source)):
        monkeypatch.setattr(scratch, "free_host_memory", lambda free=free: free)
        assert isinstance(steps.read(data, plan).X, kind)


def test_a_wide_table_is_held_in_fewer_rows_at_a_time(tmp_path: Path, monkeypatch: Any) -> None:
    data = tmp_path / "flats.csv"
    csv.write_csv(flats(), str(data))
    inside = trained(data, tmp_path / "inside.safetensors", stream=False)
    monkeypatch.setattr(mapped, "ENTRIES", 3 * 1100)
    seen: list[str] = []
    steps.read(data, steps.Plan(target=("price",), stream=True), lambda what, _: seen.append(what.split(" ")[-2]))
    assert seen == ["1,100", "2,200", "3,000", "3,000"]
    assert bits(trained(data, tmp_path / "outside.safetensors", stream=True)) == bits(inside)


def test_what_was_read_is_let_go_after_each_column_and_each_part(tmp_path: Path, monkeypatch: Any) -> None:
    data = tmp_path / "flats.csv"
    csv.write_csv(flats(), str(data))
    went: list[int] = []
    monkeypatch.setattr(mapped, "let_go", lambda whole: went.append(len(whole)))
    monkeypatch.setattr(mapped, "ROWS", 1000)
    steps.read(data, steps.Plan(target=("price",), stream=True))
    assert len(went) == 3 + 2 + 2 + 3  # names among entries, two inputs, notes on them, and 2,727 rows with a price
    assert min(went) > 3000 * 8


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "flats.csv"
    csv.write_csv(flats(10), str(data))

    def parts() -> Any:
        yield flats(10)
        data.write_text("age,city,price\n")

    with pytest.raises(ValueError, match=r"flats.csv' changed while it was read\. Leave it alone until it is"):
        mapped.mapped_table(parts(), mapped.Read(data, ""), mapped.Place(tmp_path))


def test_errors_name_the_row_and_leave_nothing(tmp_path: Path) -> None:
    data = tmp_path / "flats.csv"
    csv.write_csv(flats(), str(data))
    with data.open("a") as file:
        file.write("41,Bern,70,1\n")
    with pytest.raises(ValueError, match=r"flats\.csv.*3001"):
        steps.read(data, steps.Plan(target=("price",), stream=True))
    lines = data.read_text().splitlines()[:-1]
    data.write_text("\n".join([*lines, "old,Bern,70"]) + "\n")
    with pytest.raises(ValueError, match=r"column 'age' has numbers.*row 3001 has 'old'"):
        steps.read(data, steps.Plan(target=("price",), stream=True))
    assert list(tmp_path.iterdir()) == [data]


def lengthen(data: Path) -> None:
    with data.open("a") as file:
        file.write("41,Bern,70,1\n")


def shorten(data: Path) -> None:
    data.write_bytes(data.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("ending", "harm", "message"),
    [
        ("csv", lengthen, r"flats\.csv', row 3001: 4 entries for 3 columns"),
        ("parquet", shorten, r"flats\.parquet' cannot be read as Parquet"),
        ("feather", shorten, r"flats\.feather' cannot be read as Feather"),
        ("npz", shorten, r"flats\.npz' cannot be read as NPZ"),
    ],
)
def test_a_damaged_table_leaves_nothing_in_the_cache(ending: str, harm: Any, message: str, tmp_path: Path) -> None:
    data, cache = tmp_path / f"flats.{ending}", tmp_path / "cache"
    cache.mkdir()
    WRITE[ending](flats(), str(data))
    harm(data)
    with pytest.raises(ValueError, match=message):
        steps.read(data, steps.Plan(target=("price",), cache=cache))
    assert kept_in(cache) == set()


def test_a_table_that_changes_in_the_pass_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    data, cache = tmp_path / "flats.csv", tmp_path / "cache"
    cache.mkdir()
    csv.write_csv(flats(), str(data))
    with pytest.raises(ValueError, match=r"flats\.csv' changed while it was read"):
        steps.read(data, steps.Plan(target=("price",), cache=cache), lambda *_: os.utime(data, ns=(0, 0)))
    assert kept_in(cache) == set()


def test_a_kept_file_that_is_written_to_in_the_training_ends_it(tmp_path: Path) -> None:
    data, cache = tmp_path / "flats.csv", tmp_path / "cache"
    cache.mkdir()
    csv.write_csv(flats(), str(data))
    plan = steps.Plan(target=("price",), cache=cache, epochs=3)
    examples = steps.read(data, plan)
    (kept,) = cache.glob("*.inputs-*")

    def harm(run: nn.Run) -> None:
        data.write_text("it is not read any more")
        if run.epoch == 2:
            os.utime(kept, ns=(0, 0))

    model = steps.model_for(data, examples, plan, nn.backend("numpy"))
    with pytest.raises(OSError, match=rf"{kept.name}' was changed after it was mapped"):
        steps.train(model, examples, plan, tmp_path / "m.safetensors", [harm])


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "flats.parquet"
    parquet.write_table(flats(), str(data))
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"flats\.parquet"):
        steps.read(data, steps.Plan(target=("price",), stream=True))
    assert list(tmp_path.iterdir()) == [data]


# --- Files that are kept ---------------------------------------------------------------------------------------------


def kept_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_kept_is_found_again(tmp_path: Path, monkeypatch: Any) -> None:
    data, cache = tmp_path / "flats.csv", tmp_path / "cache"
    cache.mkdir()
    csv.write_csv(flats(), str(data))
    inside = trained(data, tmp_path / "inside.safetensors", stream=False)
    first = trained(data, tmp_path / "first.safetensors", cache=cache)
    kept = kept_in(cache)
    assert {name.rpartition("-")[0] for name in kept} == {"flats.csv.rows", "flats.csv.inputs"}
    assert "to be found again; remove flats.csv.*.nnarray there when" in first.examples.notes[-1]
    monkeypatch.setattr(mapped, "_write", lambda *_: pytest.fail("it was read again"))
    monkeypatch.setattr(mapped.Preparation, "features", lambda *_, **__: pytest.fail("it was prepared again"))
    again = trained(data, tmp_path / "again.safetensors", cache=cache)
    assert bits(first) == bits(again) == bits(inside)
    assert kept_in(cache) == kept


def test_what_is_kept_belongs_to_one_table_and_its_settings(tmp_path: Path) -> None:
    data, cache = tmp_path / "flats.csv", tmp_path / "cache"
    cache.mkdir()
    csv.write_csv(flats(), str(data))
    trained(data, tmp_path / "m.safetensors", cache=cache)
    before = kept_in(cache)
    for settings in ({"seed": 1}, {"dtype": "float64"}, {"drop": ("city",)}):
        got = trained(data, tmp_path / "n.safetensors", cache=cache, **settings)
        assert bits(got) == bits(trained(data, tmp_path / "o.safetensors", stream=False, **settings))
    assert len(kept_in(cache)) == 2 + 1 + 1 + 2
    csv.write_csv(flats(2000), str(data))
    got = trained(data, tmp_path / "n.safetensors", cache=cache)
    assert bits(got) == bits(trained(data, tmp_path / "o.safetensors", stream=False))
    assert len(kept_in(cache)) == 2, "what is outdated was not removed"
    assert not before & kept_in(cache)


def test_a_pass_that_ends_early_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    data, cache = tmp_path / "flats.csv", tmp_path / "cache"
    cache.mkdir()
    csv.write_csv(flats(), str(data))
    plan = steps.Plan(target=("price",), cache=cache)
    write = mapped._write

    def interrupted(*given: Any) -> None:
        write(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(mapped, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        steps.read(data, plan)
    assert kept_in(cache) == set()
    monkeypatch.undo()
    name = mapped.Read(data, repr((open_table(data).text.to_json(), []))).name_of("rows")
    (cache / f".{name}.killed.part").write_bytes(b"half")  # what a process leaves that is killed
    steps.read(data, plan)
    assert {each.rpartition("-")[0] for each in kept_in(cache)} == {"flats.csv.rows", "flats.csv.inputs"}


def test_a_table_that_changes_between_the_passes_is_kept_as_it_was_read(tmp_path: Path, monkeypatch: Any) -> None:
    """What is made of the rows that were read must not be found for those that are in the file now."""
    data, cache = tmp_path / "flats.csv", tmp_path / "cache"
    cache.mkdir()
    csv.write_csv(flats(), str(data))
    before, split = trained(data, tmp_path / "before.safetensors", stream=False), Split.of

    def after_the_first_pass(*given: Any) -> Any:
        table = flats()
        csv.write_csv(table.set_column(0, "age", pa.array(np.full(len(table), 40.0))), str(data))
        return split(*given)

    monkeypatch.setattr(Split, "of", after_the_first_pass)
    assert bits(trained(data, tmp_path / "first.safetensors", cache=cache)) == bits(before)
    monkeypatch.undo()
    changed = trained(data, tmp_path / "inside.safetensors", stream=False)
    assert bits(changed) != bits(before)
    assert bits(trained(data, tmp_path / "again.safetensors", cache=cache)) == bits(changed)
    assert len(kept_in(cache)) == 2


def test_a_table_of_the_same_name_elsewhere_keeps_its_own(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for name, rows in (("a", 3000), ("b", 2000), ("a", 3000)):
        (tmp_path / name).mkdir(exist_ok=True)
        data = tmp_path / name / "flats.csv"
        if not data.exists():
            csv.write_csv(flats(rows), str(data))
        trained(data, tmp_path / "m.safetensors", cache=cache)
    assert len(kept_in(cache)) == 4


def test_a_full_disk_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    data, cache = tmp_path / "flats.csv", tmp_path / "cache"
    cache.mkdir()
    csv.write_csv(flats(), str(data))
    with files_of_at_most(20_000), pytest.raises(OSError, match=r"is full: at least .* are needed.*or --cache"):
        steps.read(data, steps.Plan(target=("price",), cache=cache))
    assert kept_in(cache) == set()
    assert len(steps.read(data, steps.Plan(target=("price",), cache=cache)).X) == 2727


@contextmanager
def files_of_at_most(size: int) -> Generator[None]:
    """No file of this process becomes larger: as on a full disk, a write ends in an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stream": False}, "--cache keeps the data on the disk: leave out --no-stream and --scratch"),
        ({"scratch": Path("x")}, "--cache keeps the data on the disk"),
    ],
)
def test_a_cache_beside_what_forbids_it(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        steps.Plan(target=("price",), cache=tmp_path, **settings)


def fill_the_disk(monkeypatch: Any) -> None:
    """From now on, every write into a file without a name fails."""

    def full(dir: Path) -> io.BufferedRandom:
        return io.BufferedRandom(io.FileIO("/dev/full", "rb+"))

    monkeypatch.setattr("tempfile.TemporaryFile", full)


def test_a_full_disk_says_what_helps(tmp_path: Path, monkeypatch: Any) -> None:
    data = tmp_path / "flats.csv"
    csv.write_csv(flats(), str(data))
    fill_the_disk(monkeypatch)
    with pytest.raises(OSError, match=r"the disk is full: at least .* are needed\. Free some.*--scratch") as caught:
        steps.read(data, steps.Plan(target=("price",), stream=True))
    assert caught.value.errno == errno.ENOSPC


def test_a_folder_that_is_not_there_says_what_helps(tmp_path: Path) -> None:
    data = tmp_path / "flats.csv"
    csv.write_csv(flats(), str(data))
    with pytest.raises(FileNotFoundError, match=r"need a file on a disk.*another folder with --scratch"):
        steps.read(data, steps.Plan(target=("price",), stream=True, scratch=tmp_path / "none"))
