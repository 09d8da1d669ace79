"""Layers of sequences with their numbers: each line comes to what the layer computed."""

from __future__ import annotations

import re

import numpy as np
import pytest

import nnarray as nn
from nnarray.explanations import Arithmetic, Explanation, Step

TOKENS, TARGET = [[1, 2, 1], [3, 4, 0]], [[2, 3, 4], [0, 1, 2]]
SUM = nn.losses.CrossEntropy(reduction="sum")
"""So that gradients are not small beside the digits that are shown."""

CASES = {
    "causal": (nn.LearnedPositions(), nn.MultiHeadAttention(2, causal=True), nn.LayerNorm()),
    "both directions, no bias": (nn.MultiHeadAttention(1, bias=False), nn.RMSNorm(), nn.Dense(4, "tanh")),
    "rotary, shared keys": (nn.MultiHeadAttention(2, causal=True, kv_heads=1, rotary=100.0),),
    "rnn": (nn.SimpleRNN(4), nn.SimpleRNN(3, activation="relu", bias=False)),
    "lstm": (nn.LSTM(3),),
    "gru": (nn.GRU(3),),
    "stacked, bidirectional": (nn.GRU(3, 2), nn.LSTM(2, bidirectional=True)),
}
NAMES = {
    "E": np.e,
    "ln": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "relu": lambda x: max(x, 0.0),
    "logistic": lambda x: 1.0 / (1.0 + np.exp(-x)),
}


def values_of(line: str) -> list[float]:
    """What the numbers of a line come to, between each two "="; names and words are left out."""
    parts = line.split(", with ")[0].replace("·", "*").replace("e^", "E**").replace("^", "**").split(" = ")
    readable = [part for part in parts if re.fullmatch(r"(?:[-\d. +*/()E]|e-|ln|sqrt|tanh|relu|logistic)+", part)]
    return [float(eval(part, NAMES)) for part in readable]


def lines_of(step: Step) -> list[str]:
    return [*step.arithmetic.forward, *step.arithmetic.backward]


def explained(be: nn.Backend, *layers: nn.Layer, tokens=TOKENS) -> Explanation:
    net = nn.Network(nn.Embedding(5, 4), *layers, nn.Dense(5))
    length = len(tokens[0])
    model = net.init((length,), seed=0, backend=be)
    target = [[row[t % 3] for t in range(length)] for row in TARGET]
    return nn.explain(model, be.asarray(tokens), be.asarray(target), SUM)


@pytest.mark.parametrize("name", CASES)
def test_the_lines_come_to_the_numbers_of_the_layer(be: nn.Backend, name: str) -> None:
    explanation = explained(be, *CASES[name])
    assert explanation.ok
    for step in explanation.steps:
        assert step.arithmetic.forward, step.layer
        for line in lines_of(step):
            values = values_of(line)
            assert values == pytest.approx([values[-1]] * len(values) if values else [], rel=3e-3, abs=3e-4), line
        for each in step.gradients:  # what stands last is the gradient itself
            last = [values_of(line)[-1] for line in lines_of(step) if line.startswith(f"dL/d{each.name}[0")]
            assert last == pytest.approx([each.values[0]] * len(last), rel=1e-3, abs=1e-6)
    for line in [*explanation.loss_arithmetic.forward, *explanation.loss_arithmetic.backward]:
        values = values_of(line)
        assert values == pytest.approx([values[-1]] * len(values), rel=3e-3, abs=3e-4), line


def test_the_last_line_of_a_query_is_the_output(host: nn.Backend) -> None:
    """And the weights are those of the picture."""
    net = nn.Network(nn.Embedding(5, 4), nn.MultiHeadAttention(2, causal=True), nn.Dense(5))
    model = net.init((3,), seed=1)
    model.set_params({"1.weight": model.params["1.weight"] * 3.0})  # weights that differ
    tokens = host.asarray([[1, 2, 1]])
    step = nn.explain(model, tokens, host.asarray([[2, 3, 4]]), check=False).steps[1]
    W = nn.plotting.attention.attention_weights(model, [1, 2, 1])["1"][0]
    found = [values_of(line)[-1] for line in step.arithmetic.forward if line.startswith("P[t, ")]
    assert found == pytest.approx(W[2].tolist(), rel=1e-3)
    assert max(found) > 2 * min(found)
    outputs = nn.Network(*net.layers[:2]).init((3,))
    outputs.set_params({name: each for name, each in model.params.items() if name[0] in "01"})
    y = float(outputs(tokens)[0, 2, 0])
    assert values_of(step.arithmetic.forward[-1])[-1] == pytest.approx(y, rel=1e-3)


