"""Who trains dense networks. Each starts from the same parameters and gives back the mean loss of its steps."""

from __future__ import annotations

import importlib.util
import os
import time
import warnings
from typing import Any

import numpy as np
from base import Trainer
from workloads import DenseNet

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def need_numba() -> None:
    """Said while it is prepared, as of all libraries that are not there."""
    if importlib.util.find_spec("numba") is None:
        raise ImportError("No module named 'numba'")


def nnarray_model(work: DenseNet, backend: Any, dtype: str, engine: str = "auto") -> Any:
    """The workload's network with its parameters."""
    import nnarray as nn

    *hidden, last = work.sizes[1:]
    net = nn.Network(*(nn.Dense(units, work.activation) for units in hidden), nn.Dense(last))
    model = net.init((work.sizes[0],), backend=backend, dtype=dtype, engine=engine)
    return model.set_params(dict(zip(model.params, work.params(dtype), strict=True)))


class Nnarray(Trainer):
    """Through the public API: `model.fit`, whatever it adds included."""

    flag, engine = "numpy", "auto"

    def prepare(self) -> None:
        import nnarray as nn

        super().prepare()
        self.nn, self.backend = nn, nn.backend(self.flag)
        self.model = nnarray_model(self.work, self.backend, self.dtype, self.engine)
        self.first = self.model.snapshot()
        self.inputs, self.labels = self.backend.asarray(self.X), self.backend.asarray(self.y)

    def run(self, epochs: int) -> tuple[float, float]:
        nn, work = self.nn, self.work
        self.model.restore(self.first)
        loss = nn.losses.CrossEntropy(reduction=work.reduction)
        rule = nn.SGD(work.lr, weight_decay=work.decay) if work.optimizer == "sgd" else nn.Adam(work.lr)
        self.backend.synchronize()
        begun = time.perf_counter()
        history = self.model.fit(
            self.inputs,
            self.labels,
            loss=loss,
            optimizer=rule,
            epochs=epochs,
            batch_size=work.batch,
            shuffle=False,
        )
        self.backend.synchronize()
        return time.perf_counter() - begun, float(np.mean(history["loss"]))


class NnarrayPlain(Nnarray):
    engine = "numpy"


class NnarrayFast(Nnarray):
    engine = "numba"


class NnarrayTorch(Nnarray):
    flag = "torch"

    def prepare(self) -> None:
        import torch

        torch.set_num_threads(self.threads)
        super().prepare()


class NnarrayJax(Nnarray):
    flag = "jax"


