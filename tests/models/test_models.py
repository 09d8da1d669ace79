"""Architectures by name, and PyTorch's weights in and out of them."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.layers.containers import Composite
from tests.packages import package
from tests.processes import run_python
from tests.tolerances import EPS, as_called, close, to_host

torch = package("torch")
networks = package("tests.torch_networks")

IMAGE = (224, 224, 3)
NAMED: dict[str, tuple[Callable[[], nn.Network], Callable[[], Any], tuple[int, ...], int]] = {
    "googlenet": (nn.models.googlenet, networks.GoogLeNet, IMAGE, 6_624_904),
    "googlenet-heads": (
        lambda: nn.models.googlenet(auxiliary=True),
        lambda: networks.GoogLeNet(heads=True),
        IMAGE,
        13_004_888,
    ),
    "googlenet-paper": (
        lambda: nn.models.googlenet(variant="paper"),
        lambda: networks.GoogLeNet(paper=True),
        IMAGE,
        6_998_552,
    ),
    "googlenet-paper-heads": (
        lambda: nn.models.googlenet(variant="paper", auxiliary=True),
        lambda: networks.GoogLeNet(paper=True, heads=True),
        IMAGE,
        13_378_280,
    ),
    "resnet18": (nn.models.resnet18, networks.ResNet18, IMAGE, 11_689_512),
    "lenet5": (nn.models.lenet5, networks.lenet5, (28, 28, 1), 61_706),
    "mlp": (
        lambda: nn.models.mlp(10, (512, 256), activation="tanh"),
        lambda: torch.nn.Sequential(
            torch.nn.Linear(784, 512),
            torch.nn.Tanh(),
            torch.nn.Linear(512, 256),
            torch.nn.Tanh(),
            torch.nn.Linear(256, 10),
        ),
        (784,),
        535_818,
    ),
}


def state_of(network: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


def first(x: np.ndarray) -> Any:
    """For PyTorch: channels first."""
    return torch.tensor(np.moveaxis(x, -1, 1).copy() if x.ndim == 4 else x)


def without_dropout(layer: nn.Layer) -> nn.Layer:
    if isinstance(layer, nn.Dropout):
        return nn.Dropout(0.0, name=layer.name)
    if isinstance(layer, Composite):
        parts = zip(layer.names, map(without_dropout, layer.layers), strict=True)
        return layer.with_layers(dict(parts))
    return layer


@pytest.mark.parametrize("name", NAMED)
def test_logits_equal_those_of_pytorch(host: nn.Backend, name: str) -> None:
    ours, theirs, shape, parameters = NAMED[name]
    torch.manual_seed(0)
    network = networks.shaken(theirs()).eval()
    model = ours().init(shape, dtype="float32")
    assert model.theta.shape == (parameters,)
    assert sum(p.numel() for p in network.parameters()) == parameters
    model.load_torch(state_of(network))
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    with torch.no_grad():
        want = network(first(x)).numpy()
        exact = network.double()(first(x.astype(float))).numpy()
    got, folded = model(x), model.fold()(x)
    scale = np.abs(exact).max()
    error = max(np.abs(want - exact).max(), scale * EPS["float32"] * 20)  # PyTorch's own, and a few roundings
    assert np.abs(got - exact).max() <= 4 * error
    assert np.abs(folded - exact).max() <= 4 * error


@pytest.mark.parametrize("name", ["googlenet-heads", "googlenet-paper-heads", "resnet18"])
def test_training_gradients_equal_those_of_pytorch(host: nn.Backend, name: str) -> None:
    ours, theirs, shape, _ = NAMED[name]
    shape = shape if "paper" in name else (64, 64, 3)
    torch.manual_seed(1)
    network = networks.shaken(theirs()).double().train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout") and not isinstance(module.dropout, torch.nn.Module):
            module.dropout = 0.0
    model = without_dropout(ours()).init(shape, dtype="float64").load_torch(state_of(network))
    x, y = np.random.default_rng(1).normal(size=(2, *shape)), np.asarray([3, 700])
    outputs = network(first(x))
    main, *heads = outputs if isinstance(outputs, tuple) else (outputs,)
    assert len(heads) == (2 if "heads" in name else 0)
    entropy = torch.nn.functional.cross_entropy
    loss = entropy(main, torch.tensor(y)) + sum(0.3 * entropy(head, torch.tensor(y)) for head in heads)
    loss.backward()
    value, gradient = nn.training_step(model, x, y, key=nn.Key(0))[:2]
    assert float(value) == pytest.approx(loss.item(), rel=1e-12)
    gradients = {name: p.grad.numpy() for name, p in network.named_parameters()}
    running = {n: v for n, v in state_of(network).items() if n not in gradients}
    want = model.copy().load_torch(gradients | running).theta
    assert np.abs(gradient - want).max() <= 1e-9 * np.abs(want).max()


def test_state_follows_as_in_pytorch(host: nn.Backend) -> None:
    """Running statistics after a step of training."""
    network = networks.shaken(networks.ResNet18(5)).double().train()
    model = nn.models.resnet18(5).init((32, 32, 3), dtype="float64").load_torch(state_of(network))
    x = np.random.default_rng(1).normal(size=(2, 32, 32, 3))
    network(first(x))
    model.fit(x, np.asarray([0, 1]), epochs=1, optimizer=nn.SGD(1e-300), progress=False)
    want = model.copy().load_torch(state_of(network)).state
    assert np.abs(model.state - want).max() <= 1e-12 * np.abs(want).max()


def googlenet_forward_and_step(be: nn.Backend, dtype: str, compiled: bool) -> list[np.ndarray]:
    """Its outputs, and the loss and gradient of a step; where it is compiled, of a step of its beginning.

    JAX compiles the whole backward pass for a minute.
    """
    net = without_dropout(nn.models.googlenet(5, auxiliary=not compiled))
    begun = nn.Network(*net.layers[:6], nn.GlobalAvgPool(), nn.Dense(5)) if compiled else net
    model, trained = (each.init((32, 32, 3), backend=be, dtype=dtype) for each in (net, begun))
    x, y = np.random.default_rng(0).normal(size=(4, 32, 32, 3)), np.asarray([0, 1, 2, 3])

    def found(X: Any) -> Any:
        return model(X), *nn.training_step(trained, X, be.asarray(y))[:2]

    return [to_host(be, each) for each in as_called(be, found)(be.asarray(x, dtype=dtype))]


@functools.cache
def googlenet_on_the_host(compiled: bool) -> list[np.ndarray]:
    return googlenet_forward_and_step(nn.backend("numpy"), "float64", compiled)


@pytest.mark.once_a_library  # its layers are tested on all
def test_googlenet_goes_forward_and_trains_on_every_backend(be: nn.Backend) -> None:
    """In float64 where it is: the variance of few positions magnifies roundings."""
    compiled = be.library.name == "jax"
    dtype = "float64" if "float64" in be.dtypes else "float32"
    got = googlenet_forward_and_step(be, dtype, compiled)
    for ours, want in zip(got, googlenet_on_the_host(compiled), strict=True):
        assert np.abs(ours - want).max() <= (1e-8 if dtype == "float64" else 0.2) * np.abs(want).max()


@pytest.mark.parametrize("name", NAMED)
def test_numbers_go_to_pytorch_and_back(tmp_path: Path, name: str) -> None:
    ours, theirs, shape, _ = NAMED[name]
    network, model = theirs(), ours().init(shape, seed=3, dtype="float32")
    model.state = model.state + np.arange(model.state.shape[0], dtype="float32") % 7
    made = model.to_torch(tmp_path / "weights.safetensors")
    if name in ("lenet5", "mlp"):  # whose names differ: PyTorch counts the activations
        made = dict(zip(network.state_dict(), made.values(), strict=True))
    network.load_state_dict({key: torch.from_numpy(value) for key, value in made.items()})
    again = ours().init(shape, seed=4, dtype="float32").load_torch(tmp_path / "weights.safetensors")
    for got, want in ((again.theta, model.theta), (again.state, model.state)):
        np.testing.assert_array_equal(got, want)


def test_numbers_come_from_every_kind_of_file_and_library(be: nn.Backend, tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 2), torch.nn.Flatten(), torch.nn.Linear(4 * 5, 2))
    state = network.state_dict()
    torch.save(state, tmp_path / "weights.pth")
    save_file = pytest.importorskip("safetensors.torch").save_file

    save_file(state, tmp_path / "weights.safetensors")
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    want = network(torch.tensor(x).permute(0, 2, 1)).detach().numpy()
    for source in (
        tmp_path / "weights.pth",
        str(tmp_path / "weights.safetensors"),
        state,
        {name: be.asarray(value) for name, value in state.items()},
    ):
        net = nn.Network(nn.Conv1D(4, 2), nn.Flatten(), nn.Dense(2))
        model = net.init((6, 3), backend=be, dtype="float32").load_torch(source)
        close(to_host(be, model(be.asarray(x))), want, "float32")


def test_half_precision_goes_in(host: nn.Backend) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2)).bfloat16()
    model = nn.Network(nn.Dense(2)).init((3,), dtype="float32").load_torch(network.state_dict())
    np.testing.assert_array_equal(model.params["0.weight"], network[0].weight.detach().float().numpy().T)


def test_features_that_were_flattened_change_places(host: nn.Backend) -> None:
    """Through dropout and normalisation, up to the next dense layer."""
    T = torch.nn
    theirs = T.Sequential(
        T.Conv2d(2, 3, 3), T.Flatten(), T.BatchNorm1d(3 * 4 * 5), T.Dropout(0.1), T.LayerNorm(60), T.Linear(60, 4),
        T.BatchNorm1d(4),
    ).double().eval()  # fmt: skip
    for vector in theirs.state_dict().values():
        if vector.ndim == 1:
            vector.uniform_(0.5, 1.5)
    ours = nn.Network(
        nn.Conv2D(3, 3), nn.Flatten(), nn.BatchNorm(), nn.Dropout(0.1), nn.LayerNorm(), nn.Dense(4), nn.BatchNorm()
    )
    model = ours.init((6, 7, 2), dtype="float64").load_torch(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(3, 6, 7, 2))
    np.testing.assert_allclose(model(x), theirs(first(x)).detach().numpy(), rtol=1e-12, atol=1e-12)
    back = model.to_torch()
    for name, value in state_of(theirs).items():
        np.testing.assert_array_equal(back[name], value)


def test_branches_after_flattening_take_them_in_their_order(host: nn.Backend) -> None:
    net = nn.Network(nn.Flatten(), nn.Branches(nn.Dense(2), nn.Dense(3)))
    model = net.init((2, 2, 3), dtype="float64")
    weight = np.arange(24.0).reshape(2, 12)
    state = {"1.0.weight": weight, "1.0.bias": np.zeros(2), "1.1.weight": np.zeros((3, 12)), "1.1.bias": np.zeros(3)}
    model.load_torch(state)
    x = np.random.default_rng(0).normal(size=(1, 2, 2, 3))
    np.testing.assert_allclose(model(x)[0, :2], weight @ np.moveaxis(x, -1, 1).reshape(12), rtol=1e-12)


def small() -> nn.Model:
    return nn.Network(nn.Dense(4, name="a"), nn.BatchNorm(name="b"), nn.Dense(2, name="c")).init((3,), dtype="float32")


def fitting() -> dict[str, Any]:
    return small().to_torch()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda s: s.pop("b.running_mean"),
            ValueError,
            "does not fit.*name; missing: b.running_mean. For layers of this network .*keep=.'b',.",
        ),
        (lambda s: s.update({"d.weight": np.ones(2)}), ValueError, "matched by name; extra: d.weight"),
        (
            lambda s: s.update({"a.weight": np.ones((3, 4))}),
            ValueError,
            r"'a.weight' has shape \(3, 4\).*needs \(4, 3\)",
        ),
        (
            lambda s: s.update({"a.bias": np.asarray(["x"] * 4)}),
            (ValueError, TypeError),
            "a.bias.*not a number type of NumPy",
        ),
        (
            lambda s: s.update({"a": {"weight": 1}}),
            ValueError,
            r"extra: a\..*To leave out layers of the source, pass ignore=\('a',\)",
        ),
        (lambda s: s["c.bias"].__setitem__(1, np.nan), ValueError, "entry 'c.bias' contains NaN or infinity: row 1"),
        (lambda s: (s.pop("c.weight"), s.pop("c.bias")), ValueError, "missing: c.weight, c.bias"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_changes(change: Any, error: Any, message: str) -> None:
    state, model = fitting(), small()
    change(state)
    before = model.snapshot()
    with pytest.raises(error, match=message):
        model.load_torch(state)
    for got, want in zip(model.snapshot(), before, strict=True):
        np.testing.assert_array_equal(got, want)


def test_parts_can_be_left_out() -> None:
    state = fitting() | {"aux1.fc.weight": np.ones((2, 2)), "aux2": np.ones(1)}
    model = small().load_torch(state, ignore=("aux1", "aux2"))
    np.testing.assert_array_equal(model.params["a.weight"], state["a.weight"].T)


# --- Which entry belongs to which layer ------------------------------------------------------------------------------


def six(*names: str) -> tuple[torch.nn.Sequential, nn.Network]:
    """Six layers of one shape, there with activations between them: as `0`, `2`, ..., `10`, or by these names."""
    torch.manual_seed(0)
    parts: dict[str, torch.nn.Module] = {}
    for i in range(6):
        parts[names[i] if names else str(2 * i)] = torch.nn.Linear(4, 4)
        parts[f"{names[i]}-tanh" if names else str(2 * i + 1)] = torch.nn.Tanh()
    return torch.nn.Sequential(OrderedDict(parts)), nn.Network(*(nn.Dense(4, "tanh") for _ in range(6)))


WORDS = ("stem", "low", "middle", "high", "encoder", "bottom")
POINTS = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def kinds_of(state: Any, folder: Path) -> dict[str, Any]:
    """The same state_dict in every container."""
    files = pytest.importorskip("safetensors.torch")

    torch.save(state, folder / "w.pt")
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}, folder / "c.pt")
    files.save_file(state, folder / "w.safetensors")
    return {
        "mapping": state,
        "prefixed": {f"module.model.{name}": value for name, value in state.items()},
        ".pt": folder / "w.pt",
        "checkpoint": folder / "c.pt",
        "safetensors": folder / "w.safetensors",
        "out of safetensors": files.load_file(folder / "w.safetensors"),
        "safetensors, prefixed": {f"_orig_mod.{n}": x for n, x in sorted(state.items())},
    }


def test_numbered_layers_find_their_places_in_every_container(be: nn.Backend, tmp_path: Path) -> None:
    """Not in the order of the alphabet, in which 10 comes before 2."""
    theirs, ours = six()
    want = theirs(torch.tensor(POINTS)).detach().numpy()
    for kind, source in kinds_of(theirs.state_dict(), tmp_path).items():
        model = ours.init((4,), seed=1, backend=be, dtype="float32").load_torch(source)
        assert np.abs(to_host(be, model(be.asarray(POINTS))) - want).max() < 1e-6, kind


def test_layers_called_by_words_are_never_placed_by_the_alphabet(be: nn.Backend, tmp_path: Path) -> None:
    theirs, ours = six(*WORDS)
    want = theirs(torch.tensor(POINTS)).detach().numpy()
    for kind, source in kinds_of(theirs.state_dict(), tmp_path).items():
        model = ours.init((4,), seed=1, backend=be, dtype="float32")
        before = to_host(be, model.theta)
        if "safetensors" in kind:
            with pytest.raises(
                ValueError, match=r"cannot be matched to layers.*bottom, .*encoder, .*high.*'0\.weight': theirs"
            ):
                model.load_torch(source)
            np.testing.assert_array_equal(to_host(be, model.theta), before)
            continue
        with pytest.warns(RuntimeWarning, match="layers 'stem' and 'low' of the source have the same shapes"):
            assert np.abs(to_host(be, model.load_torch(source)(be.asarray(POINTS))) - want).max() < 1e-6, kind
    renamed: dict[str, Any] = {}
    for name, x in theirs.state_dict().items():
        module, _, attribute = name.partition(".")
        renamed[f"{WORDS.index(module)}.{attribute}"] = x
    model = ours.init((4,), backend=be, dtype="float32").load_torch(dict(sorted(renamed.items())))
    assert np.abs(to_host(be, model(be.asarray(POINTS))) - want).max() < 1e-6


def test_numbers_count_at_every_depth(tmp_path: Path) -> None:
    T = torch.nn
    inner = [part for _ in range(6) for part in (T.Linear(4, 4), T.Tanh())]
    theirs = T.Sequential(T.Linear(4, 4), T.Tanh(), T.Sequential(*inner))
    ours = nn.Network(nn.Dense(4, "tanh"), nn.Network(*(nn.Dense(4, "tanh") for _ in range(6))))
    want = theirs(torch.tensor(POINTS)).detach().numpy()
    for kind, source in kinds_of(theirs.state_dict(), tmp_path).items():
        model = ours.init((4,), seed=1, dtype="float32").load_torch(source)
        assert np.abs(model(POINTS) - want).max() < 1e-6, kind


def test_a_layer_does_not_get_the_entries_of_another_where_its_own_are_there() -> None:
    state = {f"{name}.{each}": np.ones(2) for name in ("c", "b", "d") for each in ("weight", "bias")}
    net = nn.Network(*(nn.LayerNorm(name=name) for name in "abc"))
    with pytest.raises(ValueError, match=r"layer 'c' would get the entries of 'd' by position, but the source has"):
        net.init((2,)).load_torch(state)


def test_a_number_that_is_part_of_a_word_is_no_position(tmp_path: Path) -> None:
    theirs, ours = six(*(f"down{size}" for size in (64, 32, 16, 8, 4, 2)))
    for kind, source in kinds_of(theirs.state_dict(), tmp_path).items():
        if "safetensors" in kind:
            with pytest.raises(ValueError, match="cannot be matched to layers"):
                ours.init((4,), dtype="float32").load_torch(source)


def test_layers_without_biases_keep_the_order_that_pytorch_marks(tmp_path: Path) -> None:
    """Their names may be in alphabetical order by chance."""
    theirs = torch.nn.Sequential(OrderedDict((name, torch.nn.Linear(3, 3, bias=False)) for name in ("a", "b")))
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    net = nn.Network(nn.Dense(3, bias=False), nn.Dense(3, bias=False))
    for source in (theirs.state_dict(), tmp_path / "w.pt"):
        with pytest.warns(RuntimeWarning, match="layers 'a' and 'b' .* in the order in which the module defines them"):
            model = net.init((3,), dtype="float32").load_torch(source)
        np.testing.assert_array_equal(model.params["1.weight"], theirs.get_submodule("b").weight.detach().numpy().T)
    with pytest.raises(ValueError, match="cannot be matched to layers"):
        net.init((3,), dtype="float32").load_torch(dict(theirs.state_dict()))


def test_shapes_tell_layers_apart_too(tmp_path: Path) -> None:
    theirs = torch.nn.Sequential(OrderedDict({"stem": torch.nn.Linear(4, 5), "head": torch.nn.Linear(5, 2)}))
    source = kinds_of(theirs.state_dict(), tmp_path)["safetensors"]
    model = nn.Network(nn.Dense(5), nn.Dense(2)).init((4,), dtype="float32").load_torch(source)
    np.testing.assert_allclose(model(POINTS), theirs(torch.tensor(POINTS)).detach().numpy(), rtol=1e-5, atol=1e-6)


def with_norms(*names: str, bias: bool = True) -> tuple[torch.nn.Sequential, nn.Network]:
    """Layers of one shape by these names, each with a BatchNorm that was trained."""
    parts = OrderedDict[str, torch.nn.Module]()
    for name in names:
        parts |= {name: torch.nn.Linear(4, 4, bias=bias), f"{name}_norm": torch.nn.BatchNorm1d(4)}
    theirs = torch.nn.Sequential(parts)
    for x in theirs.state_dict().values():
        if x.is_floating_point():
            x.uniform_(0.5, 1.5)
    layers = (layer for _ in names for layer in (nn.Dense(4, bias=bias), nn.BatchNorm()))
    return theirs.eval(), nn.Network(*layers)


def sorted_by_files(state: Any, folder: Path) -> dict[str, Any]:
    """Mappings that a file has put into another order, and what users do with them."""
    files = pytest.importorskip("safetensors.torch")

    files.save_file(state, folder / "w.safetensors")
    out = files.load_file(folder / "w.safetensors")
    torch.save(out, folder / "again.pt")
    renamed, layer = dict(out), next(iter(state)).partition(".")[0]
    for name in [name for name in out if name.startswith(f"{layer}.")]:
        renamed[name.replace(layer, "head", 1)] = renamed.pop(name)
    names = list(out)
    shards = [names[i::2] for i in range(2)]
    for i, shard in enumerate(shards):
        files.save_file({name: state[name] for name in shard}, folder / f"{i}.safetensors")
    mixed = {name: x.half() if name.endswith("bias") else x for name, x in state.items()}
    files.save_file(mixed, folder / "mixed.safetensors")
    swapped = {name: x if name.endswith("bias") else x.half() for name, x in state.items() if x.is_floating_point()}
    files.save_file(swapped, folder / "swapped.safetensors")
    as_pytorch = type(state)(state)  # PyTorch's own, with a layer renamed, which so comes last
    as_pytorch._metadata = state._metadata  # type: ignore[attr-defined]
    for name in [name for name in state if name.startswith(f"{layer}.")]:
        as_pytorch[name.replace(layer, "head", 1)] = as_pytorch.pop(name)
    return {
        "load_file": out,
        "saved again": folder / "again.pt",
        "renamed": renamed,
        "shards": files.load_file(folder / "1.safetensors") | files.load_file(folder / "0.safetensors"),
        "mixed": files.load_file(folder / "mixed.safetensors"),
        "mixed in a file": folder / "mixed.safetensors",
        "swapped": files.load_file(folder / "swapped.safetensors"),
        "PyTorch's, renamed": as_pytorch,
    }


def test_an_order_that_a_file_made_is_never_that_of_the_layers(be: nn.Backend, tmp_path: Path) -> None:
    for theirs, ours in (with_norms("stem", "low", "end"), with_norms("stem", "low", bias=False), six(*WORDS)):
        model = ours.init((4,), seed=1, backend=be, dtype="float32")
        before = to_host(be, model.theta)
        for source in sorted_by_files(theirs.state_dict(), tmp_path).values():
            with pytest.raises(ValueError, match=r"cannot be matched to layers"):
                model.load_torch(source)
            np.testing.assert_array_equal(to_host(be, model.theta), before)


def test_layers_without_biases_in_a_sorted_dict_prove_nothing() -> None:
    """A new head in PyTorch's order says nothing of the layers before it."""
    state = {f"{name}.weight": np.eye(4) for name in ("encoder", "low", "stem")}
    state |= {"top.weight": np.eye(4), "top.bias": np.ones(4)}
    net = nn.Network(*(nn.Dense(4, bias=False) for _ in range(3)), nn.Dense(4))
    with pytest.raises(ValueError, match="cannot be matched to layers"):
        net.init((4,)).load_torch(state)