@pytest.mark.parametrize("layer", [nn.MultiHeadAttention(2, causal=True), nn.SimpleRNN(3), nn.GRU(3)])
def test_masked_positions_are_left_out(layer: nn.Layer, be: nn.Backend) -> None:
    """At the end, at the beginning, and everywhere."""
    for tokens, t in (([[3, 1, 0, 0]], 1), ([[0, 0, 3, 1]], 3), ([[0, 0, 0, 0]], None)):
        net = nn.Network(nn.Embedding(5, 4, padding_index=0), layer, nn.GlobalAvgPool(), nn.Dense(5))
        model = net.init((4,), seed=0, backend=be)
        explanation = nn.explain(model, be.asarray(tokens), be.asarray([1]), SUM)
        assert explanation.ok
        step = explanation.steps[1]
        text = "\n".join(lines_of(step))
        if t is None:
            assert step.arithmetic == Arithmetic((), ())
            continue
        if layer.family == "attention":
            assert f"with t = {t}" in text
            masked = [j for j in range(4) if tokens[0][j] == 0]
            assert f"j is {masked[0]}, {masked[1]}" in text
            assert not any(f"S[t, {j}]" in text for j in masked)
        else:
            assert f"h[{t}, 0] = " in text
            assert f"= h[{t - 1}] · weight_hh_l0" in text
            assert "dL/dweight_hh_l0" not in text  # its sum is over states that stay, too
        for line in lines_of(step):
            values = values_of(line)
            assert values == pytest.approx([values[-1]] * len(values) if values else [], rel=3e-3, abs=3e-4), line


def test_one_position_has_no_state_before_it(host: nn.Backend) -> None:
    (_, step, _) = explained(host, nn.GRU(3), tokens=[[1], [2]]).steps
    assert "q_r = (h before, which is 0) · weight_hh_l0[:, 0]" in "\n".join(step.arithmetic.forward)


def test_long_sequences_are_cut_and_counted(host: nn.Backend) -> None:
    (_, step, _) = explained(host, nn.MultiHeadAttention(2, causal=True), tokens=[[1, 2, 3] * 4, [4, 0, 1] * 4]).steps
    text = "\n".join(lines_of(step))
    assert "... and so on for all 12 positions that it reads" in text
    assert "+ ... (12 terms)) = " in text
    assert text.count("P[t, 3] = e^") == 1
    assert "P[t, 4] = " not in text
    assert max(map(len, lines_of(step))) < 250


def test_padding_is_a_vector_of_zeros(host: nn.Backend) -> None:
    net = nn.Network(nn.Embedding(5, 4, padding_index=1), nn.GlobalAvgPool(), nn.Dense(5))
    step = nn.explain(net.init((3,), seed=0), host.asarray(TOKENS), host.asarray([2, 3])).steps[0]
    assert step.arithmetic == Arithmetic(("x[0, 0] = 1 is padding: y[0, 0] = 0",), ())


def test_what_other_layers_change_has_no_line(host: nn.Backend) -> None:
    """A frozen parameter has no gradient, that of `Tied` counts its products, and a class of one's own may differ."""
    tokens, target = host.asarray(TOKENS), host.asarray(TARGET)
    frozen = nn.Network(nn.Embedding(5, 4), nn.GRU(3), nn.Dense(5)).init((3,), seed=0).freeze("1")
    assert not any("dL/dweight_ih" in line for line in lines_of(nn.explain(frozen, tokens, target).steps[1]))
    tied = nn.Network(nn.Tied(nn.Embedding(5, 4), nn.LayerNorm())).init((3,), seed=0)
    step = next(step for step in nn.explain(tied, tokens, target).steps if step.layer.startswith("Embedding"))
    assert step.arithmetic.forward
    assert not step.arithmetic.backward

    class Other(nn.LayerNorm):
        pass

    own = nn.Network(nn.Embedding(5, 4), Other(), nn.Dense(5)).init((3,), seed=0)
    assert nn.explain(own, tokens, target).steps[1].arithmetic == Arithmetic((), ())