class NumPy(Trainer):
    """As a person would write it in a notebook."""

    def run(self, epochs: int) -> tuple[float, float]:
        work, params = self.work, [p.copy() for p in self.work.params(self.dtype)]
        moments = [(np.zeros_like(p), np.zeros_like(p)) for p in params]
        losses = []
        begun = time.perf_counter()
        for step, (x, y) in enumerate(self.cut(self.X, self.y) * epochs, start=1):
            loss, gradients = self.gradients(params, x, y)
            losses.append(loss)
            for i, (p, g) in enumerate(zip(params, gradients, strict=True)):
                if work.optimizer == "sgd":
                    params[i] = p - work.lr * (g + work.decay * p if p.ndim == 2 else g)
                    continue
                m, v = moments[i]
                m = BETA1 * m + (1 - BETA1) * g
                v = BETA2 * v + (1 - BETA2) * g * g
                moments[i] = m, v
                mean, square = m / (1 - BETA1**step), v / (1 - BETA2**step)
                params[i] = p - work.lr * mean / (np.sqrt(square) + EPSILON)
        return time.perf_counter() - begun, float(np.mean(losses))

    def gradients(self, params: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> tuple[float, list[np.ndarray]]:
        tanh, activations = self.work.activation == "tanh", [x]
        for i in range(0, len(params) - 2, 2):
            z = activations[-1] @ params[i] + params[i + 1]
            activations.append(np.tanh(z) if tanh else np.maximum(z, 0))
        logits = activations[-1] @ params[-2] + params[-1]
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        delta = scores / scores.sum(axis=1, keepdims=True)
        loss = -np.log(delta[np.arange(len(y)), y]).sum()
        delta[np.arange(len(y)), y] -= 1
        if self.work.reduction == "mean":
            loss, delta = loss / len(y), delta / len(y)
        found: list[np.ndarray] = []
        for i in range(len(params) - 2, -1, -2):
            a = activations[i // 2]
            found = [a.T @ delta, delta.sum(axis=0), *found]
            if i:
                delta = delta @ params[i].T * ((1 - a * a) if tanh else (a > 0))
        return float(loss), found


class Autograd(NumPy):
    """The same, with the gradient from `autograd`."""

    def prepare(self) -> None:
        import autograd
        import autograd.numpy as anp

        super().prepare()

        def loss_of(params: list[Any], x: Any, y: Any) -> Any:
            tanh = self.work.activation == "tanh"
            for i in range(0, len(params) - 2, 2):
                x = x @ params[i] + params[i + 1]
                x = anp.tanh(x) if tanh else anp.maximum(x, 0)
            logits = x @ params[-2] + params[-1]
            largest = logits.max(axis=1, keepdims=True)
            sums = anp.log(anp.exp(logits - largest).sum(axis=1)) + largest[:, 0]
            losses = sums - logits[np.arange(len(y)), y]
            return losses.mean() if self.work.reduction == "mean" else losses.sum()

        self.gradients = autograd.value_and_grad(loss_of)


class Products(Trainer):
    """The matrix products of the workload alone, into memory that is there: the physical limit."""

    checked = False

    def prepare(self) -> None:
        rng, batch, xp = np.random.default_rng(0), self.work.batch, self.xp
        self.calls = []  # it needs no data
        for i, (fan_in, units) in enumerate(zip(self.work.sizes, self.work.sizes[1:], strict=False)):
            shapes = (batch, fan_in), (fan_in, units), (batch, units)
            x, w, dy = (xp.asarray(rng.standard_normal(shape, self.dtype)) for shape in shapes)
            pairs = [(x, w), (x.T, dy)] + ([(dy, w.T)] if i else [])
            self.calls += [(a, b, xp.empty((a.shape[0], b.shape[1]), self.dtype)) for a, b in pairs]

    def run(self, epochs: int) -> tuple[float, float]:
        self.finish()
        begun = time.perf_counter()
        for _ in range(epochs * self.work.batches):
            for a, b, out in self.calls:
                self.xp.dot(a, b, out)
        self.finish()
        return time.perf_counter() - begun, float("nan")


def torch_network(work: DenseNet, dtype: str) -> Any:
    """The workload's network, with parameters of its own still."""
    import torch

    nn, layers = torch.nn, []
    for fan_in, units in zip(work.sizes, work.sizes[1:], strict=False):
        layers += [nn.Linear(fan_in, units), nn.Tanh() if work.activation == "tanh" else nn.ReLU()]
    return torch_load(nn.Sequential(*layers[:-1]).to(getattr(torch, dtype)), work.params(dtype))


def torch_load(net: Any, params: list[np.ndarray]) -> Any:
    """The network with these parameters, written into those that it has."""
    import torch

    with torch.no_grad():
        for p, first in zip(net.parameters(), params, strict=True):
            p.copy_(torch.from_numpy(first.T))
    return net


class Torch(Trainer):
    """Eager, with the optimizer of `torch.optim`."""

    fused: bool | None = None

    def prepare(self) -> None:
        import torch

        super().prepare()
        self.torch = torch
        torch.set_num_threads(self.threads)
        self.batches = self.cut(torch.from_numpy(self.X), torch.from_numpy(self.y))
        self.net = torch_network(self.work, self.dtype)
        self.loss_of = self.compiled(self.loss)

    def compiled(self, function: Any) -> Any:
        return function

    def loss(self, x: Any, y: Any) -> Any:
        return self.torch.nn.functional.cross_entropy(self.net(x), y, reduction=self.work.reduction)

    def run(self, epochs: int) -> tuple[float, float]:
        torch, work = self.torch, self.work
        net = torch_load(self.net, work.params(self.dtype))
        weights, biases = ([p for p in net.parameters() if p.ndim == n] for n in (2, 1))
        groups = [{"params": weights, "weight_decay": work.decay}, {"params": biases}]
        optimizer = torch.optim.SGD if work.optimizer == "sgd" else torch.optim.Adam
        rule = optimizer(groups, lr=work.lr, fused=self.fused)
        losses = []
        begun = time.perf_counter()
        for x, y in self.batches * epochs:
            rule.zero_grad()
            loss = self.loss_of(x, y)
            loss.backward()
            rule.step()
            losses.append(self.kept(loss))
        mean = float(torch.stack(losses).mean())
        return time.perf_counter() - begun, mean

    def kept(self, loss: Any) -> Any:
        """The loss for later, without its record."""
        return loss.detach()


class TorchFused(Torch):
    """The same with the fused optimizer."""

    fused = True


class TorchCompile(TorchFused):
    """Network and loss compiled, backward included, beside the fused optimizer."""

    def compiled(self, function: Any) -> Any:
        return self.torch.compile(function, dynamic=False)


def jax_outputs(work: DenseNet, params: Any, x: Any) -> Any:
    """The network."""
    import jax

    f = jax.numpy.tanh if work.activation == "tanh" else jax.nn.relu
    for i in range(0, len(params) - 2, 2):
        x = f(x @ params[i] + params[i + 1])
    return x @ params[-2] + params[-1]


def jax_update(work: Any, loss_of: Any) -> Any:
    """A step of a workload: what is carried, from `jax_start` on, and a batch, to what is carried on and the loss."""
    import jax

    def update(carry: Any, batch: Any) -> Any:
        params, means, squares, t = carry
        loss, found = jax.value_and_grad(loss_of)(params, *batch)
        t = t + 1
        if work.optimizer == "sgd":
            new = [p - work.lr * (g + work.decay * p if p.ndim == 2 else g) for p, g in zip(params, found, strict=True)]
            return (new, means, squares, t), loss
        means = [BETA1 * m + (1 - BETA1) * g for m, g in zip(means, found, strict=True)]
        squares = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(squares, found, strict=True)]
        c1, c2 = 1 - BETA1**t, 1 - BETA2**t
        new = [
            p - work.lr * (m / c1) / (jax.numpy.sqrt(v / c2) + EPSILON)
            for p, m, v in zip(params, means, squares, strict=True)
        ]
        return (new, means, squares, t), loss

    return update


def jax_start(work: Any, first: list[Any]) -> Any:
    """The first parameters and, for Adam, moments of 0; copies, since a step consumes them."""
    import jax

    jnp, adam = jax.numpy, work.optimizer == "adam"
    means, squares = ([jnp.zeros_like(p) for p in first] if adam else [] for _ in range(2))
    return jax.block_until_ready(([jnp.array(p) for p in first], means, squares, jnp.zeros((), first[0].dtype)))


def jax_cross_entropy(logits: Any, y: Any) -> Any:
    """Of each example."""
    import jax

    return -jax.numpy.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)


