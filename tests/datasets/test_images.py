"""A folder of photos: every mode and orientation becomes the same RGB, faults are named, threads end."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest

import nnarray as nn
from nnarray import datasets
from nnarray.backends import device_of, namespace
from nnarray.datasets.decoding import ahead, decoded

Image = pytest.importorskip("PIL.Image")
TRUNCATED, EMPTY, TEXT = "truncated.jpg", "empty.png", "text.jpg"


def image_of(height=8, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path, pixels, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Ten images of two classes: image i of them is the one of seed i."""
    for i in range(10):
        save(tmp_path / ("cats" if i < 6 else "dogs") / f"{i}.png", image_of(seed=i))
    return tmp_path


def spoil(folder):
    """Three files that are named like images."""
    whole = save(folder / "cats" / TRUNCATED, image_of(64, 64))
    whole.write_bytes(whole.read_bytes()[:-300])
    (folder / "cats" / EMPTY).write_bytes(b"")
    (folder / "dogs" / TEXT).write_text("a dog\n")


def threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("nnarray-images")]


# --- What comes out ---------------------------------------------------------------------------------------


def test_every_backend_has_the_same_bits(be, dtype, folder):
    photos = datasets.images(folder, size=8, dtype=dtype, backend=be)
    X, y = photos.load()
    want = np.stack([image_of(seed=i) for i in range(10)]).astype(dtype) / np.asarray(255, dtype=dtype)
    for x in (X, y, photos.labels):
        assert namespace(x) is be.xp
        assert device_of(x) == be.device
    assert be.to_numpy(X).tobytes() == want.tobytes()
    assert be.to_numpy(X).shape == (10, 8, 8, 3)
    assert be.to_numpy(y).tolist() == be.to_numpy(photos.labels).tolist() == 6 * [0] + 4 * [1]
    assert photos.classes == ("cats", "dogs")
    assert len(photos) == 10


def test_batches_of_every_backend_come_in_the_same_order(be, dtype, folder):
    photos, host = (
        datasets.images(folder, size=8, batch_size=4, seed=3, dtype=dtype, backend=there) for there in (be, "numpy")
    )
    for (X, y), (want_X, want_y) in zip(photos.batches(2), host.batches(2), strict=True):
        assert namespace(X) is be.xp
        assert be.to_numpy(X).tobytes() == want_X.tobytes()
        assert be.to_numpy(y).tolist() == want_y.tolist()


def test_each_epoch_has_its_own_order_and_each_image_once(folder):
    photos = datasets.images(folder, size=8, batch_size=4, seed=0)
    all_X, all_y = photos.load()
    passes = [list(photos.batches(epoch)) for epoch in (0, 1, 0)]
    for batches in passes:
        assert [len(y) for _, y in batches] == [4, 4, 2]
        X, y = (np.concatenate(part) for part in zip(*batches, strict=True))
        numbers = [int(np.flatnonzero((all_X == x).all(axis=(1, 2, 3)))[0]) for x in X]
        assert sorted(numbers) == list(range(10))
        assert np.array_equal(y, all_y[numbers])
    first, second, again = (np.concatenate([X for X, _ in batches]) for batches in passes)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_without_a_seed_the_files_come_sorted(folder):
    X, y = zip(*datasets.images(folder, size=8, batch_size=3).batches(5), strict=True)
    want_X, want_y = datasets.images(folder, size=8).load()
    assert np.array_equal(np.concatenate(X), want_X)
    assert np.array_equal(np.concatenate(y), want_y)


def test_drop_last_leaves_equal_shapes(folder):
    photos = datasets.images(folder, size=8, batch_size=4, drop_last=True)
    assert [X.shape[0] for X, _ in photos.batches()] == [4, 4]
    assert list(datasets.images(folder, size=8, batch_size=11, drop_last=True).batches()) == []


def test_subfolders_of_a_class_are_read_and_other_files_are_not(folder):
    save(folder / "cats" / "more" / "deep" / "10.PNG", image_of(seed=10))
    save(folder / "cats" / ".thumbnails" / "1.png", image_of())
    save(folder / "cats" / "._1.png", image_of())
    save(folder / ".cache" / "1.png", image_of())
    save(folder / "outside.png", image_of())
    (folder / "cats" / "notes.txt").write_text("not a picture")
    (folder / "cats" / "folder.jpg").mkdir()
    photos = datasets.images(folder, size=8)
    assert photos.classes == ("cats", "dogs")
    assert [p.name for p in photos.files] == [f"{i}.png" for i in range(6)] + ["10.PNG"] + [
        f"{i}.png" for i in (6, 7, 8, 9)
    ]
    assert np.array_equal(photos.load()[0][6], image_of(seed=10) / 255)


