"""PyTorch's own versions of more kernels: gradients of products, heads next to each other, labels, weight decay."""

from __future__ import annotations

import math
from typing import Any

import torch

from nnarray import kernels
from nnarray.kernels.torch import is_plain, stands_in


@kernels.affine_pullback.fast("torch")
def affine_pullback(dy: Any, x: Any, weight: Any, *, input_gradient: bool = True, bias_gradient: bool = True) -> Any:
    """On the host as products of matrices, without a look at what the axes are."""
    if not (is_plain(dy, x, weight) and dy.dtype == x.dtype == weight.dtype):
        asked = {"input_gradient": input_gradient, "bias_gradient": bias_gradient}
        return kernels.affine_pullback.definition(dy, x, weight, **asked)
    rows, inputs = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    dx = torch.mm(rows, weight.T).reshape(x.shape) if input_gradient else None
    return dx, torch.mm(inputs.T, rows), rows.sum(0) if bias_gradient else None


@kernels.joined_heads.fast("torch")
def joined_heads(*parts: Any) -> Any:
    """Each number moved once: not into rows of each part first."""
    moved = [part.transpose(1, 2) for part in parts]
    return (moved[0] if len(moved) == 1 else torch.cat(moved, dim=2)).flatten(2)


@kernels.cross_entropy_of_labels.fast("torch")
def cross_entropy_of_labels(logits: Any, labels: Any) -> Any:
    """On the host in PyTorch's logarithms of probabilities, if all logits are finite: labels stay numbers."""
    if not _is_usual(logits, labels):
        return kernels.cross_entropy_of_labels.definition(logits, labels)
    losses, gradient = _of_labels(logits, labels, 1.0)
    return losses, gradient


@kernels.reduced_cross_entropy_of_labels.fast("torch")
def reduced_cross_entropy_of_labels(logits: Any, labels: Any, *, total: int | None) -> Any:
    """In the same way."""
    if not _is_usual(logits, labels):
        return kernels.reduced_cross_entropy_of_labels.definition(logits, labels, total=total)
    count = 1 if total is None else total
    losses, gradient = _of_labels(logits, labels, 1.0 / count)
    return (losses if total is None else losses / count).sum(), gradient


def _is_usual(logits: Any, labels: Any) -> bool:
    """Whether the logits are finite, as their sum shows, and the labels are there."""
    usual = (
        is_plain(logits)
        and labels.is_cpu
        and not stands_in(labels)
        and logits.numel() > 0
        and math.isfinite(logits.sum())
    )
    return usual and int(labels.min()) >= 0 and int(labels.max()) < logits.shape[-1]


def _of_labels(logits: Any, labels: Any, scale: float) -> tuple[Any, Any]:
    """The losses, and the gradient of their sum times `scale`."""
    known, places = torch.log_softmax(logits, -1), labels.long()[..., None]
    losses = -known.gather(-1, places)[..., 0]
    gradient = known.exp_().mul_(scale)
    return losses, gradient.scatter_add_(-1, places, gradient.new_full((), -scale).expand(places.shape))


@kernels.shrunk.fast("torch")
def shrunk(theta: Any, decays: Any, *, factor: Any) -> Any:
    """In one pass."""
    if not isinstance(factor, float) or not is_plain(theta, decays) or theta.dtype != decays.dtype:
        return kernels.shrunk.definition(theta, decays, factor=factor)
    return torch.addcmul(theta, theta, decays, value=-factor)
