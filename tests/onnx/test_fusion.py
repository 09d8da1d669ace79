"""Operators that are computed at once at inference give what they give one by one, and what does not fit still runs."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

import nnarray as nn
from nnarray.onnx.fusion import Fused
from nnarray.onnx.operators import TABLE
from nnarray.onnx.operators.common import MOST
from nnarray.onnx.program import Program
from nnarray.onnx.reading.file import read_bytes
from tests.onnx.graphs import model, node, saved, value

F, SIZE, HEADS, KEYS = np.float32, 8, 2, 5
RNG = np.random.default_rng(0)
HALVES = {"half": F(0.5), "one": F(1), "root": F(math.sqrt(2)), "inverse": F(math.sqrt(0.5)), "two": F(2)}
DIVIDED = [node("Div", ["h", "root"], ["d"]), node("Erf", ["d"], ["e"]), node("Add", ["e", "one"], ["a"])]
GELUS = {
    "half of the sum": [*DIVIDED, node("Mul", ["half", "a"], ["m"]), node("Mul", ["h", "m"], ["y"])],
    "half of the product": [*DIVIDED, node("Mul", ["h", "a"], ["m"]), node("Mul", ["m", "half"], ["y"])],
    "half of the input": [*DIVIDED, node("Mul", ["h", "half"], ["m"]), node("Mul", ["a", "m"], ["y"])],
    "the product over two": [
        node("Mul", ["inverse", "h"], ["d"]),
        node("Erf", ["d"], ["e"]),
        node("Add", ["one", "e"], ["a"]),
        node("Div", ["h", "two"], ["m"]),
        node("Mul", ["m", "a"], ["y"]),
    ],
}
START = node("Mul", ["x", "x"], ["h"])


def program(made: Any, be: Any) -> Program:
    return Program(read_bytes(made.SerializeToString(), Path(), "m.onnx"), be)


def fused_of(made: Program) -> list[Fused]:
    return [each for _, each in made._plan.fused if isinstance(each, Fused)]


def one_by_one(own: Program, inputs: dict[str, Any]) -> Any:
    """The output of the operators themselves, as they compute while a file is loaded."""
    found = copy(own)
    found._place = replace(own._place, most=MOST - 1)
    return next(iter(found(inputs).values()))


def compared(made: Any, be: Any, inputs: dict[str, Any], count: int, *, is_defined: bool = True) -> None:
    """The program has so many functions of several operators, and computes as these and as ONNX's own evaluator."""
    own = program(made, be)
    assert len(fused_of(own)) == count
    with np.errstate(all="ignore"):
        wanted = [be.to_numpy(one_by_one(own, inputs))]
        wanted += ReferenceEvaluator(made).run(None, inputs) if is_defined else []
        for _ in range(2):  # what follows from shapes is kept for the second one
            (got,) = own(inputs).values()
            for want in wanted:
                np.testing.assert_allclose(be.to_numpy(got), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("order", GELUS)
def test_gelu_is_one_function(be: Any, order: str) -> None:
    x = RNG.normal(size=(3, 7)).astype(F)
    made = model([START, *GELUS[order]], [value("x", [None, 7])], [value("y", [None, 7])], HALVES)
    compared(made, be, {"x": x}, 1)


def test_many_entries_of_gelu(be: Any) -> None:
    x = np.linspace(-6, 6, 30_000, dtype=F)[:, None]
    made = model([START, *GELUS["half of the sum"]], [value("x", [None, 1])], [value("y", [None, 1])], HALVES)
    compared(made, be, {"x": x}, 1)


@pytest.mark.parametrize("changed", [{"half": F(0.4)}, {"one": F(2)}, {"root": F(1.5)}, {"half": np.ones((1, 7), F)}])
def test_other_numbers_are_no_gelu(be: Any, changed: dict[str, Any]) -> None:
    made = model([START, *GELUS["half of the sum"]], [value("x", [None, 7])], [value("y")], HALVES | changed)
    compared(made, be, {"x": RNG.normal(size=(3, 7)).astype(F)}, 0)


def test_what_others_read_is_no_part(be: Any) -> None:
    nodes = [START, *GELUS["half of the sum"][:-1], node("Mul", ["h", "m"], ["g"]), node("Add", ["g", "e"], ["y"])]
    made = model(nodes, [value("x", [None, 7])], [value("y", [None, 7])], HALVES)
    compared(made, be, {"x": RNG.normal(size=(3, 7)).astype(F)}, 0)


def written_out(squares: Any, axes: Any) -> Any:
    """A layer normalisation as older exporters write it."""
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=axes),
        node("Sub", ["x", "mean"], ["d"]),
        squares,
        node("ReduceMean", ["s"], ["v"], axes=axes),
        node("Add", ["v", "epsilon"], ["ve"]),
        node("Sqrt", ["ve"], ["r"]),
        node("Div", ["d", "r"], ["n"]),
        node("Mul", ["n", "w"], ["nw"]),
        node("Add", ["nw", "b"], ["y"]),
    ]
    constants = {"w": RNG.normal(size=SIZE).astype(F), "b": RNG.normal(size=SIZE).astype(F), "epsilon": F(1e-5)}
    return model(
        nodes, [value("x", [None, 3, SIZE])], [value("y", [None, 3, SIZE])], constants | {"two": F(2)}, opset=17
    )


