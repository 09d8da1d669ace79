"""Training steps of a recurrent language model beside PyTorch: python benchmarks/recurrent.py --help.

In one process the runtimes take turns, so that what else the machine does meets all of them. Processor time is shown
too, because other processes disturb it less than the time by the clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
import typer

import nnarray as nn

VOCABULARY, LENGTH, BATCH = 65, 64, 12
STEPS = 8  # of a turn
KINDS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
Turn = Callable[[], None]


class Characters(torch.nn.Module):
    """`nn.models.char_rnn` in PyTorch's modules."""

    def __init__(self, kind: str, units: int) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(VOCABULARY, units)
        self.rnn, self.head = KINDS[kind](units, units, batch_first=True), torch.nn.Linear(units, VOCABULARY)

    def forward(self, tokens: Any) -> Any:
        return self.head(self.rnn(self.tokens(tokens))[0])


def tokens() -> Any:
    """The inputs of all steps of a turn, and one token more."""
    return np.random.default_rng(0).integers(0, VOCABULARY, (STEPS * BATCH, LENGTH + 1))


def pytorch(kind: str, units: int) -> Turn:
    """Steps of PyTorch, in eager mode."""
    network, given = Characters(kind, units), torch.tensor(tokens())
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def turn() -> None:
        for part in given.split(BATCH):
            logits = network(part[:, :-1]).reshape(-1, VOCABULARY)
            loss = torch.nn.functional.cross_entropy(logits, part[:, 1:].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return turn


def ours(kind: str, units: int, backend: str) -> Turn:
    """Steps of `fit`: an epoch."""
    model = nn.models.char_rnn(VOCABULARY, units, cell=kind).init((LENGTH,), seed=0, backend=backend, dtype="float32")
    given = nn.backend(backend).asarray(tokens())
    X, y = given[:, :-1], given[:, 1:]

    def turn() -> None:
        model.fit(X, y, optimizer=nn.Adam(1e-3), batch_size=BATCH, epochs=1, shuffle=False, progress=False)

    return turn


def measured(turns: dict[str, Turn], repeats: int) -> dict[str, tuple[float, float]]:
    """The median milliseconds of a step of each, by the clock and of the processor, after two turns to warm up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    for i in range(repeats + 2):
        for name, turn in turns.items():
            clock, processor = time.perf_counter(), time.process_time()
            turn()
            spent = time.perf_counter() - clock, time.process_time() - processor
            if i >= 2:
                times[name].append(spent)
    return {
        name: tuple(1000 * statistics.median(column) / STEPS for column in zip(*each, strict=True))  # type: ignore[misc]
        for name, each in times.items()
    }


def main(
    units: Annotated[int, typer.Option(help="The features of the state.")] = 128,
    repeats: Annotated[int, typer.Option(help="How many turns each runtime takes.")] = 15,
    threads: Annotated[int, typer.Option(help="How many threads PyTorch uses.")] = torch.get_num_threads(),
) -> None:
    """Time a step of each kind of cell, and show it beside PyTorch's."""
    torch.set_num_threads(threads)
    print(f"{BATCH} sequences of {LENGTH} tokens, {units} units; ms a step by the clock (processor), beside PyTorch")
    for kind in KINDS:
        turns = {"PyTorch": pytorch(kind, units)}
        turns |= {f"nnarray on {backend}": ours(kind, units, backend) for backend in ("numpy", "torch", "jax")}
        found = measured(turns, repeats)
        clock, processor = found["PyTorch"]
        for name, (ms, cpu) in found.items():
            print(f"{kind:5}{name:20}{ms:8.2f} ({cpu:6.2f})  {ms / clock:5.2f} ({cpu / processor:.2f})", flush=True)


if __name__ == "__main__":
    typer.run(main)