def left_out(photos):
    return [reason.split(" (")[0] for reason in photos.left_out]


def test_links_to_folders_are_followed(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for i in (10, 11):
        save(elsewhere / "deep" / f"{i}.png", image_of(seed=i))
    (folder / "cats" / "linked").symlink_to(elsewhere)
    (folder / "wolves").symlink_to(folder.parent / "wolves elsewhere")
    save(folder.parent / "wolves elsewhere" / "12.png", image_of(seed=12))
    photos = datasets.images(folder, size=8)
    assert photos.classes == ("cats", "dogs", "wolves")
    assert photos.labels.tolist() == 8 * [0] + 4 * [1] + [2]
    assert [p.name for p in photos.files[6:8]] == ["10.png", "11.png"]
    assert photos.left_out == ()


@pytest.mark.parametrize("to", [".", "..", "../..", "more"])
def test_links_in_a_circle_end(folder, to, caplog):
    save(folder / "cats" / "more" / "10.png", image_of(seed=10))
    (folder / "cats" / "zoo").symlink_to(to)
    (folder / "dogs" / "loop").symlink_to("../dogs")
    with caplog.at_level(logging.WARNING, logger="nnarray"):
        photos = datasets.images(folder, size=8)
    assert len(photos) == 11
    assert left_out(photos) == ["folders that are read under another name, or contain this one: 2"]
    assert os.path.join("dogs", "loop") in caplog.text


def test_a_class_that_is_the_whole_folder_is_none(folder):
    (folder / "all").symlink_to(".")
    photos = datasets.images(folder, size=8)
    assert photos.classes == ("cats", "dogs")
    assert "contain this one: 1 (all)" in photos.left_out[0]


def test_a_folder_in_two_classes_is_refused(folder):
    (folder / "pets").symlink_to("cats")
    with pytest.raises(ValueError, match=r"cats' of class 'cats' and '.*pets' of class 'pets' are the same folder"):
        datasets.images(folder)


def test_what_is_left_out_is_counted_and_named(folder, caplog):
    for name in ("a.png", "b.JPG"):
        save(folder / name, image_of())
    for name in ("cats/1.heic", "cats/2.heic", "dogs/notes.txt", "labels.csv"):
        (folder / name).touch()
    (folder / "dogs" / "gone.png").symlink_to("nowhere.png")
    with caplog.at_level(logging.WARNING, logger="nnarray"):
        photos = datasets.images(folder, size=8)
    assert sorted(photos.left_out) == [
        f"broken links: 1 ({os.path.join('dogs', 'gone.png')})",
        f"files without the ending of an image: 4 (labels.csv, {os.path.join('cats', '1.heic')}, "
        f"{os.path.join('cats', '2.heic')}, ...)",
        "images outside of the subfolders, without a class: 2 (a.png, b.JPG)",
    ]
    assert len(photos) == 10
    (record,) = caplog.records
    assert all(reason in record.getMessage() for reason in photos.left_out)


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", "lost+found", ".ipynb_checkpoints", "$RECYCLE.BIN", "@EADIR"])
def test_what_systems_put_there_is_no_class_and_no_image(folder, name):
    for place in (folder, folder / "cats", folder / "cats" / "more"):
        save(place / name / "1.png", image_of())
    for place in (folder, folder / "dogs"):
        for file in ("Thumbs.db", ".DS_Store", "desktop.ini"):
            (place / file).touch()
    photos = datasets.images(folder, size=8)
    assert photos.classes == ("cats", "dogs")
    assert len(photos) == 10
    assert photos.left_out == ()


@pytest.mark.parametrize(
    "names",
    [
        ("seg_train", "seg_test", "seg_pred"),
        ("x_train", "x_test"),
        ("0_train", "1_val"),
        ("train", "extra"),
        ("train", "test"),
        ("Training", "VALIDATION", "extra"),
        ("test1", "train_set"),
        ("train",),
        ("val", "test"),
    ],
)
def test_parts_of_a_data_set_are_no_classes(folder, names):
    for name in names:
        for kind in ("cats", "dogs"):
            save(folder / "pets" / name / kind / "1.png", image_of())
    train = [name for name in names if "rain" in name] or ["test"]
    with pytest.raises(ValueError, match="parts of a data set, not classes") as error:
        datasets.images(folder / "pets")
    right = str(error.value).split("Pass one of them: '")[1].split("'")[0]
    assert right.endswith(train[0])
    assert datasets.images(right).classes == ("cats", "dogs")
    if len(names) > 1 and names != ("val", "test"):  # one folder above, where they would be one class
        with pytest.raises(ValueError, match="parts of a data set, not classes"):
            datasets.images(folder)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("fold1", "fold2"), "parts of a data set, not classes: fold1"),
        (("a", "b"), "all contain the same folders, cats,"),
    ],
)
def test_subfolders_that_hold_the_same_folders_are_no_classes(tmp_path, parts, message):
    for name in parts:
        for kind in ("cats", "dogs"):
            save(tmp_path / name / kind / "1.png", image_of())
    with pytest.raises(ValueError, match=message) as error:
        datasets.images(tmp_path)
    assert repr(str(tmp_path / parts[0])) in str(error.value)
    assert datasets.images(tmp_path / parts[0]).classes == ("cats", "dogs")