@pytest.mark.parametrize("bias", [True, False])
def test_a_plain_dict_in_pytorchs_own_order_is_taken(be: nn.Backend, bias: bool) -> None:
    """For files sort by name, bias before weight."""
    theirs, ours = with_norms("stem", "low", "end", bias=bias)
    want = theirs(torch.tensor(POINTS)).detach().numpy()
    state = {f"net.{name}": x.numpy() for name, x in theirs.state_dict().items()}
    with pytest.warns(RuntimeWarning, match="layers 'stem' and 'low' of the source have the same shapes"):
        model = ours.init((4,), seed=1, backend=be, dtype="float32").load_torch(state)
    np.testing.assert_allclose(to_host(be, model(be.asarray(POINTS))), want, rtol=1e-5, atol=1e-5)


def test_numbers_count_more_than_the_order_of_a_plain_dict() -> None:
    theirs, ours = six()
    state = {name: x.numpy() for name, x in theirs.state_dict().items()}
    state |= {name: state.pop(name) for name in ("0.weight", "0.bias")}  # now the last
    model = ours.init((4,), dtype="float32").load_torch(state)
    np.testing.assert_array_equal(model.params["0.weight"], state["0.weight"].T)


def test_some_layers_of_another_network_go_in_as_the_error_says(be: nn.Backend) -> None:
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 9)).state_dict()
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((4,), backend=be, dtype="float32")
    head = to_host(be, model.params["1.weight"])
    said = r"missing: 1\.weight, 1\.bias\. The source has 1 layers .* this network 2\. .* pass keep=\('1',\)"
    some = {name: x for name, x in theirs.items() if name < "1"}
    for source, ignore in ((theirs, ("2",)), (some, ()), ({f"module.{name}": x for name, x in some.items()}, ())):
        with pytest.raises(ValueError, match=said):
            model.load_torch(source, ignore=ignore)
    model.load_torch(theirs, ignore=("2",), keep=("1",))
    np.testing.assert_array_equal(to_host(be, model.params["0.weight"]), theirs["0.weight"].numpy().T)
    np.testing.assert_array_equal(to_host(be, model.params["1.weight"]), head)


