"""How often the most likely classes are right, and how likely the right ones are."""

from __future__ import annotations

from dataclasses import dataclass

from nnarray import kernels
from nnarray.arguments import explained
from nnarray.backends import same_place
from nnarray.checks import integer
from nnarray.metrics.labels import (
    fraction,
    has_numbers,
    is_single,
    known_threshold,
    predicted_classes,
    spread_over,
    true_classes,
    true_labels,
)
from nnarray.typing import Array


@explained
def accuracy(
    outputs: Array,
    target: Array,
    *,
    multilabel: bool = False,
    threshold: float | None = None,
    weights: Array | None = None,
) -> Array:
    """The fraction of examples whose most likely class is the true one; an output of NaN is wrong.

    Parameters
    ----------
    outputs : array, shape (N, ..., K), or (N,) or (N, ..., 1) for logits of two classes
    target : array of labels, shape (N, ...), or of probabilities, shape of `outputs`
    multilabel : bool
        Whether each output is a label of its own, and `target` has their shape. Then it is the fraction of the labels,
        over all examples and outputs, that are predicted right: 1 - the Hamming loss.
    threshold : float, optional
        A label, or the second of two classes, is predicted if its output is above: 0 for logits, 0.5 for probabilities.
        If None it is 0, with a warning if all outputs lie from 0 to 1.
    weights : array, shape (N,), optional
        How much each example counts.

    Raises
    ------
    TypeError
        If labels of more than two classes are not integers.
    ValueError
        If there are no examples, the shapes do not fit, or a label is negative or not below the number of classes; if
        probabilities do not sum to 1, except with `multilabel`.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> float(nn.metrics.accuracy(be.asarray([[0.1, 2.0], [1.0, 0.0]]), be.asarray([1, 1])))
    0.5
    >>> float(nn.metrics.accuracy(be.asarray([[3.0, 2.0], [1.0, -1.0]]), be.asarray([[1, 1], [0, 0]]), multilabel=True))
    0.75
    """
    threshold = known_threshold(outputs, target, threshold, multilabel)
    if multilabel:
        hits = ((outputs > threshold) == true_labels(outputs, target)) & (outputs == outputs)
    else:
        hits = (predicted_classes(outputs, threshold) == true_classes(target, outputs)) & has_numbers(outputs)
    return fraction(hits, spread_over(weights, tuple(hits.shape), outputs))


@dataclass(frozen=True)
class TopK:
    """The fraction of examples whose true class is among the k most likely; an output of nan counts as least likely.

    Raises
    ------
    TypeError, ValueError
        If k is not an integer of at least 1, if there is not one output per class, or as in `accuracy`.
    """

    k: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", integer(self.k, "TopK k", 1, usual=5))

    @property
    def __name__(self) -> str:
        """The name of the metric in the history."""
        return f"top_{self.k}"

    def __call__(self, outputs: Array, target: Array, *, weights: Array | None = None) -> Array:
        """The fraction, shape (), of examples that count by their weights."""
        xp = same_place(outputs=outputs, target=target)
        if is_single(outputs):
            raise ValueError(
                f"{self.__name__} needs one output per class; got outputs of shape {tuple(outputs.shape)}."
            )
        labels = true_classes(target, outputs)
        own = xp.take_along_axis(outputs, labels[..., None], axis=-1)
        better = xp.sum(xp.astype(~(outputs <= own), labels.dtype), axis=-1)  # if its own output is nan, it ranks last
        return fraction(better < self.k, spread_over(weights, tuple(labels.shape), outputs))


@explained
def perplexity(outputs: Array, target: Array, *, weights: Array | None = None) -> Array:
    """exp(mean of -ln p_n,label(n)), p = softmax(outputs): how many equally likely classes would be as hard to guess.

    1 is perfect, and K is that of K equal probabilities. It is exp of the loss "cross_entropy".

    Parameters
    ----------
    outputs : array, shape (N, ..., K)
        Logits.
    target : array of labels, shape (N, ...), or of probabilities, shape of `outputs`
        Of probabilities, the largest is the label.
    weights : array, shape (N,), optional
        How much each example counts.

    Raises
    ------
    TypeError, ValueError
        If there is not one output per class, or as in `accuracy`.

    References
    ----------
    .. [1] Jelinek, Mercer, Bahl & Baker (1977), Perplexity - a measure of the difficulty of speech recognition tasks.
       Journal of the Acoustical Society of America 62, S63.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> float(nn.metrics.perplexity(be.asarray([[0.0, 0.0, 0.0, 0.0]]), be.asarray([2])))
    4.0
    """
    xp = same_place(outputs=outputs, target=target)
    if is_single(outputs):
        raise ValueError(f"perplexity needs one output per class; got outputs of shape {tuple(outputs.shape)}.")
    labels = true_classes(target, outputs)
    losses, _ = kernels.cross_entropy_of_labels(xp.reshape(outputs, (-1, outputs.shape[-1])), xp.reshape(labels, (-1,)))
    each = spread_over(weights, tuple(labels.shape), losses)
    if each is None:
        return xp.exp(xp.mean(losses))
    each = xp.reshape(each, (-1,))
    return xp.exp(xp.sum(losses * each) / xp.sum(each))