def jax_steps(step: Any, carry: Any, batches: list[Any]) -> tuple[float, float]:
    """Seconds and mean loss of a step for each batch, called from Python."""
    import jax

    losses, begun = [], time.perf_counter()
    for batch in batches:
        carry, loss = step(carry, batch)
        losses.append(loss)
    jax.block_until_ready(carry)
    return time.perf_counter() - begun, float(np.mean(losses))


class Jax(Trainer):
    """A step compiled by `jit`, called from Python; it may write over the old parameters."""

    def prepare(self) -> None:
        import jax

        super().prepare()
        self.jax, work = jax, self.work
        jnp = jax.numpy
        self.batches = self.cut(jnp.asarray(self.X), jnp.asarray(self.y))
        self.first = [jnp.asarray(p) for p in work.params(self.dtype)]

        def loss_of(params: Any, x: Any, y: Any) -> Any:
            losses = jax_cross_entropy(jax_outputs(work, params, x), y)
            return losses.sum() if work.reduction == "sum" else losses.mean()

        self.update = jax_update(work, loss_of)
        self.step = jax.jit(self.update, donate_argnums=0)

    def run(self, epochs: int) -> tuple[float, float]:
        return jax_steps(self.step, jax_start(self.work, self.first), self.batches * epochs)


class JaxScan(Jax):
    """The whole loop compiled, in `lax.scan`."""

    def prepare(self) -> None:
        super().prepare()
        jax = self.jax
        stacked = tuple(jax.numpy.stack(part) for part in zip(*self.batches, strict=True))

        def loop(carry: Any, batches: Any, epochs: int) -> Any:
            return jax.lax.scan(lambda c, _: jax.lax.scan(self.update, c, batches), carry, length=epochs)

        compiled = jax.jit(loop, static_argnums=2)
        self.loop = lambda carry, epochs: compiled(carry, stacked, epochs)

    def run(self, epochs: int) -> tuple[float, float]:
        carry = jax_start(self.work, self.first)
        begun = time.perf_counter()
        _, losses = self.jax.block_until_ready(self.loop(carry, epochs))
        return time.perf_counter() - begun, float(losses.mean())


