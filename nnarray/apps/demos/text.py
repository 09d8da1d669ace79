"""The text demo: a small transformer learns to write tales, character by character."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nnarray import plotting
from nnarray.backends import Backend
from nnarray.datasets.tales import tales
from nnarray.datasets.tokens import TokenWindows, token_windows
from nnarray.model import Model
from nnarray.models import gpt
from nnarray.optimizers import AdamW
from nnarray.schedules import Cosine
from nnarray.text.characters import CharacterTokenizer
from nnarray.training.callbacks import Run
from nnarray.training.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TALES, LENGTH, FEATURES, HEADS, BLOCKS, BATCH, STEPS, RATE = 1500, 64, 64, 4, 2, 16, 100, 3e-3
PROMPT = "There was once"
PART = 48  # characters of the figure of attention


class TextStart(NamedTuple):
    """An untrained model, and the text as windows."""

    model: Model
    train: TokenWindows
    held_out: TokenWindows


class TextFit(NamedTuple):
    """A trained model, with its samples while it was learning."""

    model: Model
    history: History
    samples: list[tuple[int, str]]
    """The number of an epoch, and what the model wrote after it."""


def untrained_text(be: Backend, *, seed: int) -> TextStart:
    """The text of the demo, and a model that has not seen it."""
    text = tales(TALES, seed=seed)
    tokenizer = CharacterTokenizer.of(text)
    tokens = np.asarray(tokenizer.encode(text), np.uint8)
    cut = len(tokens) * 19 // 20
    network = gpt(len(tokenizer), FEATURES, BLOCKS, HEADS, activation="relu")
    model = network.init((LENGTH,), seed=seed, backend=be, dtype="float32")
    model.tokenizer = tokenizer
    return TextStart(model, token_windows(tokens[:cut], LENGTH), token_windows(tokens[cut:], LENGTH))


def fit_text(
    start: TextStart, *, epochs: int, seed: int, show: Callable[[int, str], None], watch: Callable[[Run], None]
) -> TextFit:
    """Train; `show` gets a sample of the model after some epochs, while it learns."""
    model, samples = start.model, list[tuple[int, str]]()

    def sample(run: Run) -> None:
        if run.epoch in {1, epochs} or run.epoch % max(epochs // 4, 1) == 0:
            text = model.generate(PROMPT, max_tokens=80, temperature=0.7, seed=seed)
            samples.append((run.epoch, PROMPT + text))
            show(*samples[-1])

    history = model.fit(
        start.train.batches(BATCH, steps_per_epoch=STEPS, seed=seed),
        loss="cross_entropy",
        optimizer=AdamW(Cosine(RATE, epochs), weight_decay=0.1),
        epochs=epochs,
        validation=(start.held_out, start.held_out.targets),
        callbacks=[watch, sample],
        seed=seed,
        progress=False,
    )
    return TextFit(model, history, samples)


def draw_text(fit: TextFit) -> Figure:
    """Draw the loss, and the weights of attention of each head of the last block for a text of its own."""
    text = fit.samples[-1][1][: min(PART, LENGTH)]
    with plotting.picture(13.0, 8.0) as figure:
        figure.suptitle("A small transformer that learns to write tales: its loss, and which characters it reads")
        axes: Any = figure.subplots(2, 3)
        curve, mean, *heads = axes.ravel()
        curve.set_title("Loss in nats per character")
        plotting.plot_history(fit.history, ax=curve)
        for head, each in zip((None, *range(HEADS)), (mean, *heads), strict=True):
            plotting.plot_attention(fit.model, text, head=head, ax=each)
    return figure
