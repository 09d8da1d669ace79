"""Damaged and hostile files: one clear error each, before memory is allocated."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import nnarray as nn
from tests.onnx.graphs import graph, model, node, perceptron, saved, value

MUTATIONS = 2_000


@pytest.fixture(autouse=True, scope="module")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is imported and compiled when a first file is loaded does not count."""
    for make in (perceptron, richer):
        nn.load_onnx(saved(tmp_path_factory.mktemp("first"), make()))


@contextmanager
def within_bounds(seconds: float = 1.0, megabytes: float = 100.0) -> Iterator[None]:
    tracemalloc.start()
    begin = time.process_time()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert time.process_time() - begin < seconds
    assert peak < megabytes * 2**20


def declared(dims: list[int], **more: Any) -> Any:
    made = perceptron()
    tensor = made.graph.initializer[0]
    del tensor.dims[:]
    tensor.dims.extend(dims)
    for name, each in more.items():
        setattr(tensor, name, each)
    return made


def outside(location: str, offset: str = "0", length: str = "48") -> Any:
    made = perceptron()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, each in (("location", location), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, each
    return made


def nested(depth: int) -> Any:
    inner = graph([node("Relu", ["x"], ["y0"])], [], [value("y0")], {})
    for i in range(1, depth):
        branch = node("If", ["c"], [f"y{i}"], then_branch=inner, else_branch=inner)
        inner = graph([branch], [], [value(f"y{i}")], {})
        if i > 3:  # the other branch stays small, or the file doubles with each level
            inner.node[0].attribute[1].g.CopyFrom(graph([node("Relu", ["x"], ["z"])], [], [value("z")], {}))
    return model(
        [node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)],
        [value("x", ["n", 2])],
        [value("y", ["n", 2])],
        {"c": np.asarray(True)},
    )


def recursive() -> Any:
    helper = onnx.helper
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="own")], opsets)
    made = model(
        [node("F", ["x"], ["y"], domain="own")], [value("x", ["n", 2])], [value("y", ["n", 2])], domains={"own": 1}
    )
    made.functions.append(function)
    return made


def doubling() -> Any:
    """A function of a function of ... with two calls each: 2^30 nodes."""
    helper = onnx.helper
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    made = model(
        [node("F29", ["x"], ["y"], domain="own")], [value("x", ["n", 2])], [value("y", ["n", 2])], domains={"own": 1}
    )
    for i in range(30):
        inner = {"op_type": f"F{i - 1}", "domain": "own"} if i else {"op_type": "Relu", "domain": ""}
        body = [
            node(inner["op_type"], ["a"], ["h"], domain=inner["domain"]),
            node(inner["op_type"], ["h"], ["b"], domain=inner["domain"]),
        ]
        made.functions.append(helper.make_function("own", f"F{i}", ["a"], ["b"], body, opsets))
    return made


def of_nodes(*nodes: Any, **constants: Any) -> Any:
    return model(list(nodes), [value("x", ["n", 2])], [value("y")], constants)


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "2 GB declared": (
        lambda: declared([2**15, 2**14]),
        r"of shape \(32768, 16384\).* needs 2147483648 bytes, but has 48",
    ),
    "an overflowing product": (lambda: declared([2**40, 2**40]), "the file is damaged"),
    "a negative dimension": (lambda: declared([-4, 3]), r"has the shape \(-4, 3\), but sizes are at least 0"),
    "an unknown dtype": (lambda: declared([4, 3], data_type=17), "dtype number 17, which is not supported"),
    "a cycle": (
        lambda: of_nodes(node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])),
        "reads 'b', which is computed from its own results.*has a cycle",
    ),
    "a node that reads itself": (lambda: of_nodes(node("Relu", ["y"], ["y"])), "reads 'y', which is computed from"),
    "an undefined name": (lambda: of_nodes(node("Relu", ["ghost"], ["y"])), "reads 'ghost', which nothing defines"),
    "an output that nothing defines": (lambda: of_nodes(node("Relu", ["x"], ["z"])), "nothing defines the output 'y'"),
    "a name defined twice": (
        lambda: of_nodes(node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])),
        "defines 'y', which is defined before",
    ),
    "deep graphs": (lambda: nested(18), "stand inside one another"),
    "recursion": (recursive, "calls itself"),
    "doubling functions": (doubling, "which are too many"),
    "a file outside of the folder": (lambda: outside("../secret.bin"), "outside of the folder"),
    "an absolute path": (lambda: outside("/etc/passwd"), "outside of the folder"),
    "a missing file": (lambda: outside("none.bin"), "which is not in the folder"),
    "a negative position": (lambda: outside("m.onnx", offset="-1"), "must be an integer"),
    "more bytes than there are": (lambda: outside("m.onnx", length="2147483648"), "in a file of"),
    "an attribute that is not known": (
        lambda: of_nodes(node("Relu", ["x"], ["y"], alpha=1.0)),
        "has the attribute 'alpha'",
    ),
    "a newer version": (
        lambda: model([node("Relu", ["x"], ["y"])], [value("x", ["n", 2])], [value("y")], opset=99),
        "version 99 of the operators",
    ),
    "a domain without a version": (
        lambda: of_nodes(node("F", ["x"], ["y"], domain="own")),
        "whose version is not given",
    ),
    "a huge constant": (
        lambda: of_nodes(node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"]), s=np.asarray([2**40])),
        "an array of shape",
    ),
    "a huge range": (
        lambda: of_nodes(
            node("Range", ["a", "b", "d"], ["c"]),
            node("Cast", ["c"], ["f"], to=1),
            node("Add", ["x", "f"], ["y"]),
            a=np.int64(0),
            b=np.int64(2**40),
            d=np.int64(1),
        ),
        "an array of shape",
    ),
    "huge padding": (
        lambda: of_nodes(node("Pad", ["x", "p"], ["y"]), p=np.asarray([0, 0, 0, 2**40])),
        "an array of shape",
    ),
    "huge copies": (lambda: of_nodes(node("Tile", ["x", "p"], ["y"]), p=np.asarray([1, 2**40])), "an array of shape"),
    "a huge broadcast": (
        lambda: of_nodes(
            node("Mul", ["a", "b"], ["c"]),
            node("Gather", ["c", "i"], ["f"]),
            node("Add", ["x", "f"], ["y"]),
            a=np.ones((2**16, 1), np.float32),
            b=np.ones((1, 2**16), np.float32),
            i=np.asarray([0, 1]),
        ),
        "an array of shape",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, what: str) -> None:
    make, message = FAULTS[what]
    path = saved(tmp_path, make())
    with within_bounds(), pytest.raises(ValueError, match=message) as raised:
        nn.load_onnx(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"\x00" * 64, b"not a model", b"\x3a\xff\xff\xff\xff\x0f" + b"x" * 10])
