"""Who is timed. Each runs some steps from the same parameters and gives back the mean loss of these steps."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from workloads import Workload

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Runtime:
    """`prepare` once, then `run(steps) -> (seconds, mean loss)`, always from the first parameters."""

    checked = True

    def __init__(self, workload: Workload, dtype: str, threads: int) -> None:
        self.work, self.dtype, self.threads = workload, dtype, threads
        self.X, self.y = workload.data(dtype)
        self.prepare()

    def batch(self, step: int) -> slice:
        start = (step % self.work.batches) * self.work.batch
        return slice(start, start + self.work.batch)

    def prepare(self) -> None: ...

    def run(self, steps: int) -> tuple[float, float]:
        raise NotImplementedError


class Nnarray(Runtime):
    """Through the public API: `model.fit`, whatever it adds included."""

    flag = "numpy"

    def prepare(self) -> None:
        import nnarray as nn

        self.nn, work = nn, self.work
        *hidden, last = work.sizes[1:]
        self.backend = nn.backend(self.flag)
        self.net = nn.Network(*(nn.Dense(units, work.activation) for units in hidden), nn.Dense(last))
        self.model = self.net.init((work.sizes[0],), backend=self.backend, dtype=self.dtype)
        self.start = dict(zip(self.model.params, work.params(self.dtype), strict=True))
        self.inputs, self.labels = self.backend.asarray(self.X), self.backend.asarray(self.y)

    def run(self, steps: int) -> tuple[float, float]:
        nn, work = self.nn, self.work
        self.model.set_params(self.start)
        rows = min(steps, work.batches) * work.batch
        loss = nn.losses.CrossEntropy(reduction=work.reduction)
        rule = nn.SGD(work.lr, weight_decay=work.decay) if work.optimizer == "sgd" else nn.Adam(work.lr)
        self.backend.synchronize()
        begun = time.perf_counter()
        history = self.model.fit(
            self.inputs[:rows, ...],
            self.labels[:rows],
            loss=loss,
            optimizer=rule,
            epochs=max(steps // work.batches, 1),
            batch_size=work.batch,
            shuffle=False,
            check_finite=False,
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
    """As a person would write it after the notebook."""

    def run(self, steps: int) -> tuple[float, float]:
        work, params = self.work, [p.copy() for p in self.work.params(self.dtype)]
        moments = [(np.zeros_like(p), np.zeros_like(p)) for p in params]
        losses = []
        begun = time.perf_counter()
        for step in range(steps):
            rows = self.batch(step)
            x, y = self.X[rows], self.y[rows]
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
                mean, square = m / (1 - BETA1 ** (step + 1)), v / (1 - BETA2 ** (step + 1))
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
            triples = [(x, w), (x.T, dy)] + ([(dy, w.T)] if i else [])
            self.calls += [(a, b, np.empty((a.shape[0], b.shape[1]), self.dtype)) for a, b in triples]

    def run(self, steps: int) -> tuple[float, float]:
        begun = time.perf_counter()
        for _ in range(steps):
            for a, b, out in self.calls:
                np.dot(a, b, out)
        return time.perf_counter() - begun, float("nan")


class Torch(Runtime):
    """Eager, with the optimizer of `torch.optim`."""

    options: dict[str, Any] = {}  # noqa: RUF012

    def prepare(self) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(self.threads)
        self.inputs, self.labels = torch.from_numpy(self.X), torch.from_numpy(self.y)

    def network(self) -> Any:
        nn, work, layers = self.torch.nn, self.work, []
        for fan_in, units in zip(work.sizes, work.sizes[1:], strict=False):
            layers += [nn.Linear(fan_in, units), nn.Tanh() if work.activation == "tanh" else nn.ReLU()]
        net = nn.Sequential(*layers[:-1]).to(getattr(self.torch, self.dtype))
        for p, first in zip(net.parameters(), work.params(self.dtype), strict=True):
            p.data = self.torch.from_numpy(first.T.copy() if first.ndim == 2 else first.copy())
        return net

    def run(self, steps: int) -> tuple[float, float]:
        torch, work = self.torch, self.work
        net = self.network()
        forward = self.wrapped(net)
        weights, biases = [p for p in net.parameters() if p.ndim == 2], [p for p in net.parameters() if p.ndim == 1]
        if work.optimizer == "sgd":
            groups = [{"params": weights, "weight_decay": work.decay}, {"params": biases}]
            rule = torch.optim.SGD(groups, lr=work.lr, **self.options)
        else:
            rule = torch.optim.Adam(net.parameters(), lr=work.lr, **self.options)
        losses = []
        begun = time.perf_counter()
        for step in range(steps):
            rows = self.batch(step)
            rule.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                forward(self.inputs[rows]), self.labels[rows], reduction=work.reduction
            )
            loss.backward()
            rule.step()
            losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())
        return time.perf_counter() - begun, mean

    def wrapped(self, net: Any) -> Any:
        return net


class TorchFused(Torch):
    """The same with the fused optimizer."""

    options = {"fused": True}  # noqa: RUF012


class Jax(Runtime):
    """A step compiled by `jit`, called from Python."""

    def prepare(self) -> None:
        import jax

        self.jax, work = jax, self.work
        jnp = jax.numpy
        self.inputs, self.labels = jnp.asarray(self.X), jnp.asarray(self.y)
        self.first = [jnp.asarray(p) for p in work.params(self.dtype)]

        def loss_of(params: Any, x: Any, y: Any) -> Any:
            for i in range(0, len(params) - 2, 2):
                x = (jnp.tanh if work.activation == "tanh" else jax.nn.relu)(x @ params[i] + params[i + 1])
            logs = jax.nn.log_softmax(x @ params[-2] + params[-1])
            losses = -jnp.take_along_axis(logs, y[:, None], axis=1)
            return losses.sum() if work.reduction == "sum" else losses.mean()

        def update(carry: Any, x: Any, y: Any) -> Any:
            params, means, squares, t = carry
            loss, found = jax.value_and_grad(loss_of)(params, x, y)
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
        self.step = jax.jit(update)

    def start(self) -> Any:
        zeros = [p * 0 for p in self.first]
        return self.first, zeros, zeros, self.jax.numpy.zeros((), self.dtype)

    def run(self, steps: int) -> tuple[float, float]:
        carry, losses = self.start(), []
        begun = time.perf_counter()
        for step in range(steps):
            rows = self.batch(step)
            carry, loss = self.step(carry, self.inputs[rows], self.labels[rows])
            losses.append(loss)
        mean = float(self.jax.numpy.stack(losses).mean())
        return time.perf_counter() - begun, mean


class JaxScan(Jax):
    """The whole loop compiled, in `lax.scan`."""

    def prepare(self) -> None:
        super().prepare()
        jax, work = self.jax, self.work
        self.xs = self.inputs.reshape(work.batches, work.batch, -1)
        self.ys = self.labels.reshape(work.batches, work.batch)

        def loop(carry: Any, steps: int) -> Any:
            def body(carry: Any, step: Any) -> Any:
                return self.update(carry, self.xs[step % work.batches], self.ys[step % work.batches])

            return jax.lax.scan(body, carry, jax.numpy.arange(steps))

        self.loop = jax.jit(loop, static_argnums=1)

    def run(self, steps: int) -> tuple[float, float]:
        carry = self.start()
        begun = time.perf_counter()
        carry, losses = self.loop(carry, steps)
        mean = float(losses.mean())
        return time.perf_counter() - begun, mean


class ScikitLearn(Runtime):
    """`MLPClassifier.fit` with as many epochs; it starts from weights of its own, so its loss is not compared."""

    checked = False

    def run(self, steps: int) -> tuple[float, float]:
        import warnings

        from sklearn.neural_network import MLPClassifier

        work = self.work
        rows = min(steps, work.batches) * work.batch
        sgd = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": work.lr * work.batch, "alpha": work.decay}
        rule = sgd if work.optimizer == "sgd" else {"solver": "adam", "learning_rate_init": work.lr, "alpha": 0.0}
        model = MLPClassifier(
            work.sizes[1:-1],
            activation=work.activation,
            batch_size=work.batch,
            shuffle=False,
            max_iter=max(steps // work.batches, 1),
            tol=0.0,
            n_iter_no_change=10**9,
            random_state=0,
            **rule,
        )
        begun = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(self.X[:rows], self.y[:rows])
        return time.perf_counter() - begun, float("nan")


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