def test_a_new_head_is_kept_where_all_layers_have_other_names() -> None:
    """By position, among the layers that are loaded; names that are not there are errors."""
    T = torch.nn
    theirs = T.Sequential(T.Conv2d(1, 4, 3), T.BatchNorm2d(4), T.ReLU(), T.Flatten(), T.Linear(16, 6), T.Linear(6, 9))
    layers = nn.Conv2D(4, 3, name="first"), nn.BatchNorm(name="norm"), nn.Activation("relu"), nn.Flatten()
    net = nn.Network(*layers, nn.Dense(6, name="hidden"), nn.Dense(2, name="head"))
    model = net.init((4, 4, 1), dtype="float32")
    head = model.params["head.weight"].copy()
    with pytest.raises(ValueError, match=r"The source has 3 layers with numbers, and this network 4\."):
        model.load_torch(theirs.state_dict(), ignore=("5",))
    model.load_torch(theirs.state_dict(), ignore=("5",), keep="head")
    np.testing.assert_array_equal(model.params["head.weight"], head)
    X = np.random.default_rng(0).normal(size=(3, 1, 4, 4)).astype("float32")
    want = theirs.eval()[:5](torch.tensor(X)).detach().numpy() @ head
    np.testing.assert_allclose(model(X.transpose(0, 2, 3, 1)), want, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="keep: no layer of this network is called 'top'; it has first, norm, hidden"):
        model.load_torch(theirs.state_dict(), keep=("top",))
    with pytest.raises(
        TypeError, match=r"load_torch has no argument 'strict'\. All entries must fit\. To load only some"
    ):
        model.load_torch(theirs.state_dict(), strict=False)  # type: ignore[call-arg]