def test_parts_inside_of_classes_are_turned_around(tmp_path):
    for kind in ("cats", "dogs"):
        for part in ("train", "test"):
            save(tmp_path / kind / part / "1.png", image_of())
    with pytest.raises(ValueError, match="Put the classes into the parts: move") as error:
        datasets.images(tmp_path)
    for kind in ("cats", "dogs"):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / kind / "train").rename(tmp_path / "train" / kind)
    assert f"and pass '{tmp_path / 'train'}'" in str(error.value)
    assert datasets.images(tmp_path / "train").classes == ("cats", "dogs")


@pytest.mark.parametrize("name", ["@__thumb", "~snapshot", "RECYCLER", "FOUND.000", "Network Trash Folder"])
def test_further_folders_of_systems_are_no_classes(folder, name):
    save(folder / name / "1.png", image_of())
    assert datasets.images(folder).classes == ("cats", "dogs")


def test_a_class_that_is_a_dead_link_is_reported(folder):
    (folder / "birds").symlink_to(folder / "nowhere", target_is_directory=True)
    assert datasets.images(folder).left_out == ("broken links: 1 (birds)",)


def test_such_names_may_be_classes(folder):
    for name in ("train", "bus", "valid", "invalid"):
        save(folder / ("vehicles" if name in ("train", "bus") else "tickets") / name / "1.png", image_of())
    assert datasets.images(folder / "vehicles").classes == ("bus", "train")
    assert datasets.images(folder / "tickets").classes == ("invalid", "valid")


def test_all_empty_classes_are_named(folder):
    for name in ("birds", "fish"):
        (folder / name / "@eaDir").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"classes 'birds', 'fish' have no images: no file below"):
        datasets.images(folder)


# --- Sizes ------------------------------------------------------------------------------------------------


def test_the_middle_is_cut_out(tmp_path):
    landscape = np.concatenate([np.full((8, 8, 3), value, dtype=np.uint8) for value in (0, 100, 255)], axis=1)
    for name, pixels in (("wide.png", landscape), ("high.png", landscape.swapaxes(0, 1))):
        assert (decoded(save(tmp_path / name, pixels), 8) == 100).all()


def test_the_shorter_side_is_scaled_to_the_size(tmp_path):
    ramp = np.broadcast_to(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], (64, 128, 3))
    got = decoded(save(tmp_path / "ramp.png", np.ascontiguousarray(ramp)), 16)
    assert got.shape == (16, 16, 3)
    assert np.abs(got[:, :, 0] - (64 + 8 * np.arange(16) + 3.0)).max() <= 1  # the middle of four pixels, in steps of 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5)])
def test_any_shape_becomes_a_square(tmp_path, shape):
    pixels = np.full((*shape, 3), 77, dtype=np.uint8)
    assert (decoded(save(tmp_path / "a.png", pixels), 6) == 77).all()


def test_large_jpegs_are_decoded_smaller_and_look_the_same(tmp_path):
    ramp = np.linspace(0, 255, 900).astype(np.uint8)
    pixels = np.stack([np.broadcast_to(ramp[:, None], (900, 900)), np.broadcast_to(ramp, (900, 900))] * 2, axis=2)
    path = save(tmp_path / "a.jpg", np.ascontiguousarray(pixels[:, :, :3]), quality=95)
    with Image.open(path) as image:
        want = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
    assert np.abs(decoded(path, 16).astype(float) - want).max() <= 3


