"""Vectors for integers, and masks that leave positions out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.tolerances import to_host

RNG = np.random.default_rng(0)
TOKENS = np.asarray([[3, 1, 0, 0], [2, 2, 4, 0], [0, 0, 0, 0], [1, 4, 3, 2]])
LABELS = np.asarray([0, 1, 1, 0])

LAYERS = {
    "embedding": (nn.Embedding(7, 3), (4,)),
    "embedding-of-one": (nn.Embedding(5, 2), ()),
    "embedding-of-images": (nn.Embedding(5, 2), (2, 3)),
    "embedding-padded": (nn.Embedding(5, 3, padding_index=2), (4,)),
    "masked-mean": (nn.Network(nn.Embedding(5, 3, padding_index=0), nn.Dense(2, "tanh"), nn.GlobalAvgPool()), (6,)),
    "masked": (
        nn.Masked(nn.Dense(3, "tanh"), nn.LayerNorm(), nn.Residual(nn.Dense(3)), nn.GlobalAvgPool()),
        {"values": (5, 2), "mask": (5,)},
    ),
    "masked-flat": (nn.Masked(nn.Dense(3, "tanh"), nn.Flatten()), {"values": (5, 2), "mask": (5,)}),
    "inputs": (
        nn.Inputs({"words": nn.Network(nn.Embedding(5, 3), nn.Flatten()), "ages": nn.Dense(2, "tanh")}),
        {"words": (2,), "ages": (3,)},
    ),
    "inputs-added": (nn.Inputs({"a": nn.Dense(2), "b": nn.Dense(2, "tanh")}, join="add"), {"a": (2,), "b": (3,)}),
    "inputs-within": (
        nn.Network(
            nn.Inputs(
                {"text": nn.Masked(nn.Embedding(5, 3), nn.GlobalAvgPool(), recompute=True), "age": nn.Dense(2, "tanh")}
            ),
            nn.Dense(2),
        ),
        {"text": {"values": (4,), "mask": (4,)}, "age": (1,)},
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layer_is_right(be: nn.Backend, case: str) -> None:
    layer, shape = LAYERS[case]
    nn.testing.check_layer(layer, shape, backends=[be])


def words(**settings: Any) -> nn.Network:
    return nn.Network(nn.Embedding(5, 3, **settings), nn.Dense(4, "tanh"), nn.GlobalAvgPool(), nn.Dense(2))


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "int64"])
def test_embedding_equals_pytorch(be: nn.Backend, dtype: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    model = nn.Network(nn.Embedding(5, 3, padding_index=0), nn.Flatten(), nn.Dense(2)).init(
        (4,), seed=1, backend=be, dtype=dtype
    )
    value, gradient = nn.value_and_grad(model, be.asarray(TOKENS.astype(kind)), be.asarray(LABELS))

    params = {name: torch.tensor(to_host(be, x), requires_grad=True) for name, x in model.params.items()}
    assert not params["0.weight"][0].any()
    y = torch.nn.functional.embedding(torch.tensor(TOKENS), params["0.weight"], padding_idx=0).reshape(4, -1)
    loss = torch.nn.functional.cross_entropy(y @ params["2.weight"] + params["2.bias"], torch.tensor(LABELS))
    loss.backward()
    nn.testing.assert_close(value, loss.detach().numpy())
    nn.testing.assert_close(gradient, np.concatenate([x.grad.numpy().ravel() for x in params.values()]))


@dataclass(frozen=True)
class Witness(nn.Embedding):
    """Notes of what dtype its inputs are."""

    masking = "use"

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> nn.Out:
        SEEN.append(x.dtype)
        return super().forward(params, x, ctx)


SEEN: list[Any] = []


def test_integers_stay_integers(be: nn.Backend) -> None:
    X, y = be.asarray(TOKENS, dtype="int32"), be.asarray(LABELS)
    model = nn.Network(Witness(5, 3, padding_index=0), nn.Flatten(), nn.Dense(2)).init((4,), backend=be)
    SEEN.clear()
    model.fit(X, y, epochs=2, batch_size=3, validation=0.25, progress=False)
    model.predict(X, batch_size=3)
    model(X)
    assert SEEN
    assert set(SEEN) == {X.dtype}


def test_padding_changes_nothing(be: nn.Backend, dtype: str) -> None:
    longer = np.concatenate([TOKENS, np.zeros((4, 3), TOKENS.dtype)], axis=1)
    short = words(padding_index=0).init((4,), backend=be, dtype=dtype)
    long = words(padding_index=0).init((7,), backend=be, dtype=dtype)
    nn.testing.assert_close(long(be.asarray(longer)), to_host(be, short(be.asarray(TOKENS))))


def test_padding_is_not_trained(be: nn.Backend) -> None:
    model = words(padding_index=0).init((4,), backend=be)
    before = to_host(be, model.params["0.weight"])
    model.fit(be.asarray(TOKENS), be.asarray(LABELS), optimizer=nn.AdamW(0.1, weight_decay=0.1), epochs=3)
    after = to_host(be, model.params["0.weight"])
    assert not after[0].any()
    assert (after[1:] != before[1:]).all()


def test_masked_mean_is_over_what_counts(be: nn.Backend, dtype: str) -> None:
    values = RNG.normal(size=(3, 4, 2))
    mask = np.asarray([[True, True, False, False], [True] * 4, [False] * 4])
    model = nn.Network(nn.Masked(nn.GlobalAvgPool())).init({"values": (4, 2), "mask": (4,)}, backend=be, dtype=dtype)
    want = np.stack([values[0, :2].mean(axis=0), values[1].mean(axis=0), np.zeros(2)])
    spoiled = np.where(mask[..., None], values, np.nan)
    for given in (values, spoiled):
        nn.testing.assert_close(model({"values": be.asarray(given, dtype=dtype), "mask": be.asarray(mask)}), want)


def test_integers_without_a_vector(be: nn.Backend) -> None:
    model = words().init((4,), backend=be)
    X = be.asarray(np.where(TOKENS == 4, 5, TOKENS))
    assert np.isnan(to_host(be, model(X))[1]).all()
    assert np.isfinite(to_host(be, model(X))[0]).all()
    y = be.asarray(LABELS)
    message = (
        r"X must hold integers from 0 to 4; got 5 at row 1, column 2\. Renumber them, or make the Embedding larger"
    )
    with pytest.raises(ValueError, match=message):
        model.predict(X)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    with pytest.raises(ValueError, match="got -1 at row 0, column 0"):
        model.fit(be.asarray(TOKENS - 1, dtype="int8") * 0 - 1, y)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (
            TOKENS.astype(float),
            r"X must hold integers from 0 to 4; got dtype float64\. Convert it first: X = nn\.namespace",
        ),
        (TOKENS > 1, "got dtype bool"),
        (TOKENS[:, :3], r"expects \(batch, 4\)"),
        ({"a": TOKENS}, "takes one array; got X, a mapping of 'a'. Pass one of its arrays, or begin"),
    ],
)
def test_inputs_of_another_kind_are_refused(given: Any, match: str) -> None:
    model = words().init((4,))
    for call in (model, model.predict, lambda X: model.fit(X, LABELS), lambda X: nn.value_and_grad(model, X, LABELS)):
        with pytest.raises((TypeError, ValueError), match=match):
            call(given)


def test_layers_that_would_count_masked_positions_refuse() -> None:
    for layer in (nn.BatchNorm(), nn.Conv1D(2, 3, padding="same")):
        net = nn.Network(nn.Embedding(5, 3, padding_index=0), layer, nn.GlobalAvgPool(), nn.Dense(2))
        with pytest.raises(ValueError, match=rf"{type(layer).__name__} 2 of 4: some positions .* GlobalAvgPool"):
            net.init((4,))(TOKENS)
    model = nn.Network(nn.Embedding(5, 3, padding_index=0), nn.Dense(2)).init((4,))
    with pytest.raises(ValueError, match=r"ends with a mask\. The loss would include"):
        model.fit(TOKENS, np.zeros((4, 4, 2)), loss="mse")
    assert model(TOKENS).shape == (4, 4, 2)
    for loss in (nn.losses.CrossEntropy(), nn.losses.CrossEntropy(class_weights=(1.0, 2.0))):
        with pytest.raises(ValueError, match=r"give masked positions a label that does not count: .*ignore_index=-1"):
            model.fit(TOKENS, np.zeros((4, 4), dtype=int), loss=loss)


@pytest.mark.parametrize("settings", [{}, {"batch_size": 2}, {"optimizer": "lbfgs"}], ids=str)
def test_a_loss_may_leave_out_all_that_is_masked(be: nn.Backend, settings: dict[str, Any]) -> None:
    """The training is that of a network without a mask: attention alone reads it."""
    X, y = be.asarray(TOKENS), be.asarray(np.where(TOKENS == 0, -1, TOKENS))
    settings = {"loss": nn.losses.CrossEntropy(ignore_index=-1), "epochs": 3, **settings}
    losses = []
    for padding in (0, None):
        layers = nn.Embedding(5, 3, padding_index=padding), nn.Dense(4, "tanh"), nn.Dense(5)
        model = nn.Network(*layers).init((4,), seed=0, backend=be, dtype="float32")
        losses.append(model.fit(X, y, **settings)["loss"])
    assert all(np.isfinite(losses[0]))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_half_precision_leaves_out_all_that_is_masked(host: nn.Backend) -> None:
    model = nn.Network(nn.Embedding(5, 3, padding_index=0), nn.Dense(5)).init((4,), seed=0, dtype="float32")
    loss = nn.losses.CrossEntropy(ignore_index=-1)
    history = model.fit(TOKENS, np.where(TOKENS == 0, -1, TOKENS), loss=loss, precision="float16", epochs=2)
    assert np.isfinite(history["loss"]).all()


def test_labels_of_masked_positions_must_not_count(be: nn.Backend) -> None:
    """A step does not read values: it is found afterwards."""
    model = nn.Network(nn.Embedding(5, 3, padding_index=0), nn.Dense(5)).init((4,), seed=0, backend=be)
    before = to_host(be, model.theta)
    loss = nn.losses.CrossEntropy(ignore_index=-1)
    with pytest.raises(
        nn.DivergenceError, match=r"labels at masked positions, which would count.*Set them to the ignore_index"
    ):
        model.fit(be.asarray(TOKENS), be.asarray(TOKENS), loss=loss, batch_size=2)
    np.testing.assert_array_equal(to_host(be, model.theta), before)


def of_tokens(be: nn.Backend, padding: int | None = 0) -> tuple[nn.Model, Any, Any]:
    """A model that ends with a mask, its tokens, and labels of them that leave out the padding."""
    model = nn.Network(nn.Embedding(5, 3, padding_index=padding), nn.Dense(5)).init((4,), seed=0, backend=be)
    return model, be.asarray(TOKENS), be.asarray(np.where(TOKENS == 0, -1, TOKENS))


LEAVES_OUT = nn.losses.CrossEntropy(ignore_index=-1)


def test_labels_of_masked_positions_must_not_count_in_an_evaluation(be: nn.Backend) -> None:
    """The rule of `fit`: padding is easily predicted, and would improve a perplexity."""
    model, X, y = of_tokens(be)
    asked: dict[str, Any] = {"loss": LEAVES_OUT, "metrics": "perplexity"}
    for size in (None, 1, 3):
        with pytest.raises(ValueError, match=r"y has labels at masked .*y = nn.namespace\(y\).where\(X == pad"):
            model.evaluate(X, X, batch_size=size, **asked)
        found, unmasked = (m.evaluate(X, y, batch_size=size, **asked) for m in (model, of_tokens(be, None)[0]))
        np.testing.assert_allclose([*found.values()], [*unmasked.values()], rtol=1e-5)
        assert found["perplexity"] == pytest.approx(np.exp(found["loss"]), rel=1e-5)
    with pytest.raises(ValueError, match=r"ends with a mask\. The loss would include masked positions"):
        model.evaluate(X, X, loss="cross_entropy")


def test_all_positions_may_be_masked_in_an_evaluation(be: nn.Backend) -> None:
    model, X, y = of_tokens(be)
    found = model.evaluate(X[2:3, :], y[2:3, :], loss=LEAVES_OUT)
    assert np.isnan([*found.values()]).all()  # a loss of 0 would be that of a perfect model


def test_a_training_on_padding_alone_is_refused(be: nn.Backend) -> None:
    model, X, y = of_tokens(be)
    with pytest.raises(ValueError, match=r"y has no target that counts in CrossEntropy.*-1, its ignore_index"):
        model.fit(X, be.asarray(np.full((4, 4), -1)), loss=LEAVES_OUT)
    with pytest.raises(ValueError, match="validation_y has no target that counts"):
        model.fit(X, y, loss=LEAVES_OUT, validation=(X[2:3, :], y[2:3, :]))


def test_batches_with_labels_of_masked_positions_are_named(be: nn.Backend) -> None:
    model, X, y = of_tokens(be)
    whole = model.evaluate(X, y, loss=LEAVES_OUT)["loss"]
    assert model.evaluate([(X[:2, :], y[:2, :]), (X[2:, :], y[2:, :])], loss=LEAVES_OUT)["loss"] == pytest.approx(whole)
    with pytest.raises(ValueError, match=r"batch 2 of epoch 1: The network ends with a mask, and y has labels"):
        model.evaluate([(X[3:, :], X[3:, :]), (X[:2, :], X[:2, :])], loss=LEAVES_OUT)


@pytest.mark.parametrize("settings", [{}, {"batch_size": None}, {"optimizer": "lbfgs", "batch_size": None}], ids=str)
def test_held_out_labels_of_masked_positions_are_refused_before_the_training(
    be: nn.Backend, settings: dict[str, Any]
) -> None:
    model, X, y = of_tokens(be)
    before = to_host(be, model.theta)
    with pytest.raises(ValueError, match=r"validation_y has labels at masked .*where\(validation_X == padding_index"):
        model.fit(X, y, loss=LEAVES_OUT, validation=(X, X), epochs=1, **settings)
    np.testing.assert_array_equal(to_host(be, model.theta), before)
    history = model.fit(X, y, loss=LEAVES_OUT, validation=(X, y), epochs=1, **settings)
    assert history["val_loss"][-1] == pytest.approx(model.evaluate(X, y)["loss"], rel=1e-5)


def test_a_mask_of_the_inputs_is_looked_at_in_an_evaluation(be: nn.Backend) -> None:
    model = nn.Network(nn.Masked(nn.Dense(2))).init({"values": (3, 2), "mask": (3,)}, seed=0, backend=be)
    X = {"values": be.asarray(np.ones((2, 3, 2))), "mask": be.asarray([[True, True, False], [True, False, False]])}
    labels = be.asarray([[1, 0, -1], [1, -1, -1]])
    assert model.evaluate(X, labels, loss=LEAVES_OUT, metrics=())["loss"] > 0
    with pytest.raises(ValueError, match="labels at masked positions"):
        model.evaluate(X, be.asarray([[1, 0, -1], [1, 0, -1]]), loss=LEAVES_OUT)
    with pytest.raises(ValueError, match="The loss would include masked positions"):
        model.evaluate(X, be.asarray(np.ones((2, 3, 2))), loss="mse")


@pytest.mark.parametrize(
    ("layers", "mask_shape"),
    [
        ([nn.Dense(3, "tanh"), nn.Flatten()], (5,)),
        ([nn.Flatten()], (5, 4)),
        ([nn.Residual(nn.Dense(4)), nn.Reshape((2, 10))], (5,)),
        ([nn.Branches(nn.Dense(4, "relu"), nn.Dropout(0.5)), nn.Flatten()], (5,)),
    ],
)
def test_what_is_masked_reaches_no_output(be: nn.Backend, layers: list[nn.Layer], mask_shape: Any) -> None:
    network = nn.Network(nn.Masked(*layers), nn.Flatten(), nn.Dense(2))
    model = network.init({"values": (5, 4), "mask": mask_shape}, seed=0, backend=be)
    mask = RNG.random((4, *mask_shape)) > 0.5
    values = RNG.normal(size=(4, 5, 4))
    other = np.where(mask.reshape(*mask.shape, *[1] * (3 - mask.ndim)), values, 7.0)
    X, Z = ({"values": be.asarray(x, dtype=model.theta.dtype), "mask": be.asarray(mask)} for x in (values, other))
    assert (to_host(be, model(X)) == to_host(be, model(Z))).all()
    steps = [nn.training_step(model, each, be.asarray(LABELS), key=nn.Key(0)) for each in (X, Z)]
    assert float(steps[0].loss) == float(steps[1].loss)
    nn.testing.assert_close(steps[0].gradient, to_host(be, steps[1].gradient))


@pytest.mark.parametrize("layer", [nn.Dense(3), nn.Activation("softmax"), nn.LayerNorm(), nn.Residual(nn.Dense(5))])
def test_a_mask_of_features_is_refused_where_features_are_mixed(layer: nn.Layer) -> None:
    model = nn.Network(nn.Masked(layer), nn.Flatten(), nn.Dense(2)).init({"values": (5,), "mask": (5,)})
    X = {"values": np.ones((4, 5)), "mask": np.ones((4, 5), dtype=bool)}
    for call in (model, model.predict, lambda X: nn.value_and_grad(model, X, LABELS)):
        with pytest.raises(ValueError, match=r"1 of 1: the mask covers its features.* put nn\.Flatten before it"):
            call(X)


def test_masks_of_few_and_of_many_axes_meet(be: nn.Backend) -> None:
    values, mask = RNG.integers(0, 5, size=(3, 3, 3)), np.asarray([[True, False, False], [True] * 3, [False] * 3])
    network = nn.Network(nn.Masked(nn.Embedding(5, 2, padding_index=0), nn.GlobalAvgPool()))
    model = network.init({"values": (3, 3), "mask": (3,)}, seed=0, backend=be)
    counts = (values != 0) & mask[..., None]
    sums = np.where(counts[..., None], to_host(be, model.theta).reshape(5, 2)[values], 0.0).sum(axis=(1, 2))
    outputs = model({"values": be.asarray(values), "mask": be.asarray(mask)})
    nn.testing.assert_close(outputs, sums / np.maximum(counts.sum(axis=(1, 2)), 1)[:, None])


def test_a_layer_of_ones_own_keeps_or_makes_a_mask(be: nn.Backend) -> None:
    @dataclass(frozen=True)
    class Positive(nn.Layer):
        """Positions whose first feature is above 0 count."""

        masking = "use"

        def forward(self, params: Any, x: Any, ctx: nn.Context) -> nn.Out:
            return nn.Out(x, lambda dy: (dy, {}), mask=x[..., 0] > 0.0)

    @dataclass(frozen=True)
    class Twice(nn.Layer):
        masking = "keep"

        def forward(self, params: Any, x: Any, ctx: nn.Context) -> nn.Out:
            return nn.Out(2.0 * x, lambda dy: (2.0 * dy, {}))

    x = np.asarray([[[1.0, 5.0], [-1.0, 7.0], [3.0, 1.0]]])
    model = nn.Network(Positive(), Twice(), nn.GlobalAvgPool()).init((3, 2), backend=be)
    for outputs in (model(be.asarray(x)), model.predict(be.asarray(x))):
        nn.testing.assert_close(outputs, np.asarray([[4.0, 6.0]]))


def test_a_mask_of_a_layer_that_does_not_say_so_is_refused() -> None:
    @dataclass(frozen=True)
    class Silent(nn.Layer):
        def forward(self, params: Any, x: Any, ctx: nn.Context) -> nn.Out:
            return nn.Out(x, lambda dy: (dy, {}), mask=x[..., 0] > 0.0)

    model = nn.Network(Silent(), nn.GlobalAvgPool()).init((3, 2))
    x = np.ones((1, 3, 2))
    for call in (
        lambda: model(x),
        lambda: model.predict(x),
        lambda: nn.value_and_grad(model, x, np.zeros((1, 2)), "mse"),
    ):
        with pytest.raises(ValueError, match=r"Silent.*forward returns a mask.*set masking = \"use\" in its class"):
            call()


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="padding_index must be below count, 3; got 3"):
        nn.Embedding(3, 2, padding_index=3)
    with pytest.raises(TypeError, match="Embedding count must be an integer"):
        nn.Embedding(2.5, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Embedding 2 of 2 takes integers from 0 to 2, but gets the outputs of Dense"):
        nn.Network(nn.Dense(3), nn.Embedding(3, 2))
    with pytest.raises(ValueError, match="branches share their inputs, but these take different kinds"):
        nn.Branches(nn.Dense(2), nn.Embedding(3, 2))
    with pytest.raises(ValueError, match=r"unknown kind of numbers 'int'; use one of real, integer, boolean"):
        nn.Kind("int")
    with pytest.raises(ValueError, match="below must be an integer of at least 1; got 0"):
        nn.Kind("integer", below=0)
    with pytest.raises(ValueError, match=r"below is a bound for integers only; got it for real numbers\. Leave it out"):
        nn.Kind(below=3)
    with pytest.raises(ValueError, match="unknown masking of Odd 'yes'; use one of refuse, keep, use"):
        type("Odd", (nn.Layer,), {"masking": "yes"})
    with pytest.raises(
        TypeError, match=r"takes of a layer must be an nn\.Kind, a mapping .*; got 'integer'\. For tokens"
    ):
        nn.Network(type("Odd", (nn.Layer,), {"takes": "integer"})()).init((3,))
    with pytest.raises(TypeError, match="input_gradient needs a network that takes one array of real numbers"):
        words().init((4,)).input_gradient(TOKENS)


def test_gradient_records_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    model = words(padding_index=0).init((4,), backend="torch", dtype="float64")
    X, y = torch.tensor(TOKENS), torch.tensor(LABELS)
    _, want = nn.value_and_grad(model, X, y)
    model.theta = torch.nn.Parameter(model.theta)
    torch.nn.functional.cross_entropy(model(X), y).backward()
    nn.testing.assert_close(model.theta.grad, want.numpy())