class ScikitLearn(Trainer):
    """`MLPClassifier.fit` without its stopping rules.

    For two classes it has one output instead of two, and its Adam adds epsilon before the corrections, which shows in
    float64: neither is compared with the others.
    """

    def prepare(self) -> None:
        from sklearn.neural_network import MLPClassifier

        super().prepare()
        work, params = self.work, self.work.params(self.dtype)
        two = work.sizes[-1] == 2
        self.checked = not two and (work.optimizer == "sgd" or self.dtype == "float32")
        if two:
            params[-2:] = [p[..., 1:] - p[..., :1] for p in params[-2:]]
        self.first, self.left = params, iter(params)
        runtime = self

        class Started(MLPClassifier):
            def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> Any:
                return next(runtime.left).copy(), next(runtime.left).copy()

        if work.optimizer == "sgd":  # its loss is a mean, and it divides the penalty by the batch too
            rule = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": work.lr * work.batch, "alpha": work.decay}
        else:
            rule = {"solver": "adam", "learning_rate_init": work.lr, "alpha": work.decay}
        self.model = Started(
            work.sizes[1:-1],
            activation=work.activation,
            batch_size=work.batch,
            shuffle=False,
            tol=0.0,
            n_iter_no_change=10**9,
            **rule,
        )

    def run(self, epochs: int) -> tuple[float, float]:
        self.model.set_params(max_iter=epochs)
        self.left = iter(self.first)
        begun = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            self.model.fit(self.X, self.y)
        return time.perf_counter() - begun, float(np.mean(self.model.loss_curve_))


def keras_network(work: DenseNet, dtype: str) -> Any:
    """The workload's network with its parameters."""
    import keras

    *hidden, last = work.sizes[1:]
    layers = [keras.layers.Dense(units, work.activation, dtype=dtype) for units in hidden]
    net = keras.Sequential([keras.Input(work.sizes[:1], dtype=dtype), *layers, keras.layers.Dense(last, dtype=dtype)])
    net.set_weights(work.params(dtype))
    return net


class Keras(Trainer):
    """`fit`, with its defaults, on JAX: it compiles a step."""

    environment = {"KERAS_BACKEND": "jax"}  # noqa: RUF012

    def prepare(self) -> None:
        import keras

        super().prepare()
        work = self.work
        self.net = keras_network(work, self.dtype)
        if work.optimizer == "sgd":
            self.rule = keras.optimizers.SGD(work.lr, weight_decay=work.decay)
            self.rule.exclude_from_weight_decay(var_list=[v for v in self.net.trainable_variables if len(v.shape) == 1])
        else:
            self.rule = keras.optimizers.Adam(work.lr, BETA1, BETA2, EPSILON)
        reduction = "sum" if work.reduction == "sum" else "sum_over_batch_size"
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
        self.net.compile(optimizer=self.rule, loss=loss)
        self.rule.build(self.net.trainable_variables)
        self.first = [np.array(v) for v in self.rule.variables]

    def run(self, epochs: int) -> tuple[float, float]:
        self.net.set_weights(self.work.params(self.dtype))
        for variable, first in zip(self.rule.variables, self.first, strict=True):
            variable.assign(first)
        begun = time.perf_counter()
        history = self.net.fit(self.X, self.y, batch_size=self.work.batch, epochs=epochs, shuffle=False, verbose=0)
        return time.perf_counter() - begun, float(np.mean(history.history["loss"]))


