"""Files that are valid in form, but would fill the memory or never end: one clear error each when they are loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.onnx.graphs import graph, model, node, perceptron, saved, value
from tests.onnx.test_safety import outside, warmed, within_bounds

assert warmed  # a fixture of this module, too
HUGE = 2**40


def numbers(*each: int) -> Any:
    return np.asarray(each, np.int64)


def made(*nodes: Any, shape: Any = ("n", 2), opset: int = 18, **constants: Any) -> Any:
    return model(list(nodes), [value("x", list(shape))], [value("y")], constants, opset=opset)


def loop(count: int | None, *inner: Any, outputs: tuple[str, ...] = ("y",)) -> Any:
    nodes = [node("Identity", ["c"], ["c2"]), *(inner or (node("Identity", ["h"], ["o"]),))]
    results = [value("c2", [], 9), value("o"), *(value("o") for _ in outputs[1:])]
    body = graph(nodes, [value("i", [], 7), value("c", [], 9), value("h")], results, {"r": numbers(32, 1)})
    name = "" if count is None else "k"
    return made(node("Loop", [name, "t", "x"], list(outputs), body=body), t=np.asarray(True), k=np.asarray(count or 0))


def branches(*counts: int) -> Any:
    bodies = [
        graph([node("Relu", ["x"], [f"b{i}"]) for i in range(n)], [], [value(f"b{i}") for i in range(n)], {})
        for n in counts
    ]
    names = ("then_branch", "else_branch")[: len(bodies)]
    return made(node("If", ["c"], ["y"], **dict(zip(names, bodies, strict=True))), c=np.asarray(True))


def scan(count: int) -> Any:
    body = graph([node("Identity", ["h"], ["o"])], [value("h")], [value("o")], {})
    return made(node("Scan", ["x"], ["y"], body=body, num_scan_inputs=count))


def twice(what: str) -> Any:
    file = perceptron()
    part = getattr(file.graph, what)
    part.add().CopyFrom(part[0])
    return file


def sparse() -> Any:
    file = perceptron()
    file.graph.sparse_initializer.add().dims.extend([HUGE])
    return file


IMAGE = ("n", 1, 4, 4)
FILTER = np.ones((1, 1, 2, 2), np.float32)
SCALES = {name: np.asarray([1, n], np.float32) for name, n in (("inf", np.inf), ("nan", np.nan), ("0", 0), ("-1", -1))}
JOINED = [node("Concat", [f"h{i}" if i else "x"] * 30, [f"h{i + 1}"], axis=1) for i in range(20)]

FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "a loop of 2^62 turns": (lambda: loop(2**62), "more than 10,000 operators"),
    "a loop without an end": (lambda: loop(None), "more than 10,000 operators"),
    "a loop that keeps all its turns": (lambda: loop(2**30, outputs=("z", "y")), "more than 10,000 operators"),
    "a loop that doubles an array": (lambda: loop(64, node("Concat", ["h", "h"], ["o"], axis=0)), "an array of shape"),
    "a loop that copies an array": (lambda: loop(20, node("Tile", ["h", "r"], ["o"])), "an array of shape"),
    "a loop without its outputs": (lambda: bare_loop(), "does not fit its graph"),
    "a branch without outputs": (lambda: branches(0, 0), "a graph has no outputs|does not fit its graph"),
    "one branch": (lambda: branches(1), "has no graph 'else_branch'"),
    "branches with other outputs": (lambda: branches(1, 0), "does not fit its graph 'else_branch'"),
    "a scan of nothing": (lambda: scan(0), "num_scan_inputs must be from 1"),
    "a scan of more than there is": (lambda: scan(99), "num_scan_inputs must be from 1"),
    "expansion": (lambda: made(node("Expand", ["x", "s"], ["y"]), s=numbers(HUGE, 1, 1)), "an array of shape"),
    "expansion to a computed size": (
        lambda: made(node("Mul", ["a", "a"], ["s"]), node("Expand", ["x", "s"], ["y"]), a=numbers(2**20, 1, 1)),
        "an array of shape",
    ),
    "joined again and again": (lambda: made(*JOINED, node("Relu", ["h20"], ["y"])), "an array of shape"),
    "larger images": (lambda: made(node("Resize", ["x", "", "", "s"], ["y"]), s=numbers(1, HUGE)), "an array of shape"),
    **{
        f"a scale of {name}": (
            lambda scales=scales: made(node("Resize", ["x", "", "s"], ["y"]), s=scales),
            "must be above 0|cannot convert float",
        )
        for name, scales in SCALES.items()
    },
    "padding that reflects": (
        lambda: made(node("Pad", ["x", "p"], ["y"], mode="reflect"), p=numbers(0, 2**30, 0, 0)),
        "an array of shape",
    ),
    "windows over padding": (
        lambda: made(node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[5_000] * 4), shape=IMAGE),
        "an array of shape",
    ),
    "gaps": (
        lambda: made(node("ConvTranspose", ["x", "w"], ["y"], strides=[2**20, 2**20]), shape=IMAGE, w=FILTER),
        "an array of shape",
    ),
    "places of maxima": (
        lambda: made(
            node("MaxUnpool", ["x", "i", "s"], ["y"], kernel_shape=[2, 2]),
            shape=("n", 1, 2, 2),
            i=np.zeros((1, 1, 2, 2), np.int64),
            s=numbers(1, 1, 2**20, 2**20),
        ),
        "an array of shape",
    ),
    "regions": (
        lambda: made(
            node("RoiAlign", ["x", "r", "b"], ["y"], output_height=2, output_width=2, sampling_ratio=2**20),
            shape=IMAGE,
            r=np.asarray([[0, 0, 1, 1]], np.float32),
            b=numbers(0),
        ),
        "an array of shape",
    ),
    "a grid": (
        lambda: made(
            node("AffineGrid", ["t", "s"], ["g"]),
            node("GridSample", ["x", "g"], ["y"]),
            shape=IMAGE,
            opset=20,
            t=np.ones((1, 2, 3), np.float32),
            s=numbers(1, 1, 2**20, 2**20),
        ),
        "an array of shape",
    ),
    "outer products": (
        lambda: made(
            node("Einsum", ["x"] * 8, ["y"], equation="ab,cd,ef,gh,ij,kl,mn,op->abcdefghijklmnop"), shape=("n", 200)
        ),
        "an array of shape",
    ),
    "parts without number": (lambda: made(node("Split", ["x"], ["y"], num_outputs=HUGE)), "there are 1 outputs"),
    "rows without number": (
        lambda: made(
            node("Expand", ["i", "s"], ["k"]), node("Gather", ["x", "k"], ["y"]), i=numbers(0), s=numbers(2**23)
        ),
        "an array of shape",
    ),
    "two constants with a name": (lambda: twice("initializer"), "two constants with the name 'first.weight'"),
    "a sparse constant": (sparse, "sparse constants"),
    "no outputs": (lambda: model([node("Relu", ["x"], ["y"])], [value("x", ["n", 2])], []), "no outputs"),
    "version 0": (lambda: made(node("Relu", ["x"], ["y"]), opset=0), "unknown operator"),
    "a name with NUL": (lambda: outside("w\0.bin"), "is no file|not in the folder"),
    "a long name": (lambda: outside("w" * 5_000), "is no file|not in the folder"),
    "a folder instead of a file": (lambda: outside("folder"), "not in the folder"),
    "the folder itself": (lambda: outside("."), "not in the folder"),
    "a link to itself": (lambda: outside("link.bin"), "is no file|not in the folder"),
    "a pipe": (lambda: outside("pipe.bin"), "not in the folder"),
    "digits of another script": (lambda: outside("m.onnx", offset="٣"), "must be an integer"),
    "a position beyond the end": (lambda: outside("m.onnx", offset="9" * 17), "in a file of"),
}


def bare_loop() -> Any:
    body = graph([node("Identity", ["c"], ["c2"])], [value("i", [], 7), value("c", [], 9)], [value("c2", [], 9)], {})
    return made(node("Loop", ["k", "t", "x"], ["y"], body=body), t=np.asarray(True), k=np.asarray(2))


@pytest.mark.parametrize("what", FAULTS)
def test_a_hostile_file_is_one_clear_error(tmp_path: Path, what: str) -> None:
    make, message = FAULTS[what]
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.bin").symlink_to("link.bin")
    os.mkfifo(tmp_path / "pipe.bin")
    path = saved(tmp_path, make())
    with within_bounds(), pytest.raises(ValueError, match=message) as raised:
        nn.load_onnx(path)
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 2_000


def test_large_products_of_attention_are_loaded(tmp_path: Path) -> None:
    """Scores of 1,024 positions in 12 heads are more entries than an array that is made of numbers may have."""
    nodes = [node("Transpose", ["x"], ["k"], perm=[0, 1, 3, 2]), node("MatMul", ["x", "k"], ["y"])]
    file = model(nodes, [value("x", ["n", 12, 1024, 64])], [value("y")], {"w": np.ones(1, np.float32)})
    assert nn.load_onnx(saved(tmp_path, file)).output_shape == (12, 1024, 1024)


def test_a_loop_of_some_turns_is_loaded(tmp_path: Path) -> None:
    found = nn.load_onnx(saved(tmp_path, loop(500)))
    assert (found(np.ones((2, 2), np.float32)) == 1.0).all()
