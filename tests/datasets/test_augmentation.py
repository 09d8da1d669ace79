"""Changed images: the same on every backend, of the same shape, and changed by what they say and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnarray as nn
from nnarray import datasets
from nnarray.backends import device_of, namespace
from nnarray.datasets import augmentation
from nnarray.datasets.augmentation import colour, crop, flip, rotate, rotated, shift

KEY = nn.Key(11)
RGB = np.random.default_rng(0).random((6, 7, 9, 3))
GREY = np.random.default_rng(1).random((5, 8, 8, 1))
EXACT = (flip, shift, crop)  # they move pixels and compute none
ALL = (*EXACT, rotate, colour, datasets.Augment())

each = pytest.mark.parametrize("change", ALL, ids=lambda f: getattr(f, "__name__", "Augment"))
images = pytest.mark.parametrize("pixels", [RGB, GREY], ids=["rgb", "grey"])


def eps(dtype):
    return float(np.finfo(dtype).eps)


# --- Everywhere the same ----------------------------------------------------------------------------------


@each
def test_every_backend_agrees_with_float64(be, dtype, change):
    x = be.asarray(RGB, dtype)
    got = change(x, KEY)
    want = change(RGB.astype(dtype).astype("float64"), KEY)
    assert namespace(got) is be.xp
    assert device_of(got) == be.device
    assert got.dtype == x.dtype
    assert tuple(got.shape) == RGB.shape
    # Positions up to 9 in a unit of eps each; differences between pixels of up to 1 in both directions; a few sums.
    tolerance = 0 if change in EXACT else 64 * eps(dtype)
    assert np.abs(be.to_numpy(got) - want).max() <= tolerance
    assert be.to_numpy(x).tobytes() == RGB.astype(dtype).tobytes()  # the argument is left alone


@each
def test_a_key_decides(be, change):
    x = be.asarray(RGB, "float32")
    first, again, other = (be.to_numpy(change(x, key)) for key in (KEY, nn.Key(11), nn.Key(12)))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@each
def test_an_image_is_changed_alike_in_every_batch(change):
    assert np.allclose(change(RGB[:3], KEY), change(RGB, KEY)[:3], rtol=0, atol=1e-14)


@each
def test_nothing_leaves_the_unit_interval(be, dtype, change):
    x = be.asarray(np.round(RGB), dtype)  # zeros and ones
    for seed in range(5):
        got = be.to_numpy(change(x, nn.Key(seed)))
        assert got.min() >= 0
        assert got.max() <= 1


@each
def test_grey_images_are_changed_as_one_channel_of_equal_colours(change):
    colours = np.repeat(GREY, 3, axis=3)
    assert np.allclose(change(GREY, KEY), change(colours, KEY)[..., :1], rtol=0, atol=1e-14)


@each
def test_halves_stay_halves(change):
    x = RGB.astype("float16")
    got = change(x, KEY)
    assert got.dtype == x.dtype
    assert np.abs(got - change(x.astype("float64"), KEY)).max() <= 16 * eps("float16")


@pytest.mark.parametrize("change", [flip, shift, rotate, crop], ids=lambda f: f.__name__)
def test_any_channels_can_be_moved(change):
    x = np.concatenate([RGB, RGB], axis=3)[..., :5]
    assert np.array_equal(change(x, KEY)[..., :3], change(RGB, KEY))


# --- One by one -------------------------------------------------------------------------------------------


def test_flip_mirrors_about_half_of_them_and_again_undoes_it(be):
    many = np.random.default_rng(2).random((400, 3, 4, 1))
    x = be.asarray(many, "float32")
    got = be.to_numpy(flip(x, KEY))
    many = many.astype("float32")
    mirrored = (got == many[:, :, ::-1]).all(axis=(1, 2, 3))
    assert ((got == many).all(axis=(1, 2, 3)) ^ mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / math.sqrt(400)  # five standard errors
    assert be.to_numpy(flip(flip(x, KEY), KEY)).tobytes() == many.tobytes()
    assert np.array_equal(be.to_numpy(flip(x, KEY, 1)), many[:, :, ::-1])


def test_shift_moves_whole_pixels_and_repeats_the_edge():
    x = np.random.default_rng(3).random((300, 5, 6, 2))
    got = shift(x, KEY, 2)
    moves = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    counts = dict.fromkeys(moves, 0)
    for before, after in zip(x, got, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)), mode="edge")
        found = [(d, r) for d, r in moves if np.array_equal(after, padded[2 - d : 7 - d, 2 - r : 8 - r])]
        assert len(found) == 1
        counts[found[0]] += 1
    assert min(counts.values()) > 0  # 300 draws of 25: all of them come


def test_shifts_farther_than_the_image_leave_its_edge():
    x = np.random.default_rng(4).random((50, 2, 2, 1))
    assert np.isin(shift(x, KEY, 40), x).all()


@pytest.mark.parametrize(("padding", "size"), [(2, None), (0, 4), (3, 4), (1, 7)])
def test_crop_is_a_window_of_the_padded_image(padding, size):
    x = np.random.default_rng(5).random((100, 5, 6, 2))
    got = crop(x, KEY, padding, size)
    h, w = (5, 6) if size is None else (size, size)
    assert got.shape == (100, h, w, 2)
    seen = set()
    for before, after in zip(x, got, strict=True):
        padded = np.pad(before, ((padding, padding), (padding, padding), (0, 0)))
        corners = [(r, c) for r in range(padded.shape[0] - h + 1) for c in range(padded.shape[1] - w + 1)]
        found = [(r, c) for r, c in corners if np.array_equal(after, padded[r : r + h, c : c + w])]
        assert found
        seen.update(found)
    for seen_here, possible in zip(zip(*seen, strict=True), zip(*corners, strict=True), strict=True):
        assert set(seen_here) == set(possible)  # all rows come, and all columns


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3])
def test_quarter_turns_are_exact(be, dtype, quarters):
    x = np.random.default_rng(6).random((6, 9, 9, 3)).astype(dtype)
    angle = be.asarray(np.full(6, quarters * math.pi / 2), dtype)
    got = be.to_numpy(rotated(be.asarray(x), angle))
    assert np.abs(got - np.rot90(x, quarters, axes=(1, 2))).max() <= 64 * eps(dtype)


def test_quarter_turns_about_a_corner_of_four_pixels():
    x = np.random.default_rng(6).random((1, 8, 8, 1))
    assert np.abs(rotated(x, np.asarray([math.pi / 2])) - np.rot90(x, 1, axes=(1, 2))).max() < 1e-14


def test_rotation_reads_between_pixels(host):
    """A plane turned is a plane: what is read between pixels is exact for a + b r + c c, away from the edges."""
    r, c = np.meshgrid(np.arange(15) - 7, np.arange(15) - 7, indexing="ij")
    a = 0.3
    got = rotated((0.5 + 0.02 * r + 0.01 * c)[None, :, :, None], np.asarray([a]))[0, :, :, 0]
    want = 0.5 + 0.02 * (math.cos(a) * r + math.sin(a) * c) + 0.01 * (math.cos(a) * c - math.sin(a) * r)
    assert np.abs(got - want)[3:12, 3:12].max() < 1e-14


def test_angles_fill_their_range():
    """The angle, read off a ramp: how much of the ramp along the columns is seen along the rows."""
    ramp = np.broadcast_to(np.arange(21) / 40, (500, 21, 21))[..., None]
    got = rotate(ramp, KEY, 30)
    down, right = (got[:, 11, 10] - got[:, 9, 10])[:, 0], (got[:, 10, 11] - got[:, 10, 9])[:, 0]
    degrees = np.degrees(np.arctan2(-down, right))
    assert -30 <= degrees.min() < -29
    assert 29 < degrees.max() <= 30
    assert abs(degrees.mean()) < 5 * 60 / math.sqrt(12 * 500)


def test_a_flat_image_stays_flat(be):
    x = be.asarray(np.full(RGB.shape, 0.3), "float32")
    for change in (flip, shift, rotate):
        assert be.to_numpy(change(x, KEY)).tobytes() == be.to_numpy(x).tobytes()


def factors(count, strength, key=KEY):
    """What `colour` draws: brightness, contrast, saturation."""
    return 1 + strength * (2 * augmentation._uniform(np.zeros(1), key, (count, 3)).astype(float) - 1)


@images
def test_colour_is_its_formula(pixels):
    x, f = 0.4 + 0.1 * pixels, factors(len(pixels), 0.2)[:, :, None, None, None]  # nothing to cut off
    weights = np.asarray([0.299, 0.587, 0.114] if x.shape[3] == 3 else [1.0])
    want = f[:, 0] * x
    mean = (want @ weights).mean(axis=(1, 2))[:, None, None, None]
    want = mean + f[:, 1] * (want - mean)
    grey = (want @ weights)[..., None]
    want = grey + f[:, 2] * (want - grey)
    assert np.abs(colour(x, KEY) - want).max() < 1e-15 * 4
    assert f.min() >= 0.8
    assert f.max() < 1.2


def test_colour_changes_only_what_it_is_asked_to():
    x = 0.3 + 0.3 * RGB
    f = factors(len(x), 0.3)
    brighter = colour(x, KEY, 0.3, 0, 0)
    assert np.allclose(brighter / x, f[:, 0, None, None, None], atol=1e-14)
    grey = np.asarray([0.299, 0.587, 0.114])
    assert np.allclose((colour(x, KEY, 0, 0.3, 0) @ grey).mean(axis=(1, 2)), (x @ grey).mean(axis=(1, 2)), atol=1e-14)
    assert np.allclose(colour(x, KEY, 0, 0, 0.3) @ grey, x @ grey, atol=1e-14)


def test_without_strength_nothing_changes(be):
    x = be.asarray(RGB * 3 - 1, "float32")  # not from 0 to 1 either
    unchanged = [
        flip(x, KEY, 0),
        shift(x, KEY, 0),
        crop(x, KEY, 0),
        rotate(x, KEY, 0),
        colour(x, KEY, 0, 0, 0),
        datasets.Augment(flip=False, shift=0, rotate=0, colour=0)(x, KEY),
    ]
    for got in unchanged:
        assert be.to_numpy(got).tobytes() == be.to_numpy(x).tobytes()


# --- All at once ------------------------------------------------------------------------------------------


def test_augment_is_the_four_in_a_row(be):
    x = be.asarray(RGB, "float32")
    want = flip(x, KEY.fold("flip"))
    want = rotate(want, KEY.fold("rotate"), 20)
    want = shift(want, KEY.fold("shift"), 1)
    want = colour(want, KEY.fold("colour"), 0.1, 0.1, 0.1)
    got = datasets.augment(x, key=KEY, shift=1, rotate=20, colour=0.1)
    assert be.to_numpy(got).tobytes() == be.to_numpy(want).tobytes()
    assert datasets.Augment(shift=1) == datasets.Augment(True, 1, 10, 0.2)


def test_each_epoch_has_its_own_draws(be):
    x = be.asarray(RGB, "float32")
    first, again, second = (be.to_numpy(datasets.augment(x, seed=4, epoch=e)) for e in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_images_without_colour_may_have_any_channels():
    x = np.random.default_rng(7).random((2, 4, 4, 2))
    assert datasets.augment(x, seed=0, colour=0).shape == x.shape
    with pytest.raises(ValueError, match=r"x must have 1 or 3 channels .*\(2, 4, 4, 2\)\. Use colour=0"):
        datasets.augment(x, seed=0)


# --- What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        ({}, TypeError, "either key or seed"),
        ({"key": KEY, "seed": 0}, TypeError, "either key or seed"),
        ({"seed": 0, "epoch": -1}, ValueError, "epoch must be an integer of at least 0; got -1"),
        ({"seed": 0, "flip": 1}, TypeError, "flip must be True or False; got 1"),
        ({"seed": 0, "shift": 1.5}, TypeError, r"shift must be an integer .*got 1\.5"),
        ({"seed": 0, "shift": -1}, ValueError, "shift must .*got -1"),
        ({"seed": 0, "rotate": -1}, ValueError, "rotate must be a finite number of at least 0 .*got -1"),
        ({"seed": 0, "rotate": 181}, ValueError, "rotate must .*got 181"),
        ({"seed": 0, "colour": 1}, ValueError, "colour must be a finite number of at least 0 and less than 1; got 1"),
        ({"seed": 0, "colour": "red"}, TypeError, "colour must .*got 'red'"),
    ],
    ids=repr,
)
def test_bad_arguments_of_augment(bad, error, match):
    with pytest.raises(error, match=match):
        datasets.augment(RGB, **bad)


@pytest.mark.parametrize(
    ("change", "bad", "match"),
    [
        (flip, {"probability": 1.5}, r"probability must .*got 1\.5"),
        (shift, {"pixels": -1}, "pixels must .*got -1"),
        (crop, {"padding": -1}, "padding must .*got -1"),
        (crop, {"size": 0}, "size must .*got 0"),
        (crop, {"size": 10, "padding": 1}, "size=10 is larger than the images of 7 x 9 with padding=1"),
        (rotate, {"degrees": math.nan}, "degrees must .*got nan"),
        (colour, {"contrast": 2}, "contrast must .*got 2"),
    ],
)
def test_bad_arguments_of_one(change, bad, match):
    with pytest.raises(ValueError, match=match):
        change(RGB, KEY, **bad)


@each
def test_what_are_no_images(change):
    with pytest.raises(
        ValueError, match=r"x must have shape \(batch, height, width, channels\).*use x\[\.\.\., None\]"
    ):
        change(RGB[..., 0], KEY)
    with pytest.raises(ValueError, match=r"x must have shape .*got \(0, 7, 9, 3\)"):
        change(RGB[:0], KEY)
    with pytest.raises(TypeError, match=r"x must be real floating; got dtype uint8\. Divide bytes by 255"):
        change((255 * RGB).astype(np.uint8), KEY)
    with pytest.raises(TypeError, match="x must be an array; got list"):
        change(RGB.tolist(), KEY)
