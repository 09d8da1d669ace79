"""Who works on images: a convolution, its gradient, GoogLeNet, and training the network of `nnarray demo pets`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from base import Runtime, by_difference, by_repetition, sample
from onnx_graphs import convolution_graph, googlenet_graph, session
from training import need_numba
from workloads import Images

PETS, IMAGE, PET = "pets", (224, 224, 3), (64, 64, 3)


class Call(NamedTuple):
    """A prepared computation, and its result in NumPy's arrays, channels last."""

    run: Callable[[], Any]
    on_host: Callable[[Any], tuple[Any, ...]]


class Painter(Runtime):
    """A case, such as "googlenet, batch 8", is a method and its argument; a runtime does those that it has."""

    work: Images

    def convolution(self, batch: int) -> Call:
        raise NotImplementedError

    def gradient(self, batch: int) -> Call:
        """The mean squared error of the convolution, and its gradient by weight and bias."""
        raise NotImplementedError

    def googlenet(self, batch: int) -> Call:
        raise NotImplementedError

    def pets(self, epochs: int) -> tuple[float, float]:
        """Seconds and mean loss of training, always from the same parameters."""
        raise NotImplementedError

    def cases(self) -> tuple[str, ...]:
        own = (name for name in ("convolution", "gradient", "googlenet", PETS) if self.has(name))
        return tuple(case for name in own for case in self.work.cases if case.startswith(name))

    def has(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(Painter, method)

    @cache  # noqa: B019  (a runtime lives as long as its process)
    def prepared(self, case: str) -> Call:
        method, _, batch = case.partition(", batch ")
        return getattr(self, method)(int(batch))

    def check(self, case: str) -> list[list[float]]:
        if case == PETS:
            return [[self.pets(epochs)[1] for epochs in self.work.epochs][:1]]  # rounding grows in the longer run
        call = self.prepared(case)
        return sample(*call.on_host(call.run()))

    def time(self, case: str) -> dict[str, float]:
        if case == PETS:
            return by_difference(lambda epochs: self.pets(epochs)[0], self.work.epochs, self.work.batches)
        return by_repetition(self.prepared(case).run)

    def convolved(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """What goes into the convolution alone, and what its outputs should be."""
        x = images(batch, self.work.size, self.work.size, self.work.channels)
        return x, x[:, ::-1, ::-1, ::-1].copy()

    def filters(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight, shape (3, 3, channels, channels), and bias."""
        rng, c = np.random.default_rng(1), self.work.channels
        return rng.standard_normal((3, 3, c, c), dtype="float32") / np.float32(3 * c**0.5), rng.random(c, "float32")

    def pet_batches(self) -> tuple[np.ndarray, np.ndarray]:
        """The images of an epoch, and their labels."""
        count = self.work.batch * self.work.batches
        return images(count, *PET), np.arange(count) % 2


def images(batch: int, *shape: int) -> np.ndarray:
    """Channels last."""
    return np.random.default_rng(0).standard_normal((batch, *shape), dtype="float32")


def googlenet_model() -> Any:
    """GoogLeNet in nnarray, with statistics in its normalisations, so that nothing is 0 or 1 by chance."""
    import nnarray as nn

    model, rng = nn.models.googlenet().init(IMAGE, seed=0, dtype="float32"), np.random.default_rng(2)
    weights = model.to_torch()
    for name, values in weights.items():
        if ".bn." in name:
            spread = name.endswith(("weight", "var"))
            drawn = 0.5 + rng.random(values.shape) if spread else 0.1 * rng.standard_normal(values.shape)
            weights[name] = drawn.astype("float32")
    return model.load_torch(weights)


def pets_model() -> Any:
    import nnarray as nn

    return nn.models.cnn(2).init(PET, seed=0, dtype="float32")


# --- The limit -------------------------------------------------------------------------------------------------------


class Products(Painter):
    """The matrix products alone, of windows that lie there as rows; Winograd's convolutions need fewer."""

    checked = False

    def convolution(self, batch: int) -> Call:
        return products([self.shape(batch)])

    def gradient(self, batch: int) -> Call:
        places, entries, filters = self.shape(batch)
        return products([(places, entries, filters), (entries, places, filters)])

    def shape(self, batch: int) -> tuple[int, int, int]:
        return batch * self.work.size**2, 9 * self.work.channels, self.work.channels

    def googlenet(self, batch: int) -> Call:
        import nnarray as nn

        return products([(batch * p, e, f) for p, e, f in convolutions(nn.models.googlenet(), IMAGE)])

    def pets(self, epochs: int) -> tuple[float, float]:
        import nnarray as nn

        shapes = []
        for i, (p, e, f) in enumerate(convolutions(nn.models.cnn(2), PET)):
            places = p * self.work.batch
            shapes += [(places, e, f), (e, places, f)] + ([(places, f, e)] if i else [])
        run = products(shapes).run
        begun = time.perf_counter()
        for _ in range(epochs * self.work.batches):
            run()
        return time.perf_counter() - begun, 0.0


def products(shapes: list[tuple[int, int, int]]) -> Call:
    """Products of (m, k) and (k, n) matrices, into memory that is there."""
    calls = [
        (np.ones((m, k), "float32"), np.ones((k, n), "float32"), np.empty((m, n), "float32")) for m, k, n in shapes
    ]

    def run() -> None:
        for a, b, out in calls:
            np.dot(a, b, out)

    return Call(run, lambda _: (0.0,))


def convolutions(layer: Any, shape: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Of each convolution in a network: positions, entries of a window, filters."""
    if layer.named_layers:
        for _, inner, its_shape in layer.shapes(shape):
            yield from convolutions(inner, its_shape)
    elif type(layer).__name__ == "Conv2D":
        weight = layer.params(shape)["weight"].shape
        yield int(np.prod(layer.out_shape(shape)[:2])), int(np.prod(weight[:-1])), weight[-1]


# --- nnarray ---------------------------------------------------------------------------------------------------------


class Nnarray(Painter):
    """Through the public API: `model(X)`, `value_and_grad` and `model.fit`."""

    engine = "auto"

    def of(self, model: Any) -> Any:
        """The model, computed by the engine of this row."""
        model.engine = self.engine
        return model

    def in_library(self, x: np.ndarray) -> Any:
        return x

    def alone(self) -> Any:
        """A network of one convolution."""
        import nnarray as nn

        net = nn.Network(nn.Conv2D(self.work.channels, 3, padding=1))
        model = net.init((self.work.size, self.work.size, self.work.channels), dtype="float32", engine=self.engine)
        return model.set_params(dict(zip(model.params, self.filters(), strict=True)))

    def convolution(self, batch: int) -> Call:
        model, (x, _) = self.alone(), self.convolved(batch)
        return Call(lambda: model(x), lambda y: (y,))

    def gradient(self, batch: int) -> Call:
        import nnarray as nn

        model, (x, target) = self.alone(), self.convolved(batch)

        def on_host(found: tuple[Any, Any]) -> tuple[Any, ...]:
            other = model.copy()
            other.theta = found[1]
            return found[0], *other.params.values()

        return Call(lambda: nn.value_and_grad(model, x, target, "mse"), on_host)

    def googlenet(self, batch: int) -> Call:
        model, x = self.of(googlenet_model()), images(batch, *IMAGE)
        return Call(lambda: model(x), lambda y: (y,))

    def pets(self, epochs: int) -> tuple[float, float]:
        import nnarray as nn

        model, (X, y) = self.of(pets_model()), map(self.in_library, self.pet_batches())
        begun = time.perf_counter()
        history = model.fit(
            X, y, optimizer=nn.Adam(self.work.lr), epochs=epochs, batch_size=self.work.batch, shuffle=False
        )
        return time.perf_counter() - begun, float(np.mean(history["loss"]))


class NnarrayPlain(Nnarray):
    engine = "numpy"


class NnarrayFast(Nnarray):
    engine = "numba"

    def prepare(self) -> None:
        need_numba()


# --- Peers -----------------------------------------------------------------------------------------------------------


class OnnxRuntime(Painter):
    """Graphs made by hand, channels first, normalisations folded into the convolutions."""

    def convolution(self, batch: int) -> Call:
        weight, bias = self.filters()
        return self.call(convolution_graph(weight.transpose(3, 2, 0, 1), bias), self.convolved(batch)[0])

    def googlenet(self, batch: int) -> Call:
        return self.call(googlenet_graph(googlenet_model().fold().to_torch()), images(batch, *IMAGE))

    def call(self, graph: bytes, x: np.ndarray) -> Call:
        run, first = session(graph, self.threads).run, np.ascontiguousarray(np.moveaxis(x, -1, 1))
        return Call(lambda: run(None, {"x": first})[0], lambda y: (np.moveaxis(y, 1, -1) if y.ndim == 4 else y,))


class Torch(Painter):
    """Eager, in PyTorch's usual layout."""

    channels_last, fused = False, False

    def prepare(self) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(self.threads)

    def compiled(self, function: Any) -> Any:
        return function

    def laid(self, network: Any) -> Any:
        """The network with its weights in the layout, on the device."""
        return network.to(memory_format=self.torch.channels_last) if self.channels_last else network

    def in_library(self, x: np.ndarray) -> Any:
        """Channels first in shape, and in memory too unless `channels_last`."""
        first = self.torch.from_numpy(x).permute(0, 3, 1, 2)
        return first if self.channels_last else first.contiguous()

    def alone(self) -> Any:
        made = self.torch.nn.Conv2d(self.work.channels, self.work.channels, 3, padding=1)
        weight, bias = self.filters()
        made.load_state_dict(self.tensors({"weight": weight.transpose(3, 2, 0, 1), "bias": bias}))
        return self.laid(made)

    def tensors(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        return {name: self.torch.from_numpy(x.copy()) for name, x in arrays.items()}

    def inference(self, network: Any, x: np.ndarray) -> Call:
        f, in_library = self.compiled(network), self.in_library(x)
        run = self.torch.inference_mode()(lambda: f(in_library))
        return Call(run, lambda y: (y.movedim(1, -1) if y.ndim == 4 else y,))

    def convolution(self, batch: int) -> Call:
        return self.inference(self.alone(), self.convolved(batch)[0])

    def gradient(self, batch: int) -> Call:
        network, (x, target) = self.alone(), map(self.in_library, self.convolved(batch))
        loss_of = self.compiled(lambda x, target: self.torch.nn.functional.mse_loss(network(x), target))

        def run() -> Any:
            network.zero_grad()
            loss = loss_of(x, target)
            loss.backward()
            return loss.detach()

        return Call(run, lambda loss: (loss, network.weight.grad.permute(2, 3, 1, 0), network.bias.grad))

    def googlenet(self, batch: int) -> Call:
        sys.path.append(str(Path(__file__).parent.parent))
        from tests.torch_networks import GoogLeNet

        network = GoogLeNet().eval()
        network.load_state_dict(self.tensors(googlenet_model().to_torch()), strict=False)
        return self.inference(self.laid(self.folded(network)), images(batch, *IMAGE))

    def folded(self, network: Any) -> Any:
        return network

    @cache  # noqa: B019
    def pets_prepared(self) -> tuple[Any, Any, list[tuple[Any, Any]], dict[str, Any]]:
        """Network, loss, the batches of an epoch, and the first values.

        PyTorch pads an even image by 2 on both sides where "same" means 1 before and 2 after, and leaves out the
        last positions: the same windows, if images and filters are turned by half a turn.
        """
        torch, network = self.torch, pets_network()
        values = {name.replace("13.", "14."): w for name, w in pets_model().to_torch().items()}
        first = self.tensors({name: w[..., ::-1, ::-1] if w.ndim == 4 else w for name, w in values.items()})
        network = self.laid(network)
        loss_of = self.compiled(lambda x, y: torch.nn.functional.cross_entropy(network(x), y))
        X, y = self.pet_batches()
        parts = np.split(X[:, ::-1, ::-1].copy(), self.work.batches), np.split(y, self.work.batches)
        batches = [(self.in_library(x), self.labels(y)) for x, y in zip(*parts, strict=True)]
        return network, loss_of, batches, first

    def labels(self, y: np.ndarray) -> Any:
        return self.torch.from_numpy(y)

    def pets(self, epochs: int) -> tuple[float, float]:
        torch, (network, loss_of, batches, first) = self.torch, self.pets_prepared()
        network.load_state_dict(first, strict=False)
        rule, losses = torch.optim.Adam(network.parameters(), self.work.lr, fused=self.fused), []
        begun = time.perf_counter()
        for x, y in batches * epochs:
            rule.zero_grad()
            loss = loss_of(x, y)
            loss.backward()
            rule.step()
            losses.append(self.kept(loss))
        mean = float(torch.stack(losses).mean())
        return time.perf_counter() - begun, mean

    def kept(self, loss: Any) -> Any:
        """The loss for later, without its record."""
        return loss.detach()


def pets_network() -> Any:
    """The network of `nnarray demo pets` in PyTorch, as it is made: in training mode."""
    import torch

    T, layers = torch.nn, []
    for inputs, filters, kernel, stride in ((3, 16, 5, 2), (16, 32, 3, 1), (32, 64, 3, 1)):
        convolution = T.Conv2d(inputs, filters, kernel, stride, kernel // 2, bias=False)
        layers += [convolution, T.BatchNorm2d(filters), T.ReLU(), T.MaxPool2d(2)]
    return T.Sequential(*layers, T.AdaptiveAvgPool2d(1), T.Flatten(), T.Linear(64, 2))


class TorchChannelsLast(Torch):
    """Channels last in memory, normalisations folded into the convolutions at inference, the fused optimizer."""

    channels_last, fused = True, True

    def folded(self, network: Any) -> Any:
        from torch.nn.utils.fusion import fuse_conv_bn_eval

        for module in network.modules():
            if hasattr(module, "bn"):
                module.conv, module.bn = fuse_conv_bn_eval(module.conv, module.bn), self.torch.nn.Identity()
        return network


class TorchCompile(TorchChannelsLast):
    """The same compiled, for each size of batch."""

    def compiled(self, function: Any) -> Any:
        return self.torch.compile(function, dynamic=False)


class Jax(Painter):
    """The convolution compiled by `jit`."""

    def prepare(self) -> None:
        import jax

        self.jax, self.params = jax, tuple(map(jax.numpy.asarray, self.filters()))

    def outputs(self, params: Any, x: Any) -> Any:
        axes = ("NHWC", "HWIO", "NHWC")
        return self.jax.lax.conv_general_dilated(x, params[0], (1, 1), "SAME", dimension_numbers=axes) + params[1]

    def convolution(self, batch: int) -> Call:
        f, x = self.jax.jit(self.outputs), self.jax.numpy.asarray(self.convolved(batch)[0])
        return Call(lambda: f(self.params, x).block_until_ready(), lambda y: (y,))

    def gradient(self, batch: int) -> Call:
        x, target = map(self.jax.numpy.asarray, self.convolved(batch))

        def loss(params: Any, x: Any, target: Any) -> Any:
            return ((self.outputs(params, x) - target) ** 2).mean()

        f = self.jax.jit(self.jax.value_and_grad(loss))
        return Call(lambda: self.jax.block_until_ready(f(self.params, x, target)), lambda found: (found[0], *found[1]))


RUNTIMES: dict[str, type[Runtime]] = {
    "products alone": Products,
    "PyTorch eager": Torch,
    "PyTorch channels last": TorchChannelsLast,
    "torch.compile": TorchCompile,
    "nnarray, NumPy": NnarrayPlain,
    "nnarray, NumPy + Numba": NnarrayFast,
    "ONNX Runtime": OnnxRuntime,
    "JAX jit": Jax,
}
