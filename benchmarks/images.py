"""Who works on images: a convolution, its gradient, GoogLeNet, and training the network of `nnarray demo pets`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from base import Runtime, by_difference, by_repetition, sample
from onnx_graphs import convolution_graph, googlenet_blocks, googlenet_graph, session
from training import jax_cross_entropy, jax_start, jax_steps, jax_update, need_numba
from workloads import REHEARSED, Images

PETS, GOOGLENET = "pets", "training of GoogLeNet"
IMAGE, PET = (32, 32, 3) if REHEARSED else (224, 224, 3), (64, 64, 3)


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

    def train(self, case: str, epochs: int) -> tuple[float, float]:
        """Seconds and mean loss of training one of `TRAINED`, always from the same parameters."""
        raise NotImplementedError

    def cases(self) -> tuple[str, ...]:
        return tuple(case for case in self.work.cases if self.has(case))

    def has(self, case: str) -> bool:
        method = "train" if case in TRAINED else case.partition(",")[0]
        return getattr(type(self), method) is not getattr(Painter, method)

    @cache  # noqa: B019  (a runtime lives as long as its process)
    def prepared(self, case: str) -> Call:
        method, _, batch = case.partition(", batch ")
        return getattr(self, method)(int(batch))

    def check(self, case: str) -> list[list[float]]:
        if case in TRAINED:
            return [
                [self.train(case, epochs)[1] for epochs in self.work.epochs][:1]
            ]  # rounding grows in the longer run
        call = self.prepared(case)
        return sample(*call.on_host(call.run()))

    def time(self, case: str) -> dict[str, float]:
        if case in TRAINED:
            return by_difference(lambda epochs: self.train(case, epochs)[0], self.work.epochs, self.work.batches)
        return by_repetition(self.prepared(case).run)

    def convolved(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """What goes into the convolution alone, and what its outputs should be."""
        x = images(batch, self.work.size, self.work.size, self.work.channels)
        return x, x[:, ::-1, ::-1, ::-1].copy()

    def filters(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight, shape (3, 3, channels, channels), and bias."""
        rng, c = np.random.default_rng(1), self.work.channels
        return rng.standard_normal((3, 3, c, c), dtype="float32") / np.float32(3 * c**0.5), rng.random(c, "float32")

    def examples(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The images of an epoch, and their labels."""
        count = self.work.batch * self.work.batches
        return images(count, *shape), np.arange(count) % 2


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


def torch_googlenet(**settings: bool) -> Any:
    sys.path.append(str(Path(__file__).parent.parent))
    from tests.torch_networks import GoogLeNet

    return GoogLeNet(**settings)


def pets_network() -> Any:
    """The network of `nnarray demo pets` in PyTorch."""
    import torch

    T, layers = torch.nn, []
    for inputs, filters, kernel, stride in ((3, 16, 5, 2), (16, 32, 3, 1), (32, 64, 3, 1)):
        convolution = T.Conv2d(inputs, filters, kernel, stride, kernel // 2, bias=False)
        layers += [convolution, T.BatchNorm2d(filters), T.ReLU(), T.MaxPool2d(2)]
    mean = T.Sequential(T.AdaptiveAvgPool2d(1), T.Flatten())
    return T.Sequential(*layers, mean, T.Linear(64, 2))


class Trained(NamedTuple):
    """A network that is trained: the shape of its images, its layers in nnarray, and the same in PyTorch."""

    shape: tuple[int, ...]
    layers: Callable[[], Any]
    network: Callable[[], Any]
    is_turned: bool = False  # whether PyTorch computes the same of images and filters that are turned by half a turn

    def model(self) -> Any:
        return self.layers().init(self.shape, seed=0, dtype="float32")


def pets_layers() -> Any:
    import nnarray as nn

    return nn.models.cnn(2)


def googlenet_layers() -> Any:
    """Without dropout, so that all train alike."""
    import nnarray as nn

    return nn.Network(*(layer for layer in nn.models.googlenet().layers if not isinstance(layer, nn.Dropout)))


TRAINED = {  # PyTorch pads an even image by 2 on both sides where "same" means 1 before and 2 after
    PETS: Trained(PET, pets_layers, pets_network, is_turned=True),
    GOOGLENET: Trained(IMAGE, googlenet_layers, lambda: torch_googlenet(dropout=False)),
}


# --- The limit -------------------------------------------------------------------------------------------------------


class Products(Painter):
    """The matrix products alone, of windows that lie there as rows; Winograd's convolutions need fewer."""

    checked = False

    def convolution(self, batch: int) -> Call:
        return self.products([self.shape(batch)])

    def gradient(self, batch: int) -> Call:
        places, entries, filters = self.shape(batch)
        return self.products([(places, entries, filters), (entries, places, filters)])

    def shape(self, batch: int) -> tuple[int, int, int]:
        return batch * self.work.size**2, 9 * self.work.channels, self.work.channels

    def googlenet(self, batch: int) -> Call:
        import nnarray as nn

        return self.products([(batch * p, e, f) for p, e, f in convolutions(nn.models.googlenet(), IMAGE)])

    def train(self, case: str, epochs: int) -> tuple[float, float]:
        launch = self.prepared_training(case)
        self.finish()
        begun = time.perf_counter()
        for _ in range(epochs * self.work.batches):
            launch()
        self.finish()
        return time.perf_counter() - begun, 0.0

    @cache  # noqa: B019
    def prepared_training(self, case: str) -> Callable[[], None]:
        shapes, trained = [], TRAINED[case]
        for i, (p, e, f) in enumerate(convolutions(trained.layers(), trained.shape)):
            places = p * self.work.batch
            shapes += [(places, e, f), (e, places, f)] + ([(places, f, e)] if i else [])
        return self.launched(shapes)

    def products(self, shapes: list[tuple[int, int, int]]) -> Call:
        launch = self.launched(shapes)

        def run() -> None:
            launch()
            self.finish()

        return Call(run, lambda _: (0.0,))

    def launched(self, shapes: list[tuple[int, int, int]]) -> Callable[[], None]:
        """Products of (m, k) and (k, n) matrices, into memory that is there."""
        xp = self.xp
        calls = [tuple(xp.ones(s, "float32") for s in ((m, k), (k, n), (m, n))) for m, k, n in shapes]

        def launch() -> None:
            for a, b, out in calls:
                xp.dot(a, b, out)

        return launch


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
        model, (x, _) = self.of(self.alone()), map(self.in_library, self.convolved(batch))
        return Call(lambda: model(x), lambda y: (y,))

    def gradient(self, batch: int) -> Call:
        import nnarray as nn

        model, (x, target) = self.of(self.alone()), map(self.in_library, self.convolved(batch))

        def on_host(found: tuple[Any, Any]) -> tuple[Any, ...]:
            other = model.copy()
            other.theta = found[1]
            return found[0], *other.params.values()

        return Call(lambda: nn.value_and_grad(model, x, target, "mse"), on_host)

    def googlenet(self, batch: int) -> Call:
        model, x = self.of(googlenet_model()), self.in_library(images(batch, *IMAGE))
        return Call(lambda: model(x), lambda y: (y,))

    def train(self, case: str, epochs: int) -> tuple[float, float]:
        import nnarray as nn

        trained, work = TRAINED[case], self.work
        model, (X, y) = self.of(trained.model()), map(self.in_library, self.examples(trained.shape))
        self.finish()
        begun = time.perf_counter()
        history = model.fit(X, y, optimizer=nn.Adam(work.lr), epochs=epochs, batch_size=work.batch, shuffle=False)
        self.finish()
        return time.perf_counter() - begun, float(np.mean(history["loss"]))


class NnarrayPlain(Nnarray):
    engine = "numpy"


class NnarrayFast(Nnarray):
    engine = "numba"

    def prepare(self) -> None:
        need_numba()


class NnarrayTorch(Nnarray):
    """On PyTorch's tensors."""

    def prepare(self) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(self.threads)

    def of(self, model: Any) -> Any:
        return model.to("torch")

    def in_library(self, x: np.ndarray) -> Any:
        return self.torch.from_numpy(x)


class NnarrayJax(Nnarray):
    """On JAX's arrays: the training of the pets, whose epoch is one compiled loop."""

    def prepare(self) -> None:
        import jax

        self.jax = jax

    def has(self, case: str) -> bool:
        return case == PETS

    def of(self, model: Any) -> Any:
        return model.to("jax")

    def in_library(self, x: np.ndarray) -> Any:
        return self.jax.numpy.asarray(x)


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
        network = torch_googlenet().eval()
        network.load_state_dict(self.tensors(googlenet_model().to_torch()), strict=False)
        return self.inference(self.laid(self.folded(network)), images(batch, *IMAGE))

    def folded(self, network: Any) -> Any:
        return network

    @cache  # noqa: B019
    def prepared_training(self, case: str) -> tuple[Any, Any, list[tuple[Any, Any]], dict[str, Any]]:
        """Network, loss, the batches of an epoch, and the first values."""
        torch, work, trained = self.torch, self.work, TRAINED[case]
        turn = -1 if trained.is_turned else 1
        values = trained.model().to_torch().items()
        first = self.tensors({name: w[..., ::turn, ::turn] if w.ndim == 4 else w for name, w in values})
        network = self.laid(trained.network())
        loss_of = self.compiled(lambda x, y: torch.nn.functional.cross_entropy(network(x), y))
        X, y = self.examples(trained.shape)
        parts = np.split(X[:, ::turn, ::turn].copy(), work.batches), np.split(y, work.batches)
        batches = [(self.in_library(x), self.labels(y)) for x, y in zip(*parts, strict=True)]
        return network, loss_of, batches, first

    def labels(self, y: np.ndarray) -> Any:
        return self.torch.from_numpy(y)

    def train(self, case: str, epochs: int) -> tuple[float, float]:
        torch, (network, loss_of, batches, first) = self.torch, self.prepared_training(case)
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
    """Compiled by `jit`, channels last."""

    def prepare(self) -> None:
        import jax

        self.jax, self.params = jax, tuple(map(jax.numpy.asarray, self.filters()))

    def has(self, case: str) -> bool:
        return super().has(case) and case != GOOGLENET

    def convolved_by(self, x: Any, weight: Any, stride: int = 1, padding: Any = "SAME") -> Any:
        axes = ("NHWC", "HWIO", "NHWC")
        return self.jax.lax.conv_general_dilated(x, weight, (stride, stride), padding, dimension_numbers=axes)

    def largest(self, x: Any, size: int, stride: int, pad: int = 0) -> Any:
        """Of each window; the last ones may lie beyond the image in part."""
        beyond = (-(x.shape[1] + 2 * pad - size)) % stride
        padding = ((0, 0), (pad, pad + beyond), (pad, pad + beyond), (0, 0))
        lax = self.jax.lax
        return lax.reduce_window(x, -np.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), padding)

    def outputs(self, params: Any, x: Any) -> Any:
        return self.convolved_by(x, params[0]) + params[1]

    def call(self, function: Any, *inputs: np.ndarray) -> Call:
        """A compiled call with the parameters of the convolution."""
        f, there = self.jax.jit(function), tuple(map(self.jax.numpy.asarray, inputs))
        return Call(lambda: self.jax.block_until_ready(f(self.params, *there)), lambda y: (y,))

    def convolution(self, batch: int) -> Call:
        return self.call(self.outputs, self.convolved(batch)[0])

    def gradient(self, batch: int) -> Call:
        def loss(params: Any, x: Any, target: Any) -> Any:
            return ((self.outputs(params, x) - target) ** 2).mean()

        made = self.call(self.jax.value_and_grad(loss), *self.convolved(batch))
        return Call(made.run, lambda found: (found[0], *found[1]))

    def googlenet(self, batch: int) -> Call:
        """The normalisations folded into the convolutions."""
        weights, nn = googlenet_model().fold().to_torch(), self.jax.nn
        there = {
            name: self.jax.numpy.asarray(w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T) for name, w in weights.items()
        }

        def convolution(w: Any, x: Any, name: str, stride: int = 1) -> Any:
            weight, bias = w[f"{name}.conv.weight"], w[f"{name}.conv.bias"]
            pad = weight.shape[0] // 2
            return nn.relu(self.convolved_by(x, weight, stride, ((pad, pad), (pad, pad))) + bias)

        def outputs(w: Any, x: Any) -> Any:
            x = googlenet_blocks(x, partial(convolution, w), self.largest, partial(self.jax.numpy.concatenate, axis=-1))
            return x.mean((1, 2)) @ w["fc.weight"] + w["fc.bias"]

        f, x = self.jax.jit(outputs), self.jax.numpy.asarray(images(batch, *IMAGE))
        return Call(lambda: self.jax.block_until_ready(f(there, x)), lambda y: (y,))

    def train(self, case: str, epochs: int) -> tuple[float, float]:
        step, batches, first = self.prepared_training(case)
        return jax_steps(step, jax_start(self.work, first), batches * epochs)

    @cache  # noqa: B019
    def prepared_training(self, case: str) -> tuple[Any, list[Any], list[Any]]:
        """A compiled step, the batches of an epoch, and the first parameters."""
        jnp, trained, parts = self.jax.numpy, TRAINED[case], self.work.batches
        X, y = map(jnp.asarray, self.examples(trained.shape))
        step = self.jax.jit(jax_update(self.work, self.pets_loss), donate_argnums=0)
        batches = [*zip(jnp.split(X, parts), jnp.split(y, parts), strict=True)]
        return step, batches, [jnp.asarray(p) for p in trained.model().params.values()]

    def pets_loss(self, params: Any, x: Any, y: Any) -> Any:
        """Without running averages, which training does not read."""
        *convolutions, weight, bias = params
        for i in range(3):
            w, scale, shift = convolutions[3 * i : 3 * i + 3]
            x = self.convolved_by(x, w, 1 if i else 2)
            x = (x - x.mean((0, 1, 2))) * self.jax.lax.rsqrt(x.var((0, 1, 2)) + 1e-5) * scale + shift
            x = self.largest(self.jax.nn.relu(x), 2, 2)
        return jax_cross_entropy(x.mean((1, 2)) @ weight + bias, y).mean()