class Crossed(torch.nn.Module):
    """Two layers of one shape, which are used in another order than they are defined."""

    def __init__(self, last: str, first: str) -> None:
        super().__init__()
        self.names = first, last
        setattr(self, last, torch.nn.Linear(4, 4))
        setattr(self, first, torch.nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, last = self.names
        return getattr(self, last)(torch.tanh(getattr(self, first)(x)))


def test_layers_of_one_shape_in_the_order_of_a_definition_are_warned_of() -> None:
    """The remedy works: names decide. Names that count up, and those of a file of to_torch, are sure."""
    theirs = Crossed("out", "into")
    want = theirs(torch.tensor(POINTS)).detach().numpy()
    with pytest.warns(RuntimeWarning, match=r"layers 'out' and 'into' .*give the layers .* names, such as name='out'"):
        wrong = nn.Network(nn.Dense(4, "tanh"), nn.Dense(4)).init((4,), dtype="float32").load_torch(theirs.state_dict())
    assert np.abs(wrong(POINTS) - want).max() > 1e-2
    named = nn.Network(nn.Dense(4, "tanh", name="into"), nn.Dense(4, name="out")).init((4,), dtype="float32")
    np.testing.assert_allclose(named.load_torch(theirs.state_dict())(POINTS), want, rtol=1e-5, atol=1e-6)
    counted = torch.nn.Sequential(OrderedDict(fc9=torch.nn.Linear(4, 4), fc10=torch.nn.Linear(4, 4)))
    model = nn.Network(nn.Dense(4), nn.Dense(4)).init((4,), dtype="float32").load_torch(counted.state_dict())
    np.testing.assert_array_equal(model.params["1.weight"], counted.get_submodule("fc10").weight.detach().numpy().T)


def test_layouts_of_this_package_and_of_pytorch_are_not_mixed(tmp_path: Path) -> None:
    """Square weights fit both, and would be transposed without a message."""
    model = nn.Network(nn.Dense(3), nn.Dense(3)).init((3,), dtype="float32")
    before = model.theta
    for ours in (model.state_dict(), model.params):
        with pytest.raises(ValueError, match=r"has the layouts of this package.*Use model\.load_state_dict\(source\)"):
            model.load_torch(ours)
    module = torch.nn.Sequential(OrderedDict({"0": torch.nn.Linear(3, 3), "1": torch.nn.Linear(3, 3)}))
    for theirs in (model.to_torch(), module.state_dict()):
        for load in (model.load_state_dict, model.set_params):
            with pytest.raises(ValueError, match=r"these arrays are in PyTorch's layouts.*use model\.load_torch"):
                load(theirs)
    np.testing.assert_array_equal(model.theta, before)
    model.load_state_dict(model.state_dict())
    model.load_torch(model.to_torch())
    np.testing.assert_array_equal(model.theta, before)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_what_holds_no_state_dict_says_how_to_get_one(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4))
    torch.save(module, tmp_path / "module.pt")
    torch.jit.save(torch.jit.trace(module, torch.ones(1, 4)), tmp_path / "script.pt")
    model = nn.Network(nn.Dense(4)).init((4,), dtype="float32")
    for source, said in (
        ({"epoch": 3, "model": module}, r"no state_dict .*\['epoch', 'model'\]"),
        ({"epoch": 3, "optimizer": {"state": {}, "param_groups": []}}, r"no state_dict .*\['epoch', 'optimizer'\]"),
        (tmp_path / "module.pt", r"save module\.state_dict\(\) instead"),
        (tmp_path / "script.pt", r"save module\.state_dict\(\) instead"),
    ):
        with pytest.raises(ValueError, match=said) as caught:
            model.load_torch(source)
        assert "weights_only" not in str(caught.value)
        assert "\x1b" not in str(caught.value)
    for source, said in ((module, r"Pass source\.state_dict\(\)"), (model, r"Pass source\.to_torch\(\)")):
        with pytest.raises(TypeError, match=said):
            model.load_torch(source)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "last.ckpt", "best.pth.tar"])
