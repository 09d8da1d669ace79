"""Images that are held on the disk are trained on as those in memory are, bit for bit."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nnarray as nn
from nnarray.apps.workflow import steps
from nnarray.datasets import scratch
from nnarray.datasets.images import ImageFolder
from nnarray.datasets.pixels import Pixels
from tests.apps.test_streamed_tables import bits, files_of_at_most, fill_the_disk, kept_in
from tests.processes import run_python


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """More of them than are written at a time, and another number of each class."""
    X, y = nn.datasets.pets(90, size=16, seed=0)
    folder = tmp_path / "pets"
    for i in range(90):
        place = folder / ("cat", "dog")[int(y[i])]
        place.mkdir(exist_ok=True, parents=True)
        Image.fromarray((np.asarray(X[i]) * 255).astype(np.uint8)).save(place / f"{i:03d}.png")
    return folder


def trained(data: Path, out: Path, *, epochs: int = 2, **settings: Any) -> steps.Trained:
    plan = steps.Plan(size=16, hidden=(4,), epochs=epochs, **settings)
    examples = steps.read(data, plan)
    return steps.train(steps.model_for(data, examples, plan, nn.backend("numpy")), examples, plan, out)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_images_on_the_disk_train_to_the_bits_of_those_in_memory(pets: Path, tmp_path: Path, dtype: str) -> None:
    inside = trained(pets, tmp_path / "inside.safetensors", stream=False, dtype=dtype)
    outside = trained(pets, tmp_path / "outside.safetensors", stream=True, dtype=dtype)
    assert bits(outside) == bits(inside)
    assert isinstance(inside.examples.X, np.ndarray)
    assert isinstance(outside.examples.X, Pixels)
    assert outside.examples.notes == [
        f"the images are not kept in memory, but in 67.5 KiB of {str(tmp_path)!r}, until the training ends"
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"pets", "inside.safetensors", "outside.safetensors"}


def test_they_go_on_to_the_same_bits(pets: Path, tmp_path: Path) -> None:
    whole = trained(pets, tmp_path / "whole.safetensors", stream=True, epochs=3)
    trained(pets, tmp_path / "parts.safetensors", stream=True)
    resumed = trained(pets, tmp_path / "parts.safetensors", stream=True, epochs=3, resume=True)
    assert bits(resumed) == bits(whole)


def test_they_are_chosen_where_the_memory_does_not_hold_them(pets: Path, monkeypatch: Any) -> None:
    plan, needed = steps.Plan(size=16), 8 * 90 * 16 * 16 * 3
    for free, kind in ((2 * needed, np.ndarray), (2 * needed - 1, Pixels)):
        monkeypatch.setattr(scratch, "free_host_memory", lambda free=free: free)
        assert isinstance(steps.read(pets, plan).X, kind)
    monkeypatch.setattr(scratch, "free_host_memory", lambda: 1)
    assert isinstance(steps.read(pets, steps.Plan(size=16, stream=False)).X, np.ndarray)


def test_the_pass_over_the_images_is_reported(pets: Path) -> None:
    seen: list[tuple[str, float | None]] = []
    steps.read(pets, steps.Plan(size=16, stream=True), lambda what, done: seen.append((what, done)))
    assert len(seen) == 90
    assert seen[44] == ("decoding pets: 45 of 90 images", 0.5)
    assert seen[-1] == ("decoding pets: 90 of 90 images", 1.0)


def test_an_image_that_cannot_be_decoded_is_named_or_left_out(pets: Path, tmp_path: Path) -> None:
    broken = sorted((pets / "dog").iterdir())[3]
    broken.write_text("no image")
    with pytest.raises(nn.datasets.UnreadableImage, match=rf"dog/{broken.name}' cannot be decoded"):
        steps.read(pets, steps.Plan(size=16, stream=True))
    both = [trained(pets, tmp_path / f"{on}.safetensors", stream=on, errors="skip") for on in (False, True)]
    assert bits(both[0]) == bits(both[1])
    assert len(both[1].examples.X) == len(both[1].examples.y) == 89
    assert both[1].examples.notes[0] == "1 images cannot be decoded and were left out"
    assert {path.name for path in tmp_path.iterdir()} == {"pets", "False.safetensors", "True.safetensors"}


def test_a_full_disk_says_what_helps_and_ends_the_threads(pets: Path, monkeypatch: Any) -> None:
    fill_the_disk(monkeypatch)
    with pytest.raises(OSError, match=r"the disk is full: at least 67\.5 KiB are needed.*--scratch") as caught:
        steps.read(pets, steps.Plan(size=16, stream=True))
    assert caught.value.errno == errno.ENOSPC
    assert not [each for each in threading.enumerate() if each.name.startswith("nnarray-images")]


def test_a_folder_that_is_not_there_says_what_helps(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"need a file on a disk.*another folder with --scratch"):
        steps.read(pets, steps.Plan(size=16, stream=True, scratch=tmp_path / "none"))


def test_from_python_they_are_those_of_load(pets: Path, tmp_path: Path) -> None:
    photos = nn.datasets.images(pets, size=16, dtype="float32", backend="numpy")
    (inside, y), (outside, labels) = photos.load(), photos.on_disk(tmp_path)
    assert np.array_equal(y, labels)
    assert np.array_equal(inside, np.asarray(outside))
    assert np.array_equal(np.asarray(inside)[[80, 3]], outside.rows(np.asarray([80, 3])))
    assert repr(outside) == "Pixels(shape=(90, 16, 16, 3), dtype=float32)"
    model = nn.models.cnn(2, (4,)).init((16, 16, 3), seed=0, backend="numpy", dtype="float32")
    assert np.array_equal(model.predict(inside, batch_size=7), model.predict(outside, batch_size=7))


# --- Files that are kept ---------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def assert_as_in_memory(pets: Path, **settings: Any) -> steps.Examples:
    """The examples on the disk, which are those in memory."""
    in_memory = steps.Plan(size=16, stream=False, errors=settings.get("errors", "raise"))
    inside, outside = steps.read(pets, in_memory), steps.read(pets, steps.Plan(size=16, **settings))
    assert isinstance(outside.X, Pixels)
    assert np.array_equal(inside.X, np.asarray(outside.X))
    assert np.array_equal(inside.y, outside.y)
    return outside


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_kept_is_found_again(pets: Path, cache: Path, tmp_path: Path, monkeypatch: Any, dtype: str) -> None:
    inside = trained(pets, tmp_path / "inside.safetensors", stream=False, dtype=dtype)
    first = trained(pets, tmp_path / "first.safetensors", cache=cache, dtype=dtype)
    kept = kept_in(cache)
    assert {name.rpartition("-")[0] for name in kept} == {"pets.images"}
    assert first.examples.notes == [
        f"the images are not kept in memory, but in 67.5 KiB of {str(cache)!r}, to be found again; remove "
        f"pets.*.nnarray there when you do not train on it any more"
    ]
    monkeypatch.setattr(ImageFolder, "write", lambda *_: pytest.fail("they were decoded again"))
    again = trained(pets, tmp_path / "again.safetensors", cache=cache, dtype=dtype)
    assert bits(first) == bits(again) == bits(inside)
    assert kept_in(cache) == kept


def test_what_is_kept_belongs_to_one_folder_and_its_settings(pets: Path, cache: Path, tmp_path: Path) -> None:
    steps.read(pets, steps.Plan(size=16, cache=cache))
    first = kept_in(cache)
    steps.read(pets, steps.Plan(size=8, cache=cache))
    steps.read(pets, steps.Plan(size=16, cache=cache, errors="skip"))
    assert len(kept_in(cache)) == 3
    assert first < kept_in(cache)
    some = sorted((pets / "cat").iterdir())
    Image.new("RGB", (16, 16), "green").save(some[0])  # an image that is another one, of another size
    changed = steps.read(pets, steps.Plan(size=16, cache=cache))
    assert np.array_equal(changed.X.rows(slice(0, 1))[0], np.full((16, 16, 3), (0, 128 / 255, 0), dtype=np.float32))
    assert len(kept_in(cache)) == 1, "what is outdated was not removed"
    for change in (some[1].unlink, lambda: some[2].rename(pets / "dog" / "is one.png")):
        before = kept_in(cache)
        change()
        assert_as_in_memory(pets, cache=cache)
        assert len(kept_in(cache)) == 1
        assert not before & kept_in(cache)


def test_what_could_not_be_decoded_is_left_out_of_what_is_found_again(pets: Path, cache: Path) -> None:
    sorted((pets / "cat").iterdir())[3].write_text("no image")
    for _ in range(2):
        kept = assert_as_in_memory(pets, cache=cache, errors="skip")
        assert kept.notes[0] == "1 images cannot be decoded and were left out"
    with pytest.raises(nn.datasets.UnreadableImage, match="cannot be decoded"):
        steps.read(pets, steps.Plan(size=16, cache=cache))
    assert len(kept_in(cache)) == 1


def test_a_full_disk_leaves_nothing_in_the_cache(pets: Path, cache: Path) -> None:
    plan = steps.Plan(size=16, cache=cache)
    with files_of_at_most(50_000), pytest.raises(OSError, match=r"is full: at least 67.5 KiB are needed.*or --cache"):
        steps.read(pets, plan)
    assert kept_in(cache) == set()
    assert len(steps.read(pets, plan).X) == 90


def test_a_folder_that_changes_in_the_pass_is_refused(pets: Path, cache: Path) -> None:
    first = sorted((pets / "cat").iterdir())[0]

    def change(what: str, _: float | None) -> None:
        if "90 of" in what:
            os.utime(first, ns=(0, 0))

    with pytest.raises(ValueError, match=rf"cat/{first.name}' changed while it was read\. Leave it alone"):
        steps.read(pets, steps.Plan(size=16, cache=cache), change)
    assert kept_in(cache) == set()


def test_a_pass_that_is_killed_is_made_again(pets: Path, cache: Path) -> None:
    """What it left is removed, also if the folder has changed in the meantime."""
    code = """
        import os, signal
        from pathlib import Path
        from nnarray.apps.workflow import steps

        def kill(what, fraction):
            if "80 of" in what:
                os.kill(os.getpid(), signal.SIGKILL)

        steps.read(Path("pets"), steps.Plan(size=16, cache=Path("cache")), kill)
    """
    for change in (lambda: None, sorted((pets / "cat").iterdir())[0].unlink):
        assert run_python(code, cwd=pets.parent, check=False).returncode == -signal.SIGKILL
        assert [name.endswith(".part") for name in kept_in(cache)] == [True]
        change()
        assert_as_in_memory(pets, cache=cache)
        (kept,) = cache.iterdir()
        assert kept.suffix == ".nnarray"
        kept.unlink()


def test_a_kept_file_that_is_cut_short_is_refused(pets: Path, cache: Path) -> None:
    steps.read(pets, steps.Plan(size=16, cache=cache))
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{kept.name}' is damaged: .*\. Remove it\."):
        steps.read(pets, steps.Plan(size=16, cache=cache))


def test_a_file_that_is_written_to_in_the_training_ends_it(pets: Path, cache: Path) -> None:
    X = steps.read(pets, steps.Plan(size=16, cache=cache)).X
    (kept,) = cache.iterdir()
    os.utime(kept, ns=(0, 0))
    with pytest.raises(OSError, match=rf"{kept.name}' was changed after it was mapped"):
        X.rows(slice(0, 2))
