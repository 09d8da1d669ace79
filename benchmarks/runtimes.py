"""Who is timed. Each trains for some epochs from the same parameters and gives back the mean loss of these steps."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from workloads import Workload

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Runtime:
    """`prepare` once, then `run(epochs) -> (seconds, mean loss)`, always from the first parameters."""

    checked = True  # whether its loss can be compared with the others'

    def __init__(self, workload: Workload, dtype: str, threads: int) -> None:
        self.work, self.dtype, self.threads = workload, dtype, threads
        self.X, self.y = workload.data(dtype)
        self.prepare()

    def prepare(self) -> None: ...

    def run(self, epochs: int) -> tuple[float, float]:
        raise NotImplementedError

    def cut(self, X: Any, y: Any) -> list[tuple[Any, Any]]:
        """The batches of one epoch."""
        parts = (slice(i * self.work.batch, (i + 1) * self.work.batch) for i in range(self.work.batches))
        return [(X[part], y[part]) for part in parts]


class Nnarray(Runtime):
    """Through the public API: `model.fit`, whatever it adds included."""

    flag = "numpy"

    def prepare(self) -> None:
        import nnarray as nn

        self.nn, work = nn, self.work
        *hidden, last = work.sizes[1:]
        self.backend = nn.backend(self.flag)
        net = nn.Network(*(nn.Dense(units, work.activation) for units in hidden), nn.Dense(last))
        self.model = net.init((work.sizes[0],), backend=self.backend, dtype=self.dtype)
        self.first = dict(zip(self.model.params, work.params(self.dtype), strict=True))
        self.inputs, self.labels = self.backend.asarray(self.X), self.backend.asarray(self.y)

    def run(self, epochs: int) -> tuple[float, float]:
        nn, work = self.nn, self.work
        self.model.set_params(self.first)
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


class NnarrayTorch(Nnarray):
    flag = "torch"

    def prepare(self) -> None:
        import torch

        torch.set_num_threads(self.threads)
        super().prepare()


class NnarrayJax(Nnarray):
    flag = "jax"


class NumPy(Runtime):
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


class Products(Runtime):
    """The matrix products of the workload alone, into memory that is there: the physical limit."""

    checked = False

    def prepare(self) -> None:
        rng, batch = np.random.default_rng(0), self.work.batch
        self.calls = []
        for i, (fan_in, units) in enumerate(zip(self.work.sizes, self.work.sizes[1:], strict=False)):
            x, w, dy = (
                rng.normal(size=s).astype(self.dtype) for s in ((batch, fan_in), (fan_in, units), (batch, units))
            )
            pairs = [(x, w), (x.T, dy)] + ([(dy, w.T)] if i else [])
            self.calls += [(a, b, np.empty((a.shape[0], b.shape[1]), self.dtype)) for a, b in pairs]

    def run(self, epochs: int) -> tuple[float, float]:
        begun = time.perf_counter()
        for _ in range(epochs * self.work.batches):
            for a, b, out in self.calls:
                np.dot(a, b, out)
        return time.perf_counter() - begun, float("nan")


class Torch(Runtime):
    """Eager, with the optimizer of `torch.optim`."""

    fused: bool | None = None

    def prepare(self) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(self.threads)
        self.batches = self.cut(torch.from_numpy(self.X), torch.from_numpy(self.y))

    def network(self) -> Any:
        nn, work, layers = self.torch.nn, self.work, []
        for fan_in, units in zip(work.sizes, work.sizes[1:], strict=False):
            layers += [nn.Linear(fan_in, units), nn.Tanh() if work.activation == "tanh" else nn.ReLU()]
        net = nn.Sequential(*layers[:-1]).to(getattr(self.torch, self.dtype))
        for p, first in zip(net.parameters(), work.params(self.dtype), strict=True):
            p.data = self.torch.from_numpy(first.T.copy())
        return net

    def run(self, epochs: int) -> tuple[float, float]:
        torch, work = self.torch, self.work
        net = self.network()
        weights, biases = ([p for p in net.parameters() if p.ndim == n] for n in (2, 1))
        groups = [{"params": weights, "weight_decay": work.decay}, {"params": biases}]
        optimizer = torch.optim.SGD if work.optimizer == "sgd" else torch.optim.Adam
        rule = optimizer(groups, lr=work.lr, fused=self.fused)
        losses = []
        begun = time.perf_counter()
        for x, y in self.batches * epochs:
            rule.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x), y, reduction=work.reduction)
            loss.backward()
            rule.step()
            losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())
        return time.perf_counter() - begun, mean


class TorchFused(Torch):
    """The same with the fused optimizer."""

    fused = True


class Jax(Runtime):
    """A step compiled by `jit`, called from Python; it may write over the old parameters."""

    def prepare(self) -> None:
        import jax

        self.jax, work = jax, self.work
        jnp = jax.numpy
        self.batches = self.cut(jnp.asarray(self.X), jnp.asarray(self.y))
        self.first = [jnp.asarray(p) for p in work.params(self.dtype)]

        def loss_of(params: Any, x: Any, y: Any) -> Any:
            for i in range(0, len(params) - 2, 2):
                x = (jnp.tanh if work.activation == "tanh" else jax.nn.relu)(x @ params[i] + params[i + 1])
            logs = jax.nn.log_softmax(x @ params[-2] + params[-1])
            losses = -jnp.take_along_axis(logs, y[:, None], axis=1)
            return losses.sum() if work.reduction == "sum" else losses.mean()

        def update(carry: Any, batch: Any) -> Any:
            params, means, squares, t = carry
            loss, found = jax.value_and_grad(loss_of)(params, *batch)
            t = t + 1
            if work.optimizer == "sgd":
                new = [
                    p - work.lr * (g + work.decay * p if p.ndim == 2 else g) for p, g in zip(params, found, strict=True)
                ]
                return (new, means, squares, t), loss
            means = [BETA1 * m + (1 - BETA1) * g for m, g in zip(means, found, strict=True)]
            squares = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(squares, found, strict=True)]
            c1, c2 = 1 - BETA1**t, 1 - BETA2**t
            new = [
                p - work.lr * (m / c1) / (jnp.sqrt(v / c2) + EPSILON)
                for p, m, v in zip(params, means, squares, strict=True)
            ]
            return (new, means, squares, t), loss

        self.update = update
        self.step = jax.jit(update, donate_argnums=0)

    def start(self) -> Any:
        """The first parameters and, for Adam, moments of 0; copies, since a step consumes them."""
        jnp, adam = self.jax.numpy, self.work.optimizer == "adam"
        means, squares = ([jnp.zeros_like(p) for p in self.first] if adam else [] for _ in range(2))
        return [jnp.array(p) for p in self.first], means, squares, jnp.zeros((), self.dtype)

    def run(self, epochs: int) -> tuple[float, float]:
        carry, losses = self.jax.block_until_ready(self.start()), []
        begun = time.perf_counter()
        for batch in self.batches * epochs:
            carry, loss = self.step(carry, batch)
            losses.append(loss)
        self.jax.block_until_ready(carry)
        seconds = time.perf_counter() - begun
        return seconds, float(np.mean(losses))


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
        carry = self.jax.block_until_ready(self.start())
        begun = time.perf_counter()
        _, losses = self.jax.block_until_ready(self.loop(carry, epochs))
        return time.perf_counter() - begun, float(losses.mean())


class ScikitLearn(Runtime):
    """`MLPClassifier.fit` without its stopping rules.

    For two classes it has one output instead of two, so that only workloads with more classes are checked.
    """

    def prepare(self) -> None:
        from sklearn.neural_network import MLPClassifier

        work, params = self.work, self.work.params(self.dtype)
        self.checked = work.sizes[-1] > 2
        if not self.checked:
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


RUNTIMES: dict[str, type[Runtime]] = {
    "products alone": Products,
    "nnarray, NumPy": Nnarray,
    "nnarray, PyTorch": NnarrayTorch,
    "nnarray, JAX": NnarrayJax,
    "NumPy by hand": NumPy,
    "PyTorch eager": Torch,
    "PyTorch fused optimizer": TorchFused,
    "JAX jit a step": Jax,
    "JAX scan": JaxScan,
    "scikit-learn": ScikitLearn,
}