def test_another_file_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with within_bounds(), pytest.raises(ValueError, match="cannot be read"):
        nn.load_onnx(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        nn.load_onnx(tmp_path / "none.onnx")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        nn.load_onnx(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\0" * 48)
    (tmp_path / "inside" / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ValueError, match="outside of the folder"):
        nn.load_onnx(saved(tmp_path / "inside", outside("link.bin")))


def test_constants_in_another_file(tmp_path: Path) -> None:
    made = perceptron()
    (tmp_path / "w.bin").write_bytes(b"\0" * 16 + made.graph.initializer[0].raw_data)
    x = np.ones((2, 3), np.float32)
    plain = nn.load_onnx(saved(tmp_path, made, "plain.onnx"))
    assert (nn.load_onnx(saved(tmp_path, outside("w.bin", offset="16")))(x) == plain(x)).all()


def mutated(data: bytes, draw: random.Random) -> bytes:
    kind, at = draw.randrange(4), draw.randrange(len(data))
    if kind == 0:
        return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + draw.randbytes(draw.randrange(1, 9)) + data[at:]
    return data[:at] + data[at + draw.randrange(1, 9) :]


def richer() -> Any:
    """A file with many kinds of parts: constants, attributes, a graph in a node, sizes."""
    inner = graph([node("Mul", ["h", "two"], ["d"])], [], [value("d")], {"two": np.float32(2)})
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "zero", "one"], ["n"]),
        node("Concat", ["n", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["image"]),
        node("Conv", ["image", "w", "b"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Pad", ["c", "pads"], ["p"]),
        node("MaxPool", ["p"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["m"], ["h"]),
        node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner),
    ]
    constants = {
        "zero": np.asarray([0]),
        "one": np.asarray([1]),
        "rest": np.asarray([1, 4, 4]),
        "w": np.ones((2, 1, 3, 3), np.float32),
        "b": np.zeros(2, np.float32),
        "pads": np.asarray([0, 0, 0, 0, 0, 0, 2, 2]),
        "yes": np.asarray(True),
    }
    return model(nodes, [value("x", ["n", 16])], [value("y")], constants)


@pytest.mark.parametrize("make", [perceptron, richer])
def test_mutations_are_errors_or_models(tmp_path: Path, make: Callable[[], Any]) -> None:
    data, draw, slowest, loaded = make().SerializeToString(), random.Random(0), 0.0, 0
    messages: list[str] = []
    path = tmp_path / "m.onnx"
    tracemalloc.start()
    try:
        for _ in range(MUTATIONS // 2):
            path.write_bytes(mutated(data, draw))
            begin = time.process_time()
            try:
                nn.load_onnx(path)
                loaded += 1
            except ValueError as error:
                messages.append(str(error))
            slowest = max(slowest, time.process_time() - begin)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0 < loaded < MUTATIONS // 2
    assert all(str(path) in each and len(each) < 2_000 for each in messages)
    assert slowest < 1.0
    assert peak < 100 * 2**20


def test_int64_dims_beyond_memory_in_an_input(tmp_path: Path) -> None:
    made = model([node("Relu", ["x"], ["y"])], [value("x", ["n", 2**40])], [value("y")])
    with within_bounds(), pytest.raises(ValueError, match="an array of shape"):
        nn.load_onnx(saved(tmp_path, made))