# --- Modes and orientations -------------------------------------------------------------------------------


def expected_rgb(pixels, mode):
    return np.asarray(Image.fromarray(pixels).convert(mode).convert("RGB"))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *((mode, ".png") for mode in ("1", "L", "P", "RGB")),
        *((mode, ".tif") for mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr")),
        *((mode, ".gif") for mode in ("L", "P")),
        *((mode, ".bmp") for mode in ("1", "L", "P", "RGB")),
        *((mode, ending) for mode, ending in (("RGB", ".ppm"), ("L", ".pgm"), ("1", ".pbm"))),
    ],
)
def test_lossless_modes(tmp_path, mode, suffix):
    path = save(tmp_path / f"a{suffix}", image_of(), mode)
    assert np.array_equal(decoded(path, 8), expected_rgb(image_of(), mode))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_modes(tmp_path, mode):
    flat = np.full((8, 8, 3), (200, 60, 20), dtype=np.uint8)
    path = save(tmp_path / "a.jpg", flat, mode, quality=95)
    assert np.abs(decoded(path, 8).astype(int) - expected_rgb(flat, mode)).max() <= 3


def test_webp(tmp_path):
    assert np.array_equal(decoded(save(tmp_path / "a.webp", image_of(), lossless=True), 8), image_of())


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bit_grey_is_divided_by_257(tmp_path, suffix):
    grey = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8) + np.uint16(1023)
    got = decoded(save(tmp_path / f"a{suffix}", grey), 8)
    assert np.array_equal(got, np.repeat(np.rint(grey / 257)[:, :, None], 3, axis=2))
    assert got.max() == 255


def test_pixels_of_unknown_range_are_refused(tmp_path):
    integers = save(tmp_path / "i.tif", np.full((4, 4), 70_000, dtype=np.int32))
    floats = save(tmp_path / "f.tif", np.full((4, 4), 0.5, dtype=np.float32))
    with pytest.raises(datasets.UnreadableImage, match=r"i\.tif.* 32-bit integers of unknown range; save it with 8"):
        decoded(integers, 4)
    with pytest.raises(datasets.UnreadableImage, match=r"f\.tif.* floating-point numbers of unknown range; save"):
        decoded(floats, 4)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_what_is_transparent_lies_on_white(tmp_path, suffix):
    rgba = np.zeros((4, 4, 4), dtype=np.uint8)
    rgba[:, 0] = (10, 20, 30, 255)
    rgba[:, 1, 3] = 128  # half a black
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    got = decoded(save(tmp_path / f"a{suffix}", rgba, **options), 4).astype(int)
    assert (got[:, 0] == (10, 20, 30)).all()
    assert (abs(got[:, 1] - 127) <= 1).all()
    assert (got[:, 2:] == 255).all()


def test_transparent_grey_and_palettes_lie_on_white(tmp_path):
    grey = np.zeros((4, 4, 2), dtype=np.uint8)
    grey[:, :2, 1] = 255
    by_number = Image.fromarray(np.broadcast_to(np.uint8([0, 0, 1, 1]), (4, 4)).copy()).convert("P")
    by_number.putpalette([0, 0, 0, 0, 0, 255])
    paths = [
        save(tmp_path / "la.png", grey),
        save(tmp_path / "p.png", by_number, transparency=1),
        save(tmp_path / "p.gif", by_number, transparency=1),
        save(
            tmp_path / "l.png", Image.fromarray(np.broadcast_to(np.uint8([0, 0, 9, 9]), (4, 4)).copy()), transparency=9
        ),
    ]
    for path in paths:
        got = decoded(path, 4)
        assert (got[:, :2] == 0).all(), path
        assert (got[:, 2:] == 255).all(), path