class JaxScan(Jax):
    """The whole loop of a training compiled, in `lax.scan`."""

    def has(self, case: str) -> bool:
        return case == PETS

    def train(self, case: str, epochs: int) -> tuple[float, float]:
        loop, batches, first = self.prepared_loop(case)
        carry = jax_start(self.work, first)
        begun = time.perf_counter()
        _, losses = self.jax.block_until_ready(loop(carry, batches, epochs))
        return time.perf_counter() - begun, float(losses.mean())

    @cache  # noqa: B019
    def prepared_loop(self, case: str) -> tuple[Any, Any, list[Any]]:
        """The compiled loop, the batches of an epoch in one array, and the first parameters."""
        jax, (_, batches, first) = self.jax, self.prepared_training(case)
        update = jax_update(self.work, self.pets_loss)

        def loop(carry: Any, batches: Any, epochs: int) -> Any:
            return jax.lax.scan(lambda c, _: jax.lax.scan(update, c, batches), carry, length=epochs)

        stacked = tuple(jax.numpy.stack(part) for part in zip(*batches, strict=True))
        return jax.jit(loop, static_argnums=2), stacked, first


RUNTIMES: dict[str, type[Runtime]] = {
    "products alone": Products,
    "PyTorch eager": Torch,
    "PyTorch channels last": TorchChannelsLast,
    "torch.compile": TorchCompile,
    "nnarray, NumPy": NnarrayPlain,
    "nnarray, NumPy + Numba": NnarrayFast,
    "nnarray, PyTorch": NnarrayTorch,
    "nnarray, JAX": NnarrayJax,
    "ONNX Runtime": OnnxRuntime,
    "JAX jit": Jax,
    "JAX scan": JaxScan,
}
