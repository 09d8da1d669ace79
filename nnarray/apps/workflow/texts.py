"""The work of the commands for text: a language model of a text file, and what it continues."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nnarray.apps.workflow.model_files import (
    DIGEST,
    epochs_if_ended,
    file_to_resume,
    finish,
    origin_now,
    refuse_to_resume,
    unfinished_file,
)
from nnarray.apps.workflow.stopping import Ended, stopping
from nnarray.backends import Backend
from nnarray.checks import integer, real
from nnarray.datasets.scratch import address_space, closed_at_errors, is_too_much, room, without_name
from nnarray.datasets.tokens import TokenWindows, token_windows, tokenized, tokens_dtype, tokens_in
from nnarray.model import Model
from nnarray.models import gpt
from nnarray.names import named
from nnarray.network import load as load_model
from nnarray.optimizers import ALSO, OPTIMIZERS, AdamW
from nnarray.text.characters import ByteTokenizer, CharacterTokenizer, OfBytes
from nnarray.text.pairs import BytePairTokenizer
from nnarray.text.reading import text_in
from nnarray.text.tokenizer import Tokenizer
from nnarray.training.checkpoints import Checkpoint

TOKENIZERS = ("characters", "bytes", "pairs")
BATCH, STEPS, FEWEST = 32, 2_000, 50  # windows of a step; steps of a training; steps of an epoch at least
DIGITS = 16  # hexadecimal ones, of a digest
HELD_OUT = 2**24  # logits of the held-out windows that are computed at once, at most


@dataclass(frozen=True)
class TextPlan:
    """The settings of the training of a language model. A setting that is None follows from the text."""

    tokenizer: str = "characters"
    vocabulary: int = 1000
    """Of the tokenizer "pairs"."""
    context: int = 64
    """The number of tokens that the model sees."""
    blocks: int = 4
    heads: int = 4
    features: int = 128
    dropout: float = 0.0
    optimizer: str | None = None
    lr: float | None = None
    epochs: int | None = None
    batch_size: int = BATCH
    validation: float = 0.1
    early_stopping: bool | None = None
    patience: int | None = None
    checkpoint_every: int = 1
    resume: bool = False
    seed: int = 0
    dtype: str = "float32"
    encoding: str = "utf-8"
    scratch: Path | None = None

    def __post_init__(self) -> None:
        named(self.tokenizer, dict.fromkeys(TOKENIZERS), "--tokenizer")
        for name, usual in (("context", 64), ("blocks", 4), ("heads", 4), ("features", 128), ("batch_size", BATCH)):
            integer(getattr(self, name), f"--{name.replace('_', '-')}", 1, usual=usual)
        integer(self.vocabulary, "--vocabulary", 257, usual=1000)
        integer(self.checkpoint_every, "--checkpoint-every", 1, usual=1)
        if self.epochs is not None:
            integer(self.epochs, "--epochs", 1, usual=10)
        if self.patience is not None:
            integer(self.patience, "--patience", 0, usual=10)
        real(self.validation, "--validation", least=0.0, below=1.0, usual=0.1)
        real(self.dropout, "--dropout", least=0.0, below=1.0, usual=0.1)
        if self.features % self.heads:
            raise ValueError(f"--heads must divide --features, {self.features}; got {self.heads}.")


class Texts(NamedTuple):
    """A text as tokens: a part to train on, and the end of it, which is held out."""

    name: str
    tokenizer: Tokenizer
    train: TokenWindows
    held_out: TokenWindows | None
    held_tokens: int
    tokens: np.ndarray
    """All of them."""


class TextTrained(NamedTuple):
    """A language model that has been trained."""

    model: Model
    loss: float
    """The mean loss of a token, in nats: of the held-out part if there is one, else of the last epoch."""
    by_frequency: float
    """The same, if each token is predicted by how often it is there."""
    held_out: bool
    stopped: str | None
    best_epoch: int | None
    idle: bool
    """Whether it had ended before, so that nothing was left to do."""


# --- Reading ---------------------------------------------------------------------------------------------------------


def read(path: Path, plan: TextPlan) -> Texts:
    """The tokens of a text file; in a file without a name if the memory cannot hold them.

    Raises
    ------
    OSError, ValueError
        If the file does not exist, is empty, has another encoding, or is too short.
    """
    tokenizer = tokenizer_of(path, plan)
    tokens = _tokens(path, tokenizer, plan)
    if len(tokenizer) == 1:
        raise ValueError(
            f"{str(path)!r} has one character only, {tokenizer.tokens[0]!r}, again and again, so that there is nothing "
            f"to predict. Pass another text."
        )
    cut = len(tokens) - round(plan.validation * len(tokens))
    length = plan.context
    if cut <= length or (plan.validation and len(tokens) - cut <= length):
        part = f"of which {len(tokens) - cut} are held out" if plan.validation else "all to train on"
        raise ValueError(
            f"{str(path)!r} has {len(tokens)} tokens, {part}: too few for windows of {length} tokens. Pass a longer "
            f"text, a smaller --context, or --validation 0."
        )
    held = None if not plan.validation else _held_out(tokens[cut:], length, len(tokenizer))
    return Texts(path.name, tokenizer, token_windows(tokens[:cut], length), held, len(tokens) - cut, tokens)


def tokenizer_of(path: Path, plan: TextPlan) -> Tokenizer:
    """The tokenizer of the plan, made of the text."""
    if plan.tokenizer == "bytes":
        return ByteTokenizer()
    if plan.tokenizer == "pairs":
        return BytePairTokenizer.train(text_in(path, plan.encoding), plan.vocabulary)
    return CharacterTokenizer.of(text_in(path, plan.encoding))


def _tokens(path: Path, tokenizer: Tokenizer, plan: TextPlan) -> np.ndarray:
    if not is_too_much(8 * path.stat().st_size):
        return tokenized(path, tokenizer, encoding=plan.encoding)
    folder, dtype, count = plan.scratch or path.absolute().parent, tokens_dtype(tokenizer), 0
    with room(folder, path.stat().st_size), without_name(folder) as file, closed_at_errors(file):
        for part in tokens_in(path, tokenizer, plan.encoding):
            file.write(part.tobytes())
            count += len(part)
        file.flush()
        with address_space(count * dtype.itemsize):
            return np.memmap(file, dtype, "r", shape=(count,))


def _held_out(tokens: np.ndarray, length: int, size: int) -> TokenWindows:
    """Windows over all of the held-out part, but no more than are evaluated in a short time."""
    most = max(HELD_OUT // (length * size), 1)
    return token_windows(tokens, length, stride=max(length, -(-len(tokens) // most)))


# --- Training --------------------------------------------------------------------------------------------------------


def model_for(texts: Texts, plan: TextPlan, be: Backend) -> Model:
    """The untrained model, a transformer as in GPT-2, with its tokenizer."""
    network = gpt(len(texts.tokenizer), plan.features, plan.blocks, plan.heads, dropout=plan.dropout)
    model = network.init((plan.context,), seed=plan.seed, backend=be, dtype=plan.dtype)
    model.tokenizer = texts.tokenizer
    model.metadata["input"] = {"kind": "text"}
    model.metadata["data"] = {
        "name": texts.name,
        "tokens": len(texts.train.tokens) + texts.held_tokens,
        "trained on": len(texts.train.tokens),
        "held out": texts.held_tokens,
    }
    model.metadata[DIGEST] = _digest(texts)
    return model


def _digest(texts: Texts) -> str:
    """A digest of what a training sees, its tokens, and of what they stand for."""
    total = hashlib.sha256(json.dumps(texts.tokenizer.to_json()).encode())
    for part in _slices(texts.tokens):
        total.update(np.ascontiguousarray(part).data)
    return total.hexdigest()[:DIGITS]


def steps_per_epoch(texts: Texts, plan: TextPlan) -> int:
    """So many that an epoch has as many tokens as the text, but at least some."""
    return max(len(texts.train.tokens) // (plan.batch_size * plan.context), FEWEST)


def epochs_of(texts: Texts, plan: TextPlan) -> int:
    """Those of the plan; else enough for some thousand steps."""
    return plan.epochs or max(-(-STEPS // steps_per_epoch(texts, plan)), 1)


def train(
    model: Model, texts: Texts, plan: TextPlan, out: Path | None = None, callbacks: Sequence[Any] = ()
) -> TextTrained:
    """Train; the model with its scores replaces the file `out` in the end, and not before.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C; the last finished epoch is in the file beside, `unfinished_file(out)`.
    """
    epochs, held, ended = epochs_of(texts, plan), texts.held_out, Ended()
    stop = stopping(plan, held_out=held is not None, epochs=epochs)
    before = file_to_resume(out) if plan.resume and out is not None else None
    if before is not None:
        refuse_to_resume(before, model, stops=stop is not None)
    done_before = epochs_if_ended(out, before)
    model.fit(
        texts.train.batches(plan.batch_size, steps_per_epoch=steps_per_epoch(texts, plan), seed=plan.seed),
        loss="cross_entropy",
        optimizer=optimizer_for(plan),
        epochs=epochs,
        validation=None if held is None else (held, held.targets),
        callbacks=[*([stop] if stop else []), ended, *callbacks],
        seed=plan.seed,
        progress=False,
        checkpoint=None if out is None else Checkpoint(unfinished_file(out), every=plan.checkpoint_every),
        resume=before,
    )
    loss = model.history["loss"][-1] if held is None else _evaluated(model, held)
    model.metadata["scores"] = {
        "metrics": {"loss": loss, "perplexity": math.exp(loss)},
        "examples": texts.held_tokens if held else len(texts.train.tokens),
        "of": "held-out tokens" if held else "tokens of the training",
    }
    model.metadata["trained"] = origin_now()._asdict()
    idle = len(model.history["epoch"]) == done_before
    finish(out, model.metadata, idle=idle)
    best = stop.best_epoch if stop else None
    return TextTrained(model, loss, by_frequency(texts), held is not None, ended.reason, best, idle)


def _evaluated(model: Model, held: TokenWindows) -> float:
    y: Any = held.targets
    return model.evaluate(held, y, metrics=())["loss"]


def optimizer_for(plan: TextPlan) -> Any:
    """That of the plan; else AdamW."""
    lr: dict[str, Any] = {} if plan.lr is None else {"lr": plan.lr}
    if plan.optimizer is None:
        return AdamW(**lr, weight_decay=0.1)
    return named(plan.optimizer, OPTIMIZERS, "optimizer", ALSO)(**lr)


def by_frequency(texts: Texts) -> float:
    """The mean loss of a token if each is predicted by how often it is there in the training part."""
    size = len(texts.tokenizer)
    counts = _counts(texts.train.tokens, size)
    shown = counts if texts.held_out is None else _counts(texts.held_out.tokens, size)
    return float(-(shown * np.log((counts + 1.0) / (counts + 1.0).sum())).sum() / shown.sum())


def _counts(tokens: np.ndarray, size: int) -> np.ndarray:
    return sum((np.bincount(part, minlength=size) for part in _slices(tokens)), np.zeros(size, np.int64))


def _slices(tokens: np.ndarray, part: int = 2**22) -> Iterator[np.ndarray]:
    for start in range(0, len(tokens), part):
        yield tokens[start : start + part]


# --- Continuing ------------------------------------------------------------------------------------------------------


def load(path: Path, be: Backend, dtype: str | None = None) -> Model:
    """A language model with its tokenizer.

    Raises
    ------
    ValueError
        If the file is another model; the message says what it is for.
    """
    model = load_model(path, backend=be, dtype=dtype)
    if model.tokenizer is None:
        raise ValueError(
            f"{str(path)!r} has no tokenizer, so it is not a model of text. nnarray predict takes models of tables and "
            f"images; nnarray show says what it is."
        )
    return model


def first_prompt(model: Model) -> str:
    """Where a text begins if no prompt is given: at the beginning of a line, or with the first token."""
    tokenizer = model.tokenizer
    assert tokenizer is not None
    of_lines = "input" in model.metadata  # `nnarray train` puts no end into its tokens
    if tokenizer.end is not None and not of_lines:
        return ""
    return "\n" if isinstance(tokenizer, OfBytes) or "\n" in tokenizer.numbers else tokenizer.tokens[0]