@pytest.mark.parametrize("squares", [node("Pow", ["d", "two"], ["s"]), node("Mul", ["d", "d"], ["s"])])
@pytest.mark.parametrize("axis", [-1, 2, 1])
def test_a_normalisation_of_many_operators(be: Any, squares: Any, axis: int) -> None:
    made = written_out(squares, [axis])
    x = RNG.normal(size=(4, SIZE if axis == 1 else 3, SIZE)).astype(F)
    made.graph.input[0].CopyFrom(value("x", [None, None, SIZE]))
    made.graph.output[0].CopyFrom(value("y", [None, None, SIZE]))
    compared(made, be, {"x": x}, 1)


@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_normalization(be: Any, axis: int) -> None:
    shape = (SIZE,) if axis == -1 else (3, SIZE)
    constants = {"w": RNG.normal(size=shape).astype(F), "b": RNG.normal(size=shape).astype(F)}
    nodes = [node("LayerNormalization", ["x", "w", "b"], ["y"], axis=axis)]
    made = model(nodes, [value("x", [None, 3, SIZE])], [value("y", [None, 3, SIZE])], constants)
    compared(made, be, {"x": RNG.normal(size=(4, 3, SIZE)).astype(F)}, 1)


@pytest.mark.parametrize("bias", [(4,), (1, 4), (3, 4), ()])
def test_a_product_and_its_bias(be: Any, bias: tuple[int, ...]) -> None:
    constants = {"w": RNG.normal(size=(SIZE, 4)).astype(F), "b": RNG.normal(size=bias).astype(F)}
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Add", ["b", "p"], ["y"])]
    made = model(nodes, [value("x", [None, 3, SIZE])], [value("y", [None, 3, 4])], constants)
    compared(made, be, {"x": RNG.normal(size=(4, 3, SIZE)).astype(F)}, 1)


def nodes_of_attention(*, masked: bool = True, guarded: bool = True, ending: str = "") -> list[Any]:
    """Scaled products of queries and keys, a mask that is added, softmax, and the sum of values."""
    unused = (set() if masked else {"added"}) | (set() if guarded else {"bad", "g"})
    nodes = [
        ("Transpose", ["k"], "kt", {"perm": [0, 1, 3, 2]}),
        ("Mul", ["q", "scale"], "qs", {}),
        ("Mul", ["kt", "scale"], "ks", {}),
        ("MatMul", ["qs", "ks"], "scores", {}),
        ("Add", ["scores", "mask"], "added", {}),
        ("Softmax", ["added" if masked else "scores"], "p", {"axis": -1}),
        ("IsNaN", ["p"], "bad", {}),
        ("Where", ["bad", "zero", "p"], "g", {}),
        ("MatMul", ["g" if guarded else "p", "v"], "y", {}),
    ]
    own = {made for _, _, made, _ in nodes}
    return [
        node(name, [each + ending * (each in own) for each in read], [made + ending], **settings)
        for name, read, made, settings in nodes
        if made not in unused
    ]


def attention(*, masked: bool = True, guarded: bool = True, scale: float = 0.5, dtype: Any = F) -> Any:
    return of_attention(nodes_of_attention(masked=masked, guarded=guarded), ["y"], masked, dtype(scale))


def of_attention(nodes: list[Any], outputs: list[str], masked: bool, scale: Any) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(scale.dtype)
    inputs = [value(name, [None, HEADS, None, SIZE], kind) for name in "qkv"]
    inputs += [value("mask", [None, None, None, None], kind)] if masked else []
    shown = [value(name, [None, HEADS, None, SIZE], kind) for name in outputs]
    return model(nodes, inputs, shown, {"scale": scale, "zero": scale * 0})