STORED = {  # how a camera stores a image that is upright after its orientation was undone
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_photos_are_turned_upright(tmp_path, orientation, suffix):
    upright = np.zeros((32, 64, 3), dtype=np.uint8)
    upright[:16, :32], upright[:16, 32:], upright[16:, :32] = 255, 170, 85
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {".png": {}, ".jpg": {"quality": 95}, ".webp": {"lossless": True}}[suffix]
    stored = np.ascontiguousarray(STORED[orientation](upright))
    got = decoded(save(tmp_path / f"a{suffix}", stored, exif=exif, **options), 32)
    assert np.abs(got.astype(int) - upright[:, 16:48]).max() <= (8 if suffix == ".jpg" else 0)


def test_of_an_animation_the_first_image(tmp_path):
    frames = [Image.fromarray(np.full((4, 4, 3), value, dtype=np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (decoded(tmp_path / "a.gif", 4) == 10).all()


# --- Files that cannot be decoded -------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "fault"), [(TRUNCATED, "truncated"), (EMPTY, "identify"), (TEXT, "identify")])
def test_a_broken_file_is_named(folder, name, fault):
    spoil(folder)
    for other in {TRUNCATED, EMPTY, TEXT} - {name}:
        for path in folder.rglob(other):
            path.unlink()
    photos = datasets.images(folder, size=8)
    for read in (photos.load, lambda: list(photos.batches())):
        with pytest.raises(datasets.UnreadableImage, match=rf"{name}' cannot be decoded.*{fault}.*errors='skip'"):
            read()
    assert photos.skipped == {}
    assert threads() == []


def test_broken_files_are_skipped_and_named_once(folder, caplog):
    want, _ = datasets.images(folder, size=8).load()
    spoil(folder)
    photos = datasets.images(folder, size=8, batch_size=4, errors="skip")
    assert len(photos) == 13
    with caplog.at_level(logging.WARNING, logger="nnarray"):
        X, y = zip(*photos.batches(), strict=True)
        again, labels = photos.load()
    assert [len(batch) for batch in y] == [4, 4, 2]  # others take their places
    assert np.array_equal(np.concatenate(X), want)
    assert np.array_equal(again, want)
    assert labels.tolist() == 6 * [0] + 4 * [1]
    assert {path.name for path in photos.skipped} == {TRUNCATED, EMPTY, TEXT}
    assert len(caplog.records) == 3
    assert "truncated" in photos.skipped[folder / "cats" / TRUNCATED]


@pytest.mark.parametrize("read", [lambda p: p.load(), lambda p: list(p.batches())], ids=["load", "batches"])
def test_a_folder_of_broken_files_only(tmp_path, read):
    (tmp_path / "cats").mkdir()
    for name in ("a.jpg", "b.png"):
        (tmp_path / "cats" / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"none of the 2 files can be decoded\. The first: '.*a\.jpg' cannot"):
        read(datasets.images(tmp_path, errors="skip"))


def test_other_formats_are_never_opened(tmp_path):
    """An EPS file under another name would start Ghostscript."""
    eps = save(tmp_path / "a.eps", image_of())
    eps.rename(tmp_path / "a.jpg")
    with pytest.raises(datasets.UnreadableImage, match=r"a\.jpg' cannot be decoded.*identify"):
        decoded(tmp_path / "a.jpg", 8)


@pytest.mark.parametrize("limit", [3, 40])  # far above the limit Pillow raises, just above it warns
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused(folder, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(datasets.UnreadableImage, match=r"0\.png' has too many pixels.*MAX_IMAGE_PIXELS"):
        datasets.images(folder).load()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert datasets.images(folder, size=8).load()[0].shape[0] == 10


def test_bomb_warnings_made_errors_name_the_file_too(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(datasets.UnreadableImage, match=r"0\.png' has too many pixels"):
        datasets.images(folder).load()


def test_faults_of_the_machine_are_never_skipped(folder):
    photos = datasets.images(folder, size=8, errors="skip")
    (folder / "dogs" / "9.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"9\.png"):
        photos.load()
    assert threads() == []


# --- Threads ----------------------------------------------------------------------------------------------


def test_threads_run_ahead_but_not_far():
    begun = []
    pairs = ahead(begun.append, range(1000), workers=3, limit=10)
    assert begun == []
    item, _ = next(pairs)
    deadline = time.monotonic() + 10
    while len(begun) < 11 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert item == 0
    assert sorted(begun) == list(range(11))
    pairs.close()
    assert threads() == []


def test_results_come_in_order_whoever_is_first():
    def slow_if_even(i):
        time.sleep(0.002 * (i % 2 == 0))
        return i * i

    assert [future.result() for _, future in ahead(slow_if_even, range(40), workers=4, limit=8)] == [
        i * i for i in range(40)
    ]
    assert threads() == []


def test_errors_of_a_thread_arrive_and_end_the_others():
    def fails(i):
        if i == 5:
            raise MemoryError("too large")

    pairs = ahead(fails, range(1000), workers=2, limit=4)
    with closing(pairs), pytest.raises(MemoryError, match="too large"):
        [future.result() for _, future in pairs]
    assert threads() == []


def test_an_abandoned_pass_ends_its_threads(folder):
    photos = datasets.images(folder, size=8, batch_size=2, workers=2)
    for X, _ in photos.batches():
        assert X.shape[0] == 2
        break
    passing = photos.batches()
    next(passing)
    assert len(threads()) > 0
    del passing
    assert threads() == []


def test_two_passes_at_once(folder):
    photos = datasets.images(folder, size=8, batch_size=3, seed=1)
    for (X, y), (again, labels) in zip(photos.batches(1), photos.batches(1), strict=True):
        assert np.array_equal(X, again)
        assert np.array_equal(y, labels)


# --- What is refused --------------------------------------------------------------------------------------


def test_folders_that_cannot_be_read(tmp_path):
    cases = [
        (tmp_path / "nowhere", FileNotFoundError, r"nowhere' does not exist; pass the path of a folder with"),
        (
            save(tmp_path / "x" / "a.png", image_of()),
            NotADirectoryError,
            r"a\.png' is a file; pass the path of a folder",
        ),
        (tmp_path / "x", ValueError, r"x' has no subfolders; put the images of each class into its own subfolder"),
    ]
    (tmp_path / "y" / "cats").mkdir(parents=True)
    (tmp_path / "y" / "cats" / "notes.txt").write_text("nothing here")
    cases.append((tmp_path / "y", ValueError, r"class 'cats' has no images: no file .*\.jpg.* Add images, convert"))
    cases.append((3, TypeError, "folder must be the path of a folder .*; got 3"))
    for path, error, match in cases:
        with pytest.raises(error, match=match):
            datasets.images(path)


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        ({"size": 0}, ValueError, "size must be an integer of at least 1; got 0"),
        ({"size": (64, 64)}, TypeError, r"size must .*got \(64, 64\)"),
        ({"batch_size": 0}, ValueError, "batch_size must .*got 0"),
        ({"workers": 0}, ValueError, "workers must .*got 0"),
        ({"seed": -1}, ValueError, "seed must"),
        ({"seed": "a"}, TypeError, "seed must"),
        ({"errors": "ignore"}, ValueError, "unknown choice of errors 'ignore'; use one of raise, skip"),
        ({"dtype": "int32"}, ValueError, "dtype must be real floating"),
        ({"backend": "nunpy"}, ValueError, "Did you mean 'numpy'"),
    ],
    ids=repr,
)
def test_bad_arguments(folder, bad, error, match):
    with pytest.raises(error, match=match):
        datasets.images(folder, **bad)


def test_a_bad_epoch_is_refused_at_the_call(folder):
    with pytest.raises(ValueError, match="epoch must be an integer of at least 0; got -1"):
        datasets.images(folder).batches(-1)


def test_without_pillow_the_error_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"needs Pillow; pip install 'nnarray\[images\]'"):
        datasets.images(folder)


def test_a_network_learns_from_a_folder(tmp_path):
    for i in range(12):
        for name, value in (("bright", 220), ("dark", 30)):
            save(tmp_path / name / f"{i}.png", (image_of(seed=i) // 8 + value).astype(np.uint8))
    X, y = datasets.images(tmp_path, size=4).load()
    model = nn.Network(nn.Flatten(), nn.Dense(2)).init((4, 4, 3), seed=0)
    model.fit(X, y, optimizer=nn.Adam(0.05), epochs=30)
    assert float(nn.metrics.accuracy(model(X), y)) == 1


def test_its_batches_are_a_stream_in_the_order_of_each_epoch(folder):
    photos = datasets.images(folder, size=8, batch_size=4, seed=0, dtype="float32", backend="numpy")
    network = nn.Network(nn.Flatten(), nn.Dense(2))
    one, other = (network.init((8, 8, 3), seed=0, backend="numpy", dtype="float32") for _ in range(2))
    one.fit(datasets.stream(photos.batches), epochs=2)
    other.fit(datasets.stream(lambda epoch: list(photos.batches(epoch))), epochs=2)
    np.testing.assert_array_equal(one.theta, other.theta)
    assert one.history.steps == 6
    third = network.init((8, 8, 3), seed=0, backend="numpy", dtype="float32")
    third.fit(datasets.stream(lambda: photos.batches(0)), epochs=2)
    assert not np.array_equal(one.theta, third.theta)
    assert not threads()
