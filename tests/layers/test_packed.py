"""Several texts in one row: attention stays within each, and its positions begin at 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.tolerances import to_host

INNER: dict[str, Any] = {
    "learned": (nn.LearnedPositions(), nn.TransformerBlock(8, 2, causal=True)),
    "sinusoidal": (nn.SinusoidalPositions(), nn.MultiHeadAttention(4, causal=True)),
    "rotary": (nn.TransformerBlock(8, 4, causal=True, kv_heads=2, rotary=100.0, norm="rms", order="parallel"),),
    "both-ways": (nn.LearnedPositions(), nn.MultiHeadAttention(2, rotary=50.0), nn.Dense(8)),
}
TEXTS = [[3, 4, 0], [5, 6, 7, 1, 0], [0], [2, 8]]


def network(case: str, separator: int | None = 0, count: int = 9) -> nn.Network:
    return nn.Network(nn.Tied(nn.Embedding(count, 8, separator=separator), *INNER[case], nn.LayerNorm()))


@pytest.mark.parametrize("case", INNER)
def test_layer_is_right(be: nn.Backend, case: str) -> None:
    nn.testing.check_layer(network(case, count=3).layers[0], (6,), backends=[be])


@pytest.mark.parametrize("case", INNER)
def test_a_text_is_the_same_wherever_it_stands(be: nn.Backend, case: str) -> None:
    """As the first text of a row, which another network reads too: that without a separator."""
    count = sum(map(len, TEXTS))
    orders = [(0, 1, 2, 3), (1, 0, 2, 3), (2, 1, 0, 3)]
    rows = be.asarray(np.asarray([[token for i in order for token in TEXTS[i]] for order in orders]))
    model = network(case).init((count,), seed=1, backend=be, dtype="float32")
    packed = to_host(be, model(rows))
    ends = [np.cumsum([len(TEXTS[i]) for i in order]) for order in orders]
    whole = {
        (row, i): packed[row, end - len(TEXTS[i]) : end]
        for row in range(3)
        for i, end in zip(orders[row], ends[row], strict=True)
    }
    for row, i in whole:
        np.testing.assert_allclose(whole[row, i], whole[0, i], atol=2e-5)
    if case != "both-ways":
        alone = network(case, separator=None).init((count,), backend=be, dtype="float32")
        alone.theta = model.theta
        for row, first in enumerate(to_host(be, alone(rows))):
            text = whole[row, orders[row][0]]
            np.testing.assert_allclose(text, first[: len(text)], atol=2e-5)


def test_packed_texts_are_learned(be: nn.Backend) -> None:
    """What follows the separator begins a text, whatever stands before it."""
    tokens, mask = nn.text.packed([[1, 2, 3], [4, 5], [1, 2, 3], [4, 5, 6, 7]] * 6, 9, end=0, value=8)
    X, mask = (np.asarray(each) for each in (tokens, mask))
    y = np.where(mask[:, 1:], X[:, 1:], -1)
    net = nn.models.gpt(9, 16, 1, 2, separator=0)
    model = net.init((8,), seed=0, backend=be, dtype="float32")
    history = model.fit(
        be.asarray(X[:, :-1]),
        be.asarray(y),
        loss=nn.losses.CrossEntropy(ignore_index=-1),
        epochs=8,
        optimizer=nn.Adam(0.02),
        progress=False,
    )
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    text = model.generate([4, 5], max_tokens=3, temperature=0)  # without a cache
    assert tuple(text.shape) == (3,)


@pytest.mark.parametrize("layer", [nn.GlobalAvgPool(), nn.LastStep(), nn.Flatten(), nn.GRU(3)])
def test_layers_that_would_mix_the_texts_refuse(host: nn.Backend, layer: nn.Layer) -> None:
    model = nn.Network(nn.Embedding(9, 4, separator=0), layer, nn.Dense(2)).init((3,))
    with pytest.raises(ValueError, match=r"several texts in a row, and it would mix them\. Leave out separator"):
        model(np.asarray([[1, 0, 2]]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Embedding(5, 2, separator=5), "separator must be below count, 5; got 5"),
        (lambda: nn.Embedding(5, 2, padding_index=0, separator=1), "padding_index and separator cannot be together"),
        (
            lambda: network("learned").init((6,)).new_cache(),
            "with a separator, positions of earlier texts in a row must be known at once",
        ),
        (
            lambda: nn.Network(
                nn.Branches(nn.Embedding(5, 2, separator=0), nn.Embedding(5, 2, padding_index=1)),
                nn.MultiHeadAttention(2),
            ).init((3,))(np.asarray([[0, 1, 2]])),
            "a mask of padding and the texts of packed rows cannot be joined",
        ),
    ],
)
def test_what_does_not_fit_is_named(host: nn.Backend, call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
