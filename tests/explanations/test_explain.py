"""One step in words: the numbers are those of value_and_grad, and a wrong pullback is found."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from html.parser import HTMLParser

import numpy as np
import pytest

import nnarray as nn
from nnarray.explanations import Arithmetic, Explanation, explain
from nnarray.explanations.examples import MOST_EXAMPLES, spread


@dataclass(frozen=True)
class Twice(nn.Layer):
    """y = 2 x s, with a gradient of s that forgets the 2."""

    def params(self, shape):
        return {"scale": nn.Param(shape[-1:], "ones")}

    def forward(self, params, x, ctx):
        s = params["scale"]

        def pullback(dy):
            return 2.0 * dy * s, {"scale": nn.namespace(x).sum(dy * x, axis=0)}

        return nn.Out(2.0 * x * s, pullback)


@dataclass(frozen=True)
class LosesSign(nn.Layer):
    def forward(self, params, x, ctx):
        return nn.Out(-x, lambda dy: (dy, {}))


def moons(be: nn.Backend, points: int = 12) -> tuple:
    return nn.datasets.moons(points, noise=0.1, seed=0, backend=be)


def nested() -> nn.Network:
    return nn.Network(
        nn.Dense(4, "tanh", name="first"),
        nn.Dropout(0.5),
        nn.Residual(nn.Dense(4, "gelu"), nn.BatchNorm()),
        nn.Auxiliary(nn.Dense(2)),
        nn.Branches(nn.Dense(3), nn.Network(nn.Dense(4), nn.LayerNorm(), name="deep")),
        nn.Dense(2),
    )


def gradients_of(explanation: Explanation) -> dict:
    return {f"{step.name}.{each.name}": each for step in explanation.steps for each in step.gradients}


# --- The numbers ---------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_value_and_grad(be: nn.Backend) -> None:
    X, y = moons(be)
    model = nested().init((2,), seed=0, backend=be)
    explanation = explain(model, X, y)
    loss, gradient = nn.value_and_grad(model, X, y)
    assert explanation.loss == float(loss)
    found = gradients_of(explanation)
    views = model.wiring.params.views(gradient)
    assert list(found) == list(views)
    for name, each in found.items():
        want = be.to_numpy(views[name])
        assert each.shape == want.shape
        assert each.norm == pytest.approx(float((want.astype("float64") ** 2).sum() ** 0.5), rel=1e-5, abs=1e-12)
        assert each.largest == pytest.approx(float(abs(want).max()))
        assert each.values == tuple(map(float, want.ravel()[:4]))
    assert explanation.ok
    assert all(each.check.ok for each in found.values())
    assert explanation.checked_in == "float64"  # on the host, where the device has none


def test_signals_are_what_passes_between_the_layers(be: nn.Backend) -> None:
    X, y = moons(be)
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((2,), seed=0, backend=be)
    explanation = explain(model, X, y, check=False)
    first, second = explanation.steps
    outputs = be.to_numpy(model(X))
    assert second.outputs.values == pytest.approx(tuple(map(float, outputs[0])), rel=1e-5)
    _, dy = nn.losses.CrossEntropy().value_and_gradient(model(X), y)
    assert second.dy == explanation.output_gradient
    assert second.dy.values == pytest.approx(tuple(map(float, be.to_numpy(dy)[0])), rel=1e-5)
    dx = be.to_numpy(dy @ model.params["1.weight"].T)
    assert first.dy == second.dx
    assert first.dy.values == pytest.approx(tuple(map(float, dx[0, :4])), rel=1e-4)
    assert first.dx is None  # nobody asks for the gradient of the examples
    assert (first.input_shape, first.output_shape) == ((12, 2), (12, 4))


@pytest.mark.parametrize("loss", ["mse", "mae", nn.losses.Huber(0.3, reduction="sum"), "binary_cross_entropy"])
def test_every_loss_is_explained(loss, host: nn.Backend) -> None:
    X, y = moons(host)
    explanation = explain(nn.Network(nn.Dense(4, "tanh"), nn.Dense(1)).init((2,)), X, y[:, None] * 1.0, loss)
    assert explanation.ok
    assert explanation.loss_formula.endswith("; L is their sum" if isinstance(loss, nn.Loss) else "; L is their mean")


def test_images_are_explained(host: nn.Backend) -> None:
    X = nn.random.normal(nn.Key(0), (2, 6, 6, 1), xp=host.xp, device=host.device, dtype=host.dtype())
    net = nn.Network(nn.Conv2D(2, 3, activation="relu"), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(2))
    explanation = explain(net.init((6, 6, 1)), X, host.asarray([0, 1]))
    assert explanation.ok
    assert [step.output_shape for step in explanation.steps] == [(2, 4, 4, 2), (2, 2, 2, 2), (2, 8), (2, 2)]


def test_half_precision_is_checked_in_double(host: nn.Backend) -> None:
    X, y = moons(host)
    explanation = explain(nn.Network(nn.Dense(3, "tanh"), nn.Dense(2)).init((2,), dtype="float16"), X, y)
    assert explanation.ok
    assert (explanation.dtype, explanation.checked_in) == ("float16", "float64")


def test_the_loss_is_the_one_that_the_model_was_trained_with(host: nn.Backend) -> None:
    X, y = moons(host)
    Y = host.xp.astype(y[:, None] * host.asarray([[1.0, 2.0]]), host.xp.float32)
    model = nn.Network(nn.Dense(2)).init((2,), seed=0)
    assert explain(model, X, y).loss_name == "CrossEntropy"  # untrained: it follows from y
    assert explain(model, X, Y).loss_name == "MeanSquaredError"
    model.fit(X, y, loss="cross_entropy", epochs=1)
    assert explain(model, X, y).loss_name == "CrossEntropy"
    model.fit(X, Y, loss=nn.losses.Huber(2.0), epochs=1)
    explanation = explain(model, X, Y)
    assert explanation.ok
    assert explanation.loss_name == nn.losses.Huber(2.0).label
    assert explanation.loss_formula == explain(model, X, Y, nn.losses.Huber(2.0)).loss_formula
    assert explain(model, X, Y, "mse").loss_name == "MeanSquaredError"
    one = nn.Network(nn.Dense(1)).init((2,), seed=0)
    one.fit(X, y[:, None], loss="mse", epochs=1)
    assert explain(one, X, y[:, None]).loss_name == "MeanSquaredError"  # not the binary cross-entropy of integers


def test_layers_before_all_parameters_get_no_gradient(host: nn.Backend) -> None:
    X, y = moons(host)
    explanation = explain(nn.Network(nn.Flatten(), nn.Dense(2)).init((2,)), X, y)
    assert explanation.steps[0].dy is None
    assert "dL/dy in: none, as neither this layer nor one before it has parameters" in str(explanation)


def test_a_network_without_parameters_has_nothing_to_check(host: nn.Backend) -> None:
    X, _ = moons(host)
    explanation = explain(nn.Network(nn.Activation("tanh")).init((2,)), X, X, "mse")
    assert explanation.ok
    assert explanation.steps[0].gradients == ()


# --- One entry by hand ---------------------------------------------------------------------------------------


def values_of(line: str) -> list[float]:
    """What the numbers of a line come to, between each two "="; names and words are left out."""
    parts = line.replace("·", "*").replace("e^", "E**").split(" = ")
    names = {"E": np.e, "tanh": np.tanh, "ln": np.log, "relu": lambda x: max(x, 0.0)}
    readable = [part for part in parts if re.fullmatch(r"(?:[-\d. +*/()E]|e-|tanh|relu)+", part)]
    return [float(eval(part, names)) for part in readable]


def lines_of(explanation: Explanation) -> list[str]:
    """Of all steps, forward and back."""
    found = [step.arithmetic for step in explanation.steps] + [explanation.loss_arithmetic]
    return [line for each in found for line in (*each.forward, *each.backward)]


def test_the_arithmetic_comes_to_the_numbers_of_the_network(be: nn.Backend) -> None:
    X, y = moons(be, 4)
    net = nn.Network(nn.Dense(3, "tanh"), nn.Dense(3), nn.Activation("relu"), nn.Dense(2))
    explanation = explain(net.init((2,), seed=0, backend=be), X, y)
    lines = lines_of(explanation)
    compared = [(line, values_of(line)) for line in lines if " = " in line]
    assert sum(len(values) > 1 for _, values in compared) == 17
    for line, values in compared:
        assert values == pytest.approx([values[-1]] * len(values), rel=2e-3, abs=2e-4), line
    first, *_, last = explanation.steps
    assert first.arithmetic.forward[0].startswith("z[0, 0] = ")
    assert values_of(first.arithmetic.forward[1])[-1] == pytest.approx(first.outputs.values[0], rel=1e-3)
    for step in (first, last):
        (weight,) = (line for line in step.arithmetic.backward if line.startswith("dL/dweight"))
        assert values_of(weight)[-1] == pytest.approx(step.gradients[0].values[0], rel=1e-3)
    assert values_of(explanation.loss_arithmetic.backward[0])[-1] == pytest.approx(
        explanation.output_gradient.values[0], rel=1e-3
    )
    assert all(line in str(explanation) for line in lines)
    page = explanation._repr_html_()
    assert all(f": {html.escape(line)}" in page for line in lines)


def test_long_sums_are_cut_and_counted(host: nn.Backend) -> None:
    X, y = moons(host, 12)
    lines = lines_of(explain(nn.Network(nn.Dense(2)).init((2,)), X, y))
    assert any("+ ... (12 terms) = " in line for line in lines)


@pytest.mark.parametrize(
    ("network", "loss", "missing"),
    [
        (nn.Network(nn.Dense(3, name="a"), nn.Dense(2)), "cross_entropy", "a"),
        (
            nn.Network(nn.Dense(3, "softmax", name="a"), nn.Dense(2)),
            nn.losses.CrossEntropy(class_weights=(1, 2)),
            "loss",
        ),
        (nn.Network(nn.Dense(3, name="a"), nn.Dense(2)), nn.losses.CrossEntropy(label_smoothing=0.1), "loss"),
    ],
)
def test_what_is_no_plain_sum_has_no_line(network: nn.Network, loss, missing: str, host: nn.Backend) -> None:
    X, y = moons(host, 4)
    model = network.init((2,), seed=0)
    if missing == "a":
        model = model.freeze("a")
    explanation = explain(model, X, y, loss)
    if missing == "loss":
        assert explanation.loss_arithmetic == Arithmetic((), ())
    else:  # its gradient is not computed, so no number could stand behind the "="
        assert not any(line.startswith("dL/dweight") for line in explanation.steps[0].arithmetic.backward)
    assert explanation.steps[1].arithmetic.forward


class Quartic(nn.Loss):
    """The fourth power of the difference, without a derivative."""

    def entry(self, outputs, target):
        return (outputs - target) ** 4


@dataclass(frozen=True)
class Doubled(nn.losses.CrossEntropy):
    """Twice the cross-entropy."""

    def per_example(self, outputs, target):
        losses, gradient = super().per_example(outputs, target)
        return 2.0 * losses, 2.0 * gradient


@pytest.mark.parametrize(
    "loss", ["mse", "mae", "binary_cross_entropy", nn.losses.Huber(0.3, reduction="sum"), Quartic()]
)
def test_losses_entry_by_entry_have_their_numbers(loss, host: nn.Backend) -> None:
    X, y = moons(host, 3)
    explanation = explain(nn.Network(nn.Dense(1)).init((2,), seed=0), X, y[:, None] * 1.0, loss)
    (forward,), (backward,) = explanation.loss_arithmetic
    assert forward.startswith("for the first output, o = ")
    assert float(backward.split(" = ")[-1]) == pytest.approx(explanation.output_gradient.values[0], rel=1e-3)
    assert backward.count(" / 3 = ") == (getattr(loss, "reduction", "mean") == "mean")


def test_a_loss_that_changes_the_cross_entropy_is_not_written_out_as_one(host: nn.Backend) -> None:
    X, y = moons(host, 3)
    explanation = explain(nn.Network(nn.Dense(2)).init((2,), seed=0), X, y, Doubled())
    assert explanation.ok
    assert explanation.loss_arithmetic == Arithmetic((), ())


# --- The check -----------------------------------------------------------------------------------------------


def test_a_wrong_pullback_is_found(be: nn.Backend) -> None:
    X, y = moons(be)
    explanation = explain(nn.Network(nn.Dense(4, "tanh"), Twice(), nn.Dense(2)).init((2,), seed=0, backend=be), X, y)
    wrong = [name for name, each in gradients_of(explanation).items() if not each.check.ok]
    assert wrong == ["1.scale"]
    check = gradients_of(explanation)["1.scale"].check
    assert check.difference == pytest.approx(2.0 * check.gradient, rel=0.05)
    assert not explanation.ok
    assert "NOT ok: 1.scale. In the backward pass, the first is 1.scale" in str(explanation)
    assert str(explanation).count("NOT ok") == 2


def test_a_wrong_pullback_spoils_all_before_it_and_the_text_says_where_to_look(host: nn.Backend) -> None:
    X, y = moons(host)
    explanation = explain(
        nn.Network(nn.Dense(3, "tanh"), nn.Dense(3), LosesSign(), nn.Dense(2)).init((2,), seed=0), X, y
    )
    wrong = [name for name, each in gradients_of(explanation).items() if not each.check.ok]
    assert wrong == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert "In the backward pass, the first is 1.weight" in str(explanation)
    assert "a formula of its own: its class has no docstring" in str(explanation)


def test_where_the_loss_has_a_corner_the_check_goes_aside(host: nn.Backend) -> None:
    net = nn.Network(nn.Dense(3, "relu"), nn.Dense(2))
    explanation = explain(
        net.init((2,), seed=0), host.xp.zeros((4, 2)), host.asarray([0, 1, 1, 0])
    )  # each relu is at 0
    check = gradients_of(explanation)["0.bias"].check
    assert check.ok
    assert check.aside
    assert "ok (checked nearby, as the loss has a corner here)" in str(explanation)


@pytest.mark.parametrize("margin", [16.0, 24.0, 60.0])
def test_an_example_that_is_learned_well_is_no_fault(margin: float, host: nn.Backend) -> None:
    """The loss is a difference of outputs far larger than itself; what is rounded is the outputs."""
    net = nn.Network(nn.Dense(3, "tanh"), nn.Dense(2)).init((2,), seed=0, dtype="float64")
    net.set_params({"1.bias": host.asarray([0.5 * margin, -0.5 * margin])})
    X, y = host.asarray([[0.3, -0.7]]), host.asarray([0])
    explanation = explain(net, X, y)
    assert explanation.loss < 1e-6
    assert explanation.ok, str(explanation)


def test_a_wrong_pullback_is_found_where_the_loss_is_small(host: nn.Backend) -> None:
    model = nn.Network(nn.Dense(4, "tanh"), Twice(), nn.Dense(2)).init((2,), seed=0, dtype="float64")
    model.set_params({"2.bias": host.asarray([8.0, -8.0])})
    explanation = explain(model, host.asarray([[0.3, -0.7]]), host.asarray([0]))
    assert [name for name, each in gradients_of(explanation).items() if not each.check.ok] == ["1.scale"]


def test_no_check_if_none_is_wanted(host: nn.Backend) -> None:
    X, y = moons(host)
    explanation = explain(nn.Network(nn.Dense(2)).init((2,)), X, y, check=False)
    assert "No finite differences were taken." in str(explanation)
    assert "check:" not in str(explanation)
    assert explanation.steps[0].gradients[0].check is None


def test_the_model_stays_as_it_is(be: nn.Backend) -> None:
    X, y = moons(be)
    model = nested().init((2,), backend=be)
    before = [be.to_numpy(v).tolist() for v in model.snapshot()]
    explain(model, X, y)
    assert [be.to_numpy(v).tolist() for v in model.snapshot()] == before


# --- The words -----------------------------------------------------------------------------------------------


def test_formulas_name_their_functions(host: nn.Backend) -> None:
    X, y = moons(host)
    own = nn.Activation(lambda x: x * x, lambda x: 2.0 * x)
    leaky = nn.Activation("leaky_relu", options={"slope": 0.2})
    explanation = explain(nn.Network(nn.Dense(3, "tanh"), leaky, own, nn.Dense(2)).init((2,)), X, y)
    first, second, third, last = (step.formula for step in explanation.steps)
    assert first == "y = f(x W + b); f = tanh: f(x) = tanh x"
    assert second.endswith("f = leaky_relu: f(x) = x where x > 0, else slope x, slope = 0.2")
    assert third.endswith("; f = <lambda>")
    assert last == "y = f(x W + b); f = identity: f(x) = x"


def test_of_sorted_data_each_class_is_seen(be: nn.Backend) -> None:
    """Also a rare one; as labels, and as probabilities."""
    labels = np.repeat([0, 1, 2], [500, 480, 3])
    X = np.linspace(0, 1, 2 * 983).reshape(983, 2)
    chosen = [0, 33, 66, 100, 133, 166, 200, 233, 266, 300, 333, 366, 400, 433, 466]
    model = nn.Network(nn.Dense(3)).init((2,), backend=be, dtype="float32")
    given = be.asarray(X, dtype="float32")
    for y in (be.asarray(labels), be.asarray(np.eye(3)[labels], dtype="float32")):
        explanation = explain(model, given, y, "cross_entropy", check=False)
        rows = spread(y)
        assert np.bincount(labels[rows]).tolist() == [15, 14, 3]
        assert rows[:15] == chosen
        assert rows == spread(y)
        assert (explanation.examples, explanation.given) == (32, 983)
        loss = nn.value_and_grad(model, be.asarray(X[rows], "float32"), be.asarray(labels[rows]))[0]
        assert explanation.loss == pytest.approx(float(loss), rel=1e-6)


def test_values_are_spread_over_the_rows(be: nn.Backend) -> None:
    y = be.asarray(np.arange(640.0)[:, None], dtype="float32")
    assert spread(y) == list(range(0, 640, 20))
    assert spread(y[:32, ...]) == list(range(32))


def test_the_text_goes_forward_and_back(host: nn.Backend) -> None:
    X, y = moons(host, 100)
    text = str(explain(nested().init((2,), seed=0).freeze("first"), X, y))
    assert f"with {MOST_EXAMPLES} of 100 examples, at inference" in text
    forward, backward = text.split("BACKWARD")
    paths = ["first", "1", "2", "2.0", "2.1", "3", "3.0", "4", "4.0", "4.deep", "4.deep.0", "4.deep.1", "5"]
    found = [line.split()[0] for line in forward.splitlines() if "  " in line.strip() and line[:1] != "L"]
    assert [name for name in found if name in paths] == paths
    found = [line.split()[0] for line in backward.splitlines() if line.split()[:1] and line.split()[0] in paths]
    assert found == [name for name in reversed(paths) if name != "3.0"]
    assert "a head, which is run in training only" in forward
    assert "(frozen: training does not change it)" in backward
    assert text.endswith("Finite differences in float64 agree with all gradients: ok.")
    assert repr(explain(nested().init((2,), seed=0).freeze("first"), X, y)) == text


class Page(HTMLParser):
    """The text of each cell; fails where tags are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag, attrs) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_in_a_notebook_it_is_two_tables_in_which_everything_is_text(host: nn.Backend) -> None:
    X, y = moons(host)
    explanation = explain(nn.Network(nn.Dense(3, "tanh", name="<b>&"), Twice(), nn.Dense(2)).init((2,), seed=0), X, y)
    text = explanation._repr_html_()
    assert "<b>&" not in text
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open
    names = [row[0] for row in page.rows]
    assert names == ["layer", "x", "<b>&", "1", "2", "loss", "layer", "loss", "2", "", "", "1", "", "<b>&", "", ""]
    assert {len(row) for row in page.rows[:6]} == {5}
    assert {len(row) for row in page.rows[6:]} == {8}
    verdicts = {row[1]: row[-1] for row in page.rows if row[0] == ""}
    assert verdicts["dL/dscale"] == "NOT ok"
    assert verdicts["dL/dweight"] == "ok"


def test_examples_that_do_not_fit_are_refused_as_fit_does(host: nn.Backend) -> None:
    X, y = moons(host, 100)
    model = nn.Network(nn.Dense(2)).init((2,))
    with pytest.raises(ValueError, match="100 examples, but y has shape"):
        explain(model, X, y[:40])
    with pytest.raises(ValueError, match="unknown loss 'cross'"):
        explain(model, X, y, "cross")
