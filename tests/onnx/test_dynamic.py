"""Files whose sequences have any length, and whose images have any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.onnx.writing.sizes import BATCH, Axis, Records, Size, pairs_of
from tests.onnx.test_writing import PADDED, by_reference, by_runtime, of

onnx = pytest.importorskip("onnx")

LENGTH, IMAGE = {1: "length"}, {1: "height", 2: "width"}
TOKENS = nn.Embedding(9, 4)
BLOCK = {"norm": "rms", "activation": "swiglu", "causal": True, "kv_heads": 2, "rotary": 100.0}


def by_rows(x: Any) -> Any:
    """Positions without the last one, less the last one, through one long matrix, with the length as a number."""
    xp, last = nn.namespace(x), x.shape[1] - 1
    y = x[:, :-1, :] * last - x[:, last, None, :]
    return xp.reshape(xp.reshape(y, (-1, 2)) * 2.0, y.shape)


NETS: dict[str, tuple[Any, Any, Any, list[Any]]] = {
    "bert": (nn.models.bert(9, 8, 1, 2, pooling="mean"), (12,), LENGTH, [(1,), (5,), (12,)]),
    "char_rnn": (nn.models.char_rnn(9, 4), (6,), LENGTH, [(1,), (5,), (40,)]),
    "gpt": (nn.models.gpt(9, 8, 2, 2), (12,), LENGTH, [(1,), (5,), (12,)]),
    "a block": (nn.TransformerBlock(8, 4, **BLOCK), (12, 8), LENGTH, [(1, 8), (7, 8)]),
    "causal attention": (
        nn.Network(TOKENS, nn.TransformerBlock(4, 2, causal=True), nn.GlobalAvgPool()),
        (6,),
        LENGTH,
        [(1,), (5,), (7,), (40,)],
    ),
    "convolution": (nn.Network(nn.Conv1D(4, 3, padding="same"), nn.GlobalAvgPool()), (9, 2), LENGTH, [(3, 2), (50, 2)]),
    "causal": (nn.Conv1D(4, 3, padding="causal"), (9, 2), LENGTH, [(3, 2), (50, 2)]),
    "masks": (
        nn.Network(PADDED, nn.MultiHeadAttention(2, causal=True), nn.GlobalAvgPool()),
        (12,),
        LENGTH,
        [(2,), (7,)],
    ),
    "positions": (
        nn.Network(nn.SinusoidalPositions(), nn.LSTM(4, bidirectional=True), nn.LastStep()),
        (12, 4),
        LENGTH,
        [(2, 4), (12, 4)],
    ),
    "one axis of two": (nn.Conv2D(3, 3, stride=2, padding="same"), (8, 6, 2), {2: "width"}, [(8, 3, 2), (8, 21, 2)]),
    "ResNet-18": (nn.models.resnet18(3), (40, 36, 3), IMAGE, [(33, 50, 3), (40, 36, 3)]),
    "GoogLeNet": (nn.models.googlenet(3), (40, 40, 3), IMAGE, [(33, 50, 3), (41, 64, 3)]),
    "pooling": (
        nn.Network(nn.MaxPool2D(3, 2, ceil=True), nn.BatchNorm(), nn.AvgPool2D(2), nn.GlobalAvgPool()),
        (12, 13, 2),
        IMAGE,
        [(8, 9, 2), (31, 30, 2)],
    ),
    "rows of all positions": (nn.Lambda(by_rows), (6, 2), LENGTH, [(2, 2), (9, 2)]),
}


def computed(model: Any, X: Any) -> Any:
    """The outputs for inputs of another shape than that of the model."""
    wiring = model.wiring
    ctx = nn.Context(False, wiring.state.tree(model.state), False, False)
    return wiring.network.forward(wiring.params.tree(model.theta), X, ctx).y


def inputs(model: Any, shape: Any, count: int) -> Any:
    rng = np.random.default_rng(2)
    if model.inputs.kind.name == "integer":
        return rng.integers(0, 9, (count, *shape))
    return rng.normal(size=(count, *shape)).astype("float32")


@pytest.mark.parametrize("case", NETS)
def test_any_size(tmp_path: Path, case: str) -> None:
    layer, shape, axes, others = NETS[case]
    model, path = of(layer, shape), tmp_path / "m.onnx"
    model.to_onnx(path, dynamic_axes=axes)
    onnx.checker.check_model(str(path), full_check=True)
    (x,) = onnx.load(path).graph.input
    names = {axis: dim.dim_param for axis, dim in enumerate(x.type.tensor_type.shape.dim) if dim.dim_param}
    assert names == {0: "batch", **axes}
    for other in others:
        for count in (1, 3):
            X = inputs(model, other, count)
            wanted = computed(model, X)
            for found in (by_runtime(path, X), by_reference(path, X)):
                assert found.shape == wanted.shape
                np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1e-3, abs(wanted).max()))
    again = nn.load_onnx(path, shape=others[-1])
    X = inputs(model, others[-1], 2)
    np.testing.assert_allclose(again(X), computed(model, X), rtol=0, atol=1e-4 * abs(computed(model, X)).max())


def test_several_inputs_share_a_length(tmp_path: Path) -> None:
    net = nn.Network(nn.Masked(nn.Dense(3), nn.GlobalAvgPool()), nn.Dense(2))
    model, path = of(net, {"values": (6, 2), "mask": (6,)}), tmp_path / "m.onnx"
    model.to_onnx(path, batch=2, dynamic_axes={"values": LENGTH, "mask": LENGTH})
    rng = np.random.default_rng(0)
    X = {"values": rng.normal(size=(2, 4, 2)).astype("float32"), "mask": rng.random((2, 4)) < 0.6}
    np.testing.assert_allclose(by_runtime(path, X), computed(model, X), rtol=0, atol=1e-5)
    shapes = [
        [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim] for each in onnx.load(path).graph.input
    ]
    assert shapes == [[2, "length", 2], [2, "length"]]


def test_sizes_of_outputs_are_formulas(tmp_path: Path) -> None:
    model = of(nn.Conv1D(4, 3), (9, 2))
    model.to_onnx(tmp_path / "m.onnx", dynamic_axes=LENGTH)
    (y,) = onnx.load(tmp_path / "m.onnx").graph.output
    assert [d.dim_param or d.dim_value for d in y.type.tensor_type.shape.dim] == ["batch", "length - 2", 4]


def test_formulas() -> None:
    axes = Axis(BATCH, 3), Axis("length", 12)
    more = [{BATCH: 3, "length": n} for n in axes[1].more]
    records = Records(axes, (*more, *pairs_of(axes)))

    def size(function: Any) -> Size:
        values = tuple(function(each[BATCH], each["length"]) for each in records.settings)
        return Size(values, records.fitted(values))

    assert [
        str(size(f)) for f in (lambda b, _: b, lambda b, t: 2 * b * t + 3, lambda _, t: t * t, lambda _, t: t // 2)
    ] == [
        "batch",
        "2 * batch * length + 3",
        "",
        "",
    ]


def test_what_is_computed_for_each_length_by_its_own_steps(tmp_path: Path) -> None:
    model = of(nn.Network(PADDED, nn.LSTM(4), nn.LastStep()), (5,))
    with pytest.raises(ValueError, match=r"for any number of examples and 'length': it computes other operations"):
        model.to_onnx(tmp_path / "m.onnx", dynamic_axes=LENGTH)
    model = of(nn.Lambda(lambda x: x / float(x.shape[1])), (5,))
    with pytest.raises(ValueError, match=r"for any 'length': a number is .*to_onnx\(path\), without dynamic_axes"):
        model.to_onnx(tmp_path / "m.onnx", batch=1, dynamic_axes=LENGTH)
    with pytest.raises(ValueError, match="cannot be computed for batch 2, length 4"):
        of(nn.Dense(2), (5,)).to_onnx(tmp_path / "m.onnx", dynamic_axes=LENGTH)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["length"], TypeError, r"a mapping of axes to names, such as \{1: \"length\"\}; got \['length'\]"),
        ({"X": 1}, TypeError, "a mapping of axes to names"),
        ({"Y": LENGTH}, ValueError, "unknown input 'Y'; use one of X"),
        ({0: "n"}, ValueError, "may have the axes 1 to 2 of 'X', whose axis 0 are the examples; got 0"),
        ({1: "batch"}, ValueError, "needs a name of its own, of letters, such as 'length'; got 'batch'"),
        ({1: "n", 2: "n"}, ValueError, "'n' is the name of axes with 5 and 2 positions"),
    ],
)
def test_axes(tmp_path: Path, given: Any, error: type[Exception], message: str) -> None:
    model = of(nn.LastStep(), (5, 2))
    with pytest.raises(error, match=message):
        model.to_onnx(tmp_path / "m.onnx", dynamic_axes=given)


def test_an_axis_of_one_position(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="axis 1 of 'X' has 1 position in this model"):
        of(nn.LastStep(), (1, 2)).to_onnx(tmp_path / "m.onnx", dynamic_axes=LENGTH)