def test_what_torch_save_writes_is_read_whatever_its_ending(tmp_path: Path, name: str) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4))
    torch.save({"epoch": 1, "state_dict": module.state_dict()}, tmp_path / name)
    model = nn.Network(nn.Dense(4)).init((4,), dtype="float32").load_torch(tmp_path / name)
    np.testing.assert_array_equal(model.params["0.weight"], module[0].weight.detach().numpy().T)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64"])
def test_integers_are_no_weights(be: nn.Backend, kind: str) -> None:
    model = nn.Network(nn.Dense(4)).init((4,), backend=be, dtype="float32")
    weight = be.xp.ones((4, 4), dtype=getattr(be.xp, kind), device=be.device)
    with pytest.raises(ValueError, match=rf"entry '0\.weight' has dtype {kind}.*If they are quantised, dequantise"):
        model.load_torch(model.to_torch() | {"0.weight": weight})


def test_what_to_torch_wrote_goes_into_a_network_with_other_names(be: nn.Backend, tmp_path: Path) -> None:
    model, other = (
        nn.Network(*(nn.Dense(4, "tanh", name=name) for name in names)).init((4,), seed=i, backend=be, dtype="float32")
        for i, names in enumerate((WORDS, "abcdef"))
    )
    model.to_torch(tmp_path / "w.safetensors")
    assert bool(be.xp.all(other.load_torch(tmp_path / "w.safetensors").theta == model.theta))