def sequences(examples: int = 3) -> dict[str, Any]:
    return {name: RNG.normal(size=(examples, HEADS, KEYS, SIZE)).astype(F) for name in "qkv"}


def masks() -> dict[str, Any]:
    hidden = np.zeros((3, 1, 1, KEYS), F)
    hidden[1, ..., 3:] = hidden[2, ..., :1] = -np.inf
    blind = hidden.copy()
    blind[0] = -np.inf
    large = np.where(hidden < 0, np.finfo(F).min, hidden)
    partly = np.where(np.arange(KEYS) < 2, -np.inf, -1e31).astype(F)
    causal = np.where(np.tri(KEYS) > 0, 0, -np.inf).astype(F)[None, None]
    heads = np.concatenate([hidden, np.zeros_like(hidden)], axis=1)
    return {
        "none hidden": np.zeros((1, 1, 1, KEYS), F),
        "padding": hidden,
        "padding of each query": np.repeat(hidden, KEYS, axis=2),
        "padding of all examples": hidden[1:2],
        "an example that sees nothing": blind,
        "large numbers": large,
        "all keys of an example by large numbers": np.where(blind < 0, F(-1e31), 0).astype(F),
        "all keys of an example by the largest numbers": np.where(blind < 0, np.finfo(F).min, blind),
        "all keys of an example by numbers and infinity": np.where(blind[:1] < 0, partly, blind),
        "small numbers": np.where(hidden < 0, F(-3), hidden),
        "causal": causal,
        "of heads": heads,
    }


@pytest.mark.parametrize("mask", masks())
@pytest.mark.parametrize("guarded", [True, False])
def test_attention_with_a_mask(be: Any, mask: str, guarded: bool) -> None:
    compared(attention(guarded=guarded), be, sequences() | {"mask": masks()[mask]}, 1)


@pytest.mark.parametrize("others", [np.finfo(F).min, -np.inf])
def test_numbers_that_hide_all_keys_leave_the_mean(be: Any, others: float) -> None:
    mask = np.zeros((3, 1, KEYS, KEYS), F)
    mask[0, :, :1], mask[0, :, 1:] = np.finfo(F).min, others
    inputs = sequences() | {"mask": mask}
    with np.errstate(all="ignore"):
        got = be.to_numpy(program(attention(), be)(inputs)["y"])
    np.testing.assert_allclose(got[0, :, 0], inputs["v"][0].mean(axis=1), atol=1e-5)


@pytest.mark.parametrize("mask", [np.zeros((1, 1, KEYS, KEYS), F), np.repeat(masks()["padding"], KEYS, axis=2)])
@pytest.mark.parametrize("guarded", [True, False])
def test_a_mask_of_more_queries_than_there_are(be: Any, mask: Any, guarded: bool) -> None:
    inputs = sequences() | {"mask": mask}
    inputs["q"] = inputs["q"][:, :, :1]
    assert program(attention(guarded=guarded), be)(inputs)["y"].shape == (3, HEADS, KEYS, SIZE)
    compared(attention(guarded=guarded), be, inputs, 1)


def test_a_mask_of_float16(be: Any) -> None:
    inputs = {name: x.astype(np.float16) for name, x in (sequences() | {"mask": masks()["padding"]}).items()}
    made = attention(guarded=False, dtype=np.float16)
    (want,) = ReferenceEvaluator(made).run(None, inputs)
    np.testing.assert_allclose(be.to_numpy(program(made, be)(inputs)["y"]), want, atol=4e-3)  # four roundings of 1


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_two_attentions_with_the_same_mask(be: Any, order: tuple[bool, ...]) -> None:
    """One guards its weights, and one does not: each gives what it gives alone."""
    inputs = sequences() | {"mask": masks()["an example that sees nothing"]}
    nodes = [each for i, guarded in enumerate(order) for each in nodes_of_attention(guarded=guarded, ending=str(i))]
    own = program(of_attention(nodes, ["y0", "y1"], True, F(0.5)), be)
    assert len(fused_of(own)) == 2
    with np.errstate(all="ignore"):
        found = own(inputs)
        for i, guarded in enumerate(order):
            alone = program(attention(guarded=guarded), be)(inputs)["y"]
            np.testing.assert_allclose(be.to_numpy(found[f"y{i}"]), be.to_numpy(alone), atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.3, SIZE**-0.25])
