"""The picture of attention: its weights are those that the layer uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.plotting.attention import attention_weights

matplotlib = pytest.importorskip("matplotlib")
TOKENS = [3, 1, 4, 1, 5]
NETWORKS = {
    "blocks": nn.models.gpt(9, 8, 2, 2),
    "rotary, shared keys": nn.Network(
        nn.Embedding(9, 8), nn.MultiHeadAttention(4, causal=True, kv_heads=2, rotary=10_000.0), nn.Dense(9)
    ),
    "both directions": nn.Network(nn.Embedding(9, 8), nn.MultiHeadAttention(2), nn.Dense(9)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_weights_give_the_outputs_of_the_layer(be: nn.Backend, name: str) -> None:
    model = NETWORKS[name].init((7,), seed=0, backend=be, dtype="float32")
    for weights in attention_weights(model, TOKENS).values():
        assert weights.shape[1:] == (5, 5)
        if name != "both directions":  # padded positions are read too: nothing says that they are none
            np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-6)
            assert not np.triu(weights, 1).any()


def test_the_weights_are_those_of_the_mean(host: nn.Backend) -> None:
    """Values that name their position: the outputs are the weights."""
    attention = nn.MultiHeadAttention(1, causal=True, bias=False)
    model = nn.Network(nn.Embedding(4, 4), attention, nn.Dense(4)).init((4,), seed=0)
    W = np.asarray(model.params["1.weight"]).copy()
    W[:, 8:] = np.eye(4)
    model.set_params({"0.weight": np.eye(4) * 3.0, "1.weight": W, "1.out_weight": np.eye(4)})
    model.set_params({"2.weight": np.eye(4) / 3.0, "2.bias": np.zeros(4)})
    (weights,) = attention_weights(model, [0, 1, 2, 3]).values()
    np.testing.assert_allclose(weights[0], np.asarray(model(np.asarray([[0, 1, 2, 3]])))[0], atol=1e-12)


def test_the_picture_shows_tokens(host: nn.Backend) -> None:
    model = NETWORKS["blocks"].init((7,), seed=0)
    model.tokenizer = nn.text.CharacterTokenizer("ab cd\nefg")
    axes = nn.plotting.plot_attention(model, "a b\nc", head=1)
    assert [each.get_text() for each in axes.get_yticklabels()] == ["a", "·", "b", "⏎", "c"]
    image = np.asarray(axes.get_images()[0].get_array())
    paths = list(attention_weights(model, model.tokenizer.encode("a b\nc")))
    assert axes.get_title() == f"{paths[-1]}, head 1"
    np.testing.assert_allclose(image.sum(axis=1), 1.0)
    mean = nn.plotting.plot_attention(model, TOKENS, layer=paths[0], labels=list("vwxyz"))
    assert [each.get_text() for each in mean.get_xticklabels()] == list("vwxyz")
    assert mean.get_title() == f"{paths[0]}, mean of all heads"
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: nn.plotting.plot_attention([1, 2], m), TypeError, r"plot_attention takes the model first"),
        (lambda m: nn.plotting.plot_attention(m, "ab"), ValueError, r"the model has no tokenizer: pass tokens"),
        (lambda m: nn.plotting.plot_attention(m, []), ValueError, r"the model sees 1 to 7 tokens; got 0"),
        (lambda m: nn.plotting.plot_attention(m, [1] * 8), ValueError, r"the model sees 1 to 7 tokens; got 8"),
        (lambda m: nn.plotting.plot_attention(m, [1], head=2), ValueError, r"head must be from 0 to 1; got 2"),
        (
            lambda m: nn.plotting.plot_attention(m, [1], layer=2),
            ValueError,
            r"layer must be one of .*, or its number, 0",
        ),
        (lambda m: nn.plotting.plot_attention(m, [1], layer="x"), ValueError, r"layer must be one of"),
    ],
)
def test_what_is_wrong_is_named(host: nn.Backend, call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(NETWORKS["blocks"].init((7,)))
    with pytest.raises(ValueError, match=r"the model has no layer with attention"):
        nn.plotting.plot_attention(nn.Network(nn.Embedding(4, 2), nn.Dense(4)).init((3,)), [1])
