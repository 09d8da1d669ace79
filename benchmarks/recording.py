"""What gradients of functions cost: `nn.grad` against the function alone, autograd, and hand-written pullbacks.

All take turns, and the shortest time of each counts. One thread is measured: set OMP_NUM_THREADS=1 before.
"""

from __future__ import annotations

import argparse
import itertools
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import nnarray as nn
from nnarray.backends import namespace
from nnarray.recording import value_and_gradient

Calls = dict[str, Callable[[], Any]]


def cross_entropy(xp: Any, logits: Any, targets: Any) -> Any:
    z = logits - xp.max(logits, axis=1, keepdims=True)
    return -xp.mean(xp.sum(targets * (z - xp.log(xp.sum(xp.exp(z), axis=1, keepdims=True))), axis=1))


def plain_loss(xp: Any, p: Any, X: Any, targets: Any) -> Any:
    """A network with tanh in between; `p` has the weights and biases of its layers, one after the other."""
    for i in range(0, len(p), 2):
        X = xp.matmul(X, p[i]) + p[i + 1]
        if i + 2 < len(p):
            X = xp.tanh(X)
    return cross_entropy(xp, X, targets)


def recorded_loss(p: Any, X: Any, targets: Any) -> Any:
    return plain_loss(namespace(p[0]), p, X, targets)


def weights_of(sizes: tuple[int, ...], dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(0, m**-0.5, (m, n)), np.zeros(n)) for m, n in itertools.pairwise(sizes)]
    return [each.astype(dtype) for pair in pairs for each in pair]


def small() -> Calls:
    """2-5-2, 200 points, float64: what counts is the cost of an operation."""
    X, y = nn.datasets.moons(200, noise=0.1, seed=0)
    X, targets = np.asarray(X, dtype=np.float64), np.eye(2)[np.asarray(y, dtype=np.int64)]
    p = weights_of((2, 5, 2), "float64")
    recorded = value_and_gradient(recorded_loss)
    calls: Calls = {
        "the loss alone": lambda: recorded_loss(p, X, targets),
        "its value and gradient": lambda: recorded(p, X, targets),
    }
    try:
        import autograd
        import autograd.numpy
    except ImportError:
        return calls
    other = autograd.value_and_grad(lambda p, X, targets: plain_loss(autograd.numpy, p, X, targets))
    return calls | {"autograd": lambda: other(p, X, targets)}


def large() -> Calls:
    """784-512-256-10, batch 128, float32: the products count."""
    sizes = (784, 512, 256, 10)
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(128, 784)).astype(np.float32), rng.integers(0, 10, 128)
    targets = np.eye(10, dtype=np.float32)[y]
    p = weights_of(sizes, "float32")
    layers = [nn.Dense(n, "tanh") for n in sizes[1:-1]]
    model = nn.Network(*layers, nn.Dense(10)).init((784,), seed=0, backend="numpy", dtype="float32", engine="layers")
    recorded = value_and_gradient(recorded_loss)
    return {
        "hand-written pullbacks": lambda: nn.value_and_grad(model, X, y, loss="cross_entropy"),
        "recorded": lambda: recorded(p, X, targets),
    }


def in_turns(calls: Calls, seconds: float) -> dict[str, float]:
    """The shortest time of a call, in seconds of this thread."""
    best = dict.fromkeys(calls, float("inf"))
    once = {name: shortest(call, 1) for name, call in calls.items()}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, call in calls.items():
            best[name] = min(best[name], shortest(call, max(1, int(0.02 / once[name]))))
    return best


def shortest(call: Callable[[], Any], times: int) -> float:
    call()
    start = time.thread_time()
    for _ in range(times):
        call()
    return max((time.thread_time() - start) / times, 1e-9)


def peak(call: Callable[[], Any]) -> int:
    """The most memory that a call has at once, in bytes."""
    call()
    tracemalloc.start()
    call()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each comparison")
    seconds = parser.parse_args().seconds
    for title, calls in (("2-5-2, 200 points", small()), ("784-512-256-10, batch 128", large())):
        print(title)
        for name, each in in_turns(calls, seconds).items():
            print(f"  {name:24} {each * 1e6:10.1f} us  {peak(calls[name]) / 2**20:8.2f} MiB")


if __name__ == "__main__":
    main()