def test_attention_without_a_mask(be: Any, scale: float) -> None:
    compared(attention(masked=False, guarded=False, scale=scale), be, sequences(), 1)


@pytest.mark.parametrize("where", ["q", "k", "v"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("guarded", [True, False])
def test_attention_of_what_is_no_number(be: Any, where: str, bad: float, guarded: bool) -> None:
    inputs = sequences() | {"mask": masks()["padding"]}
    inputs[where][1, 0, 4, 2] = bad  # a key that the mask hides
    compared(attention(guarded=guarded), be, inputs, 1)


@pytest.mark.parametrize("where", ["q", "k"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("guarded", [True, False])
def test_attention_to_what_is_infinite_without_a_mask(be: Any, where: str, bad: float, guarded: bool) -> None:
    inputs = sequences()
    inputs[where][1, 0, 4, :] = bad
    compared(attention(masked=False, guarded=guarded), be, inputs, 1)


SCORES = np.concatenate([RNG.normal(size=(9, 4)), RNG.normal(size=(9, 4)) * 50]).astype(F)
SCORES[0] = SCORES[10] = -np.inf
SCORES[1, 1:], SCORES[2, 0], SCORES[3, :3] = -np.inf, -np.inf, -np.inf
SCORES[4, 2], SCORES[5, :2], SCORES[6, 1] = np.inf, np.inf, np.nan


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("opset", [12, 18])
def test_scores_that_are_infinite(be: Any, op: str, axis: int, opset: int) -> None:
    """A row of -inf alone is nan, as one with +inf; the logarithm of 0 is -inf."""
    x = SCORES.T if axis == 0 and opset == 18 else SCORES
    axis = 1 if opset == 12 else axis
    made = model([node(op, ["x"], ["y"], axis=axis)], [value("x", [None] * 2)], [value("y", [None] * 2)], opset=opset)
    (want,) = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": x})
    for part in (slice(None), slice(7, 9)):  # and where nothing is unusual
        rows = (part, slice(None)) if axis else (slice(None), part)
        got = be.to_numpy(program(made, be)(x=x[rows])["y"])
        np.testing.assert_allclose(got, want[rows], rtol=1e-5, atol=1e-5)


def test_an_example_that_sees_nothing_has_a_finite_gradient(be: Any, tmp_path: Path) -> None:
    """The guard makes 0 of its weights, and so its keys and queries change nothing."""
    inputs = sequences() | {"mask": masks()["an example that sees nothing"]}
    shapes = {name: x.shape[1:] for name, x in inputs.items()}
    layer = nn.load_onnx(saved(tmp_path, attention()), backend=be, shape=shapes).network
    arrays = {name: be.asarray(x) for name, x in inputs.items()}

    def total(parts: Any) -> Any:
        y = layer.forward({}, {**parts, "mask": arrays["mask"]}, nn.Context(False, {}, False, False)).y
        return nn.namespace(y).sum(y * y)

    gradient = nn.grad(total)({name: arrays[name] for name in "qkv"})
    for each in gradient.values():
        found = be.to_numpy(each)
        assert np.isfinite(found).all()
        assert (found[0] == 0).all()
        assert (found[1] != 0).any()


def test_softmax_of_a_file_is_written_as_one_operator(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["s"]), node("Softmax", ["s"], ["p"]), node("LogSoftmax", ["p"], ["y"])]
    made = model(nodes, [value("x", ["n", 3])], [value("y", ["n", 4])], {"w": RNG.normal(size=(3, 4)).astype(F)})
    nn.load_onnx(saved(tmp_path, made)).to_onnx(tmp_path / "again.onnx")
    written = onnx.load(tmp_path / "again.onnx").graph.node
    assert [each.op_type for each in written] == ["MatMul", "Softmax", "LogSoftmax"]


def test_shapes_that_do_not_fit_name_the_operator(be: Any) -> None:
    inputs = sequences() | {"mask": np.zeros((1, 1, 1, KEYS + 1), F)}
    with pytest.raises(ValueError, match="Add 'added'"):
        program(attention(), be)(inputs)


def test_an_operator_of_the_user_is_no_part(be: Any) -> None:
    before = TABLE["", "Erf"]
    try:
        nn.onnx.register("Erf", lambda x: 0.0 * x, since=9)
        made = model([START, *GELUS["half of the sum"]], [value("x", [None, 7])], [value("y", [None, 7])], HALVES)
        own, x = program(made, be), RNG.normal(size=(3, 7)).astype(F)
        assert not fused_of(own)
        np.testing.assert_allclose(be.to_numpy(own({"x": x})["y"]), x * x / 2, rtol=1e-6)
    finally:
        TABLE["", "Erf"] = before


def test_gradients_and_names_are_those_of_the_operators(be: Any, tmp_path: Path) -> None:
    constants = HALVES | {"w": RNG.normal(size=(3, 6)).astype(F), "b": RNG.normal(size=6).astype(F)}
    constants |= {"s": np.ones(6, F), "t": np.zeros(6, F)}
    nodes = [
        node("MatMul", ["x", "w"], ["p"]),
        node("Add", ["p", "b"], ["h"]),
        *GELUS["half of the sum"][:-1],
        node("Mul", ["h", "m"], ["g"]),
        node("LayerNormalization", ["g", "s", "t"], ["y"]),
    ]
    path = saved(tmp_path, model(nodes, [value("x", ["n", 3])], [value("y", ["n", 6])], constants))
    loaded: Any = nn.load_onnx(path, backend=be)
    assert {*loaded.params} == {"w", "b", "s", "t"}
    assert sum(isinstance(each, Fused) for _, each in loaded.network.plan.fused) == 3
    same = nn.Network(nn.Dense(6, "gelu"), nn.LayerNorm()).init((3,), backend=be)
    same.set_params(dict(zip(same.params, (constants[name] for name in "wbst"), strict=True)))
    x, y = be.asarray(RNG.normal(size=(5, 3)).astype(F)), be.asarray(RNG.normal(size=(5, 6)).astype(F))
    np.testing.assert_allclose(be.to_numpy(loaded(x)), be.to_numpy(same(x)), atol=1e-5)
    for each in (loaded, same):
        each.fit(x, y, epochs=3, optimizer=nn.SGD(0.1), loss="mse", shuffle=False)
    for own, other in zip("wbst", same.params, strict=True):
        np.testing.assert_allclose(be.to_numpy(loaded.params[own]), be.to_numpy(same.params[other]), atol=1e-5)
    loaded.to_onnx(tmp_path / "again.onnx")
    assert {"w", "b", "s", "t"} <= {each.name for each in onnx.load(tmp_path / "again.onnx").graph.initializer}


def test_what_follows_from_constants_is_computed_once(be: Any) -> None:
    """Weights of 8 bits are kept once, and not for each shape of the inputs."""
    constants = {"q": RNG.integers(-9, 9, (SIZE, 4)).astype(np.int8), "scale": F(0.1)}
    nodes = [node("Cast", ["q"], ["f"], to=1), node("Mul", ["f", "scale"], ["w"]), node("MatMul", ["x", "w"], ["y"])]
    own = program(model(nodes, [value("x", [None, SIZE])], [value("y", [None, 4])], constants), be)
    slot = own._plan.slots["w"]
    for count in (2, 3, 4):
        x = RNG.normal(size=(count, SIZE)).astype(F)
        want = x @ (constants["q"] * constants["scale"]).astype(F)
        np.testing.assert_allclose(be.to_numpy(own({"x": x})["y"]), want, atol=1e-5)
    kept = {id(each[slot]) for each in own._memory.fixed.values()}
    assert own._memory.settled is not None
    assert kept == {id(own._memory.settled[slot])}


@pytest.mark.parametrize("shape", [[0, -1, 2, 4], [-1, 3, 2, 4]], ids=["a size kept", "a size left"])
def test_shapes_in_a_row_are_those_of_each_input(be: Any, shape: list[int]) -> None:
    """What they come to is kept from one run to the next, and another shape has its own."""
    nodes = [START, node("Reshape", ["h", "shape"], ["r"]), node("Transpose", ["r"], ["y"], perm=[0, 2, 1, 3])]
    made = model(nodes, [value("x", [None, 3, None])], [value("y", [None, 2, 3, 4])], {"shape": np.asarray(shape)})
    own = program(made, be)
    assert len(fused_of(own)) == 1
    for count in (2, 2, 5, 5, 1, 2):
        x = RNG.normal(size=(count, 3, 8)).astype(F)
        got, want = be.to_numpy(own({"x": x})["y"]), (x * x).reshape(count, 3, 2, 4).transpose(0, 2, 1, 3)
        np.testing.assert_array_equal(got, want)
    with pytest.raises(ValueError, match=r"Reshape.*\(2, 3, 7\)"):
        own({"x": np.ones((2, 3, 7), F)})