def tinygrad_outputs(work: DenseNet, params: list[Any], x: Any) -> Any:
    """The network."""
    for i in range(0, len(params) - 2, 2):
        x = x.linear(params[i], params[i + 1])
        x = x.tanh() if work.activation == "tanh" else x.relu()
    return x.linear(params[-2], params[-1])


class Tinygrad(Trainer):
    """A step in `TinyJit`."""

    environment = {"DEV": "CPU"}  # noqa: RUF012

    def prepare(self) -> None:
        os.environ["OPTIM_DTYPE"] = self.dtype
        from tinygrad import Device, Tensor, TinyJit
        from tinygrad.helpers import Context
        from tinygrad.nn.optim import SGD, Adam, OptimizerGroup

        super().prepare()
        work = self.work
        self.device, self.context = Device[Device.DEFAULT], Context
        parts = self.cut(self.X, self.y.astype("int32"))  # TinyJit takes tensors of their own, not parts of one
        self.batches = [(Tensor(x).realize(), Tensor(y).realize()) for x, y in parts]
        self.params = [Tensor(p).realize() for p in work.params(self.dtype)]
        self.total = Tensor(np.zeros(1, self.dtype)).realize()  # without an axis it would be a constant
        if work.optimizer == "sgd":
            self.rule = OptimizerGroup(
                SGD(self.params[::2], work.lr, weight_decay=work.decay), SGD(self.params[1::2], work.lr)
            )
        else:
            self.rule = Adam(self.params, work.lr, BETA1, BETA2, EPSILON)

        def step(x: Any, y: Any) -> Any:
            self.rule.zero_grad()
            outputs = tinygrad_outputs(work, self.params, x)
            loss = outputs.sparse_categorical_crossentropy(y, reduction=work.reduction).backward()
            total = self.total.assign(self.total + loss.detach())  # the result of a TinyJit is overwritten by the next
            Tensor.realize(total, *self.rule.schedule_step())

        self.step = TinyJit(step)

    def run(self, epochs: int) -> tuple[float, float]:
        self.restart()
        with self.context(TRAINING=1):
            begun = time.perf_counter()
            for x, y in self.batches * epochs:
                self.step(x, y)
            self.device.synchronize()
            seconds = time.perf_counter() - begun
        return seconds, self.total.item() / (epochs * self.work.batches)

    def restart(self) -> None:
        """The first parameters and the optimizer's first moments."""
        from tinygrad import Tensor

        self.total.assign(self.total.zeros_like()).realize()
        for p, first in zip(self.params, self.work.params(self.dtype), strict=True):
            p.assign(Tensor(first)).realize()
        if self.work.optimizer == "adam":
            for moment in self.rule.m + self.rule.v:
                moment.assign(moment.zeros_like()).realize()
            for power in (self.rule.b1_t, self.rule.b2_t):
                power.assign(power.ones_like()).realize()


RUNTIMES: dict[str, type[Trainer]] = {
    "products alone": Products,
    "NumPy by hand": NumPy,
    "autograd": Autograd,
    "nnarray, NumPy": NnarrayPlain,
    "nnarray, NumPy + Numba": NnarrayFast,
    "nnarray, PyTorch": NnarrayTorch,
    "nnarray, JAX": NnarrayJax,
    "PyTorch eager": Torch,
    "PyTorch fused optimizer": TorchFused,
    "torch.compile": TorchCompile,
    "JAX jit a step": Jax,
    "JAX scan": JaxScan,
    "Keras (JAX)": Keras,
    "tinygrad TinyJit": Tinygrad,
    "scikit-learn": ScikitLearn,
}