def test_a_prefix_that_all_share_is_no_part_of_the_names() -> None:
    state = {f"module.{name}": value for name, value in fitting().items()}
    head = {"module.head.weight": np.ones(2)}
    for source, ignore in ((state, ()), (state | head, ("head",)), (state | head, ("module.head",)),
                           (state | {"n_averaged": np.ones(())}, ("n_averaged",))):  # fmt: skip
        model = small().load_torch(source, ignore=ignore)
        np.testing.assert_array_equal(model.params["a.weight"], state["module.a.weight"].T)
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.Sequential(torch.nn.Linear(3, 2))).state_dict()
    one = nn.Network(nn.Dense(2)).init((3,), dtype="float32").load_torch(averaged)  # n_averaged is a counter
    np.testing.assert_array_equal(one.params["0.weight"], averaged["module.0.weight"].numpy().T)
    with pytest.raises(ValueError, match=r"a\.weight has the name module\.a\.weight\. .*ignore=\('other',\)"):
        small().load_torch(state | {"other": np.ones(())})
    nested = nn.Network(nn.Network(nn.Dense(4), nn.Dense(4), name="body")).init((4,), dtype="float32")
    again = nested.copy().load_torch({f"module.{name}": value + 1 for name, value in nested.to_torch().items()})
    np.testing.assert_array_equal(again.theta, nested.theta + 1)


