"""Train a small language model of characters and its transcription in PyTorch, and compare how their losses fall.

Both begin with the same weights, and take the same batches and AdamW: python benchmarks/language_losses.py --help.
The text is made by `nn.datasets.tales`, or read from --text. Its last tenth is for validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import nnarray as nn

F = torch.nn.functional


@dataclass(frozen=True)
class Setting:
    """The network and its training."""

    layers: int = 4
    heads: int = 4
    size: int = 128
    length: int = 64
    batch_size: int = 12
    epochs: int = 4
    steps_per_epoch: int = 50
    rate: float = 1e-3


class Compared:
    """A text, the model of its characters, and the transcription with the same weights."""

    def __init__(self, text: str, setting: Setting, backend: str | nn.Backend) -> None:
        self.setting = setting
        tokenizer = nn.text.CharacterTokenizer.of(text)
        tokens = tokenizer.encode(text)
        held_out = len(tokens) // 10
        self.optimizer = nn.AdamW(setting.rate)
        self.batches = nn.datasets.token_windows(tokens[:-held_out], setting.length).batches(
            setting.batch_size, steps_per_epoch=setting.steps_per_epoch, seed=0
        )
        self.validation = nn.datasets.token_windows(tokens[-held_out:], setting.length)
        network = nn.models.gpt(len(tokenizer), setting.size, setting.layers, setting.heads)
        self.model = network.init((setting.length,), seed=0, backend=backend, dtype="float32")
        host = self.model.to("numpy").params
        self.weights = {name: torch.tensor(x, requires_grad=True) for name, x in host.items()}

    def ours(self) -> list[float]:
        """The validation loss after each epoch."""
        history = self.model.fit(
            self.batches,
            epochs=self.setting.epochs,
            optimizer=self.optimizer,
            validation=(self.validation, self.validation.targets),
            progress=False,
        )
        return history["val_loss"]

    def theirs(self) -> list[float]:
        """The same of the transcription."""
        made, found = self.optimizer, list[float]()
        decaying = [x for x in self.weights.values() if x.ndim == 2]
        others = [x for x in self.weights.values() if x.ndim != 2]  # biases, and the scales of normalisations
        optimizer = torch.optim.AdamW(
            [{"params": decaying, "weight_decay": made.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=self.setting.rate,
            betas=(made.beta1, made.beta2),
            eps=made.epsilon,
        )
        for epoch in range(self.setting.epochs):
            for X, y in self.batches.epoch(epoch):
                optimizer.zero_grad()
                self._loss(X, y).backward()
                optimizer.step()
            found.append(self._validated())
        return found

    def _loss(self, X: Any, y: Any) -> Any:
        logits = transcribed(self.weights, torch.as_tensor(X), self.setting.heads)
        return F.cross_entropy(logits.flatten(0, 1), torch.as_tensor(y).flatten())

    @torch.no_grad()
    def _validated(self) -> float:
        whole = slice(0, len(self.validation))
        X, y = self.validation.rows(whole), self.validation.targets.rows(whole)
        parts = [slice(i, i + 64) for i in range(0, len(X), 64)]
        return sum(float(self._loss(X[part], y[part])) * len(X[part]) for part in parts) / len(X)


def transcribed(w: Mapping[str, Any], tokens: Any, heads: int) -> Any:
    """The logits of `nn.models.gpt` in PyTorch's functions; the weights are those of the model, (inputs, outputs)."""
    w = {name.removeprefix("tied."): x for name, x in w.items()}

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    def linear(x: Any, name: str, kind: str = "") -> Any:
        return F.linear(x, w[f"{name}.{kind}weight"].T, w[f"{name}.{kind}bias"])

    x = w["tokens.weight"][tokens] + w["positions.weight"][: tokens.shape[1]]
    for i in range(sum(name.endswith("heads.weight") for name in w)):
        attention, mlp = f"{i}.attention", f"{i}.mlp"
        z = linear(norm(x, f"{attention}.norm"), f"{attention}.heads")
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in z.chunk(3, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + linear(y, f"{attention}.heads", "out_")
        x = x + linear(F.gelu(linear(norm(x, f"{mlp}.norm"), f"{mlp}.hidden")), f"{mlp}.out")
    return norm(x, "norm") @ w["tokens.weight"].T


def main(
    epochs: Annotated[int, typer.Option(min=1, help="Of 50 steps; the losses are computed after each.")] = 4,
    backend: Annotated[str, typer.Option(help="Where nnarray computes.")] = "numpy",
    text: Annotated[Path | None, typer.Option(help="A text file; tales of a grammar if there is none.")] = None,
) -> None:
    """Print both validation losses after each epoch, and by how much they differ."""
    given = nn.datasets.tales(600) if text is None else text.read_text(encoding="utf-8")
    setting = Setting(epochs=epochs)
    compared = Compared(given, setting, backend)
    print(f"{compared.model.theta.shape[0]:,} parameters on {backend}, {len(given):,} characters")
    print("step   nnarray   PyTorch   difference")
    for i, (ours, theirs) in enumerate(zip(compared.ours(), compared.theirs(), strict=True), 1):
        print(f"{i * setting.steps_per_epoch:4}  {ours:8.5f}  {theirs:8.5f}   {abs(ours / theirs - 1):.2e}")


if __name__ == "__main__":
    typer.run(main)