def test_one_of_several_state_dicts_is_chosen_by_the_user(tmp_path: Path) -> None:
    """The advice is code that works, for a mapping and for a file."""
    state = {name: torch.from_numpy(value) for name, value in fitting().items()}
    checkpoint = {"epoch": 1, "generator": state, "judge": {name: 2 * value for name, value in state.items()}}
    torch.save(checkpoint, tmp_path / "c.pt")
    for source in (checkpoint, tmp_path / "c.pt"):
        with pytest.raises(ValueError, match=r"inside one of \['generator', 'judge'\]") as caught:
            small().load_torch(source)
        advice = str(caught.value).partition("such as ")[2].rstrip(".")
        model = small().load_torch(eval(advice, {"torch": torch, "source": source}))
        np.testing.assert_array_equal(model.params["a.weight"], state["a.weight"].numpy().T)


def test_bfloat16_comes_out_of_safetensors_whoever_is_imported(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file

    theirs, ours = six()
    theirs = theirs.bfloat16()
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    want = ours.init((4,), dtype="float32").load_torch(theirs.float().state_dict()).theta
    np.testing.assert_array_equal(ours.init((4,), dtype="float32").load_torch(tmp_path / "w.safetensors").theta, want)
    np.save(tmp_path / "want.npy", want)
    code = f"""
import sys, numpy as np, nnarray as nn
net = nn.Network(*(nn.Dense(4, "tanh") for _ in range(6)))
model = net.init((4,), dtype="float32").load_torch({str(tmp_path / "w.safetensors")!r})
print((model.theta == np.load({str(tmp_path / "want.npy")!r})).all(), "ml_dtypes" in sys.modules)
"""
    done = run_python(code)
    assert done.stdout.split() == ["True", "False"]


def test_numbers_of_few_bits_are_read_or_refused_by_name(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file

    state = {f"0.{name}": x.to(torch.float8_e4m3fn) for name, x in torch.nn.Linear(4, 2).state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pt")
    model = nn.Network(nn.Dense(2)).init((4,))
    for source in (state, tmp_path / "w.pt"):
        model.set_params({"0.weight": np.zeros((4, 2))})
        model.load_torch(source)
        np.testing.assert_array_equal(model.params["0.weight"], state["0.weight"].float().numpy().T)
    with pytest.raises(
        ValueError, match=r"entry '0\.weight' has the type F8_E4M3, which is not a number type of NumPy.*float32"
    ):
        model.load_torch(tmp_path / "w.safetensors")


def test_nothing_that_is_not_finite_becomes_a_parameter(be: nn.Backend) -> None:
    model = nn.Network(nn.Dense(2), nn.BatchNorm()).init((3,), backend=be, dtype="float32")
    before, state = to_host(be, model.theta), model.state_dict()
    for value in (np.nan, np.inf, 1e300):
        bias = [0.0, value]
        for call, name in (
            (lambda bias=bias: model.set_params({"0.bias": bias}), "parameter '0.bias'"),
            (lambda bias=bias: model.load_state_dict({**state, "0.bias": bias}), "parameter '0.bias'"),
            (lambda bias=bias: model.load_state_dict({**state, "1.mean": bias}), "parameter '1.mean'"),
            (lambda bias=bias: model.load_torch(model.to_torch() | {"0.bias": np.asarray(bias)}), "'0.bias'"),
        ):
            with pytest.raises(ValueError, match=rf"{name}.*( contains NaN or infinity: row 1|cannot hold 1e\+300)"):
                call()
    with pytest.raises(ValueError, match=r"'1\.variance' is negative; a variance is at least 0"):
        model.load_torch(model.to_torch() | {"1.running_var": np.asarray([1.0, -1.0])})
    np.testing.assert_array_equal(to_host(be, model.theta), before)


def test_what_load_torch_would_refuse_is_not_written(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "w.safetensors"
    model.to_torch(path)
    before = path.read_bytes()
    model = model.with_theta(model.theta * np.nan)
    with pytest.raises(ValueError, match=r"entry 'a\.weight' contains NaN or infinity.*nothing was written"):
        model.to_torch(path)
    assert path.read_bytes() == before
    small().save(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=r"is a model of nnarray; read it with nn\.load"):
        small().load_torch(tmp_path / "m.safetensors")


def test_many_missing_ones_are_counted() -> None:
    with pytest.raises(ValueError, match=r"missing: conv1\.conv\.weight, .* and \d+ more"):
        nn.models.googlenet(5).init((32, 32, 3), dtype="float32").load_torch({"a": np.ones(1)})


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("none.safetensors", None, FileNotFoundError, "there is no file .*none.safetensors"),
        ("bad.safetensors", b"\xff" * 100, ValueError, "cannot be read as a safetensors file"),
        ("empty.safetensors", b"", ValueError, "cannot be read as a safetensors file"),
        ("bad.pth", b"no pickle", ValueError, "cannot be read as a state_dict"),
        ("weights.npz", b"", ValueError, r"must end in .safetensors, .pt, .pth, .ckpt, .bin or .tar"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes | None, error: Any, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    if name == "bad.pth":
        pytest.importorskip("torch")  # which reads it
    with pytest.raises(error, match=message):
        small().load_torch(tmp_path / name)


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"a.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="cannot be read as a state_dict"):
        small().load_torch(tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()


def test_other_things_are_no_state_dict() -> None:
    with pytest.raises(TypeError, match=r"source must be a state_dict .*; got list"):
        small().load_torch([1, 2])


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.safetensors"
    small().to_torch(path)
    before = path.read_bytes()

    def failing(arrays: Any, part: Path, **_: Any) -> None:
        Path(part).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", failing)
    with pytest.raises(OSError, match="No space left"):
        small().to_torch(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        small().to_torch(tmp_path / "nowhere" / "weights.safetensors")
    with pytest.raises(ValueError, match=r"must end in .safetensors.*Use model\.to_torch\('weights\.safetensors'\)"):
        small().to_torch(tmp_path / "weights.pth")


def test_images_flattened_into_branches_are_refused() -> None:
    net = nn.Network(nn.Branches(nn.Flatten(), nn.Flatten()), nn.Dense(2))
    with pytest.raises(ValueError, match=r"layer '0\.0'.*PyTorch flattens in another order"):
        net.init((2, 2, 3)).to_torch()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.models.googlenet(variant="batch norm"), ValueError, "unknown variant 'batch norm'.*'batchnorm'"),
        (lambda: nn.models.googlenet(0), ValueError, "classes must be an integer of at least 1"),
        (lambda: nn.models.resnet18("10"), TypeError, "classes must be an integer"),
        (lambda: nn.models.mlp(2, 5), TypeError, r"hidden must be a sequence.*Write \(5,\)"),
        (lambda: nn.models.mlp(2, (5, 0)), ValueError, "each of hidden must be an integer of at least 1"),
        (lambda: nn.models.mlp(2, dropout=1.0), ValueError, "Dropout rate"),
        (lambda: nn.models.lenet5(activation="tan"), ValueError, "Did you mean 'tanh'"),
        (lambda: nn.models.char_rnn(0), ValueError, "vocabulary must be an integer of at least 1; got 0"),
        (lambda: nn.models.char_rnn(9, cell="ltsm"), ValueError, "unknown cell of char_rnn 'ltsm'.*'lstm'"),
        (lambda: nn.models.char_rnn(9, hidden_size=3), TypeError, "Did you mean units="),
    ],
)
def test_bad_settings(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_nothing_is_loaded_before_it_is_needed() -> None:
    code = "import sys; from nnarray import *; print([m for m in ('torch', 'safetensors') if m in sys.modules])"
    assert run_python(code).stdout == "[]\n"


# --- Folding ---------------------------------------------------------------------------------------------------------


FOLDED = {
    "conv": (nn.Network(nn.Conv2D(4, 3, bias=False), nn.BatchNorm(), nn.Activation("relu")), (5, 5, 2), 0),
    "conv-bias-groups": (nn.Network(nn.Conv2D(4, 3, groups=2), nn.BatchNorm(epsilon=0.01)), (5, 5, 2), 0),
    "conv-1d": (nn.Network(nn.Conv1D(4, 3), nn.BatchNorm()), (5, 2), 0),
    "dense": (nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Dense(3), nn.BatchNorm()), (5,), 0),
    "not after an activation": (nn.Network(nn.Dense(4, "tanh"), nn.BatchNorm()), (5,), 8),
    "not first": (nn.Network(nn.BatchNorm(), nn.Dense(4)), (5,), 10),
    "not after others": (nn.Network(nn.Dense(4), nn.Dropout(0.5), nn.BatchNorm()), (5,), 8),
    "twice": (nn.Network(nn.Dense(4), nn.BatchNorm(), nn.BatchNorm()), (5,), 0),
    "branches": (nn.Network(nn.Branches(nn.Row(nn.Dense(4), nn.BatchNorm()), nn.BatchNorm())), (5,), 10),
    "residual": (
        nn.Network(nn.Residual(nn.Dense(4), nn.BatchNorm(), shortcut=nn.BatchNorm(), activation="relu")),
        (4,),
        8,
    ),
    "auxiliary": (nn.Network(nn.Dense(4), nn.Auxiliary(nn.Dense(2), nn.BatchNorm()), nn.BatchNorm()), (4,), 8),
}


@pytest.mark.parametrize("case", FOLDED)
def test_folding_gives_the_same_outputs(be: nn.Backend, case: str) -> None:
    net, shape, left = FOLDED[case]
    rng = np.random.default_rng(0)
    model = net.init(shape, seed=1, backend=be, dtype="float32")
    size, states = model.theta.shape[0], model.state.shape[0]
    model.theta = model.theta + be.asarray(rng.normal(size=size) * 0.1, dtype="float32")
    model.state = be.asarray(rng.uniform(0.5, 2.0, size=states), dtype="float32")
    x = be.asarray(rng.normal(size=(6, *shape)), dtype="float32")
    folded = model.fold()
    assert folded.state.shape == (left,)
    assert folded.theta.dtype == model.theta.dtype
    close(to_host(be, folded(x)), to_host(be, model(x)), "float32")
    assert model.theta.shape[0] == size  # the model itself is as it was
