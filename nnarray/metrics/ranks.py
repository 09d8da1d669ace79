"""The area under the ROC curve, from the ranks of scores."""

from __future__ import annotations

from nnarray import kernels
from nnarray.arguments import explained
from nnarray.backends import default_float, device_of, is_traced, namespace, same_place
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.metrics.labels import (
    is_single,
    label_shape,
    spread_over,
    swapped_scores,
    true_classes,
    true_labels,
)
from nnarray.typing import Array


@explained
def roc_auc(outputs: Array, target: Array, *, multilabel: bool = False, weights: Array | None = None) -> Array:
    """The area under the ROC curve: how often an example of the class scores above one of the others.

    AUC = P(s > t) + P(s = t) / 2, with s the score of an example of the class and t that of another example. It follows
    from the ranks of the scores [1]_. 1 is perfect, and 0.5 is that of a constant. With more than two classes, each is
    compared with all others, and the result is the mean over the classes.

    Parameters
    ----------
    outputs : array, shape (N, ..., K), or (N,) or (N, ..., 1) for scores of the second of two classes
        Scores of two classes are of any size: logits, or probabilities. Of more classes they are logits, whose softmax
        is compared, or probabilities: outputs that are not negative and sum to 1 in each row.
    target, multilabel
        As for `accuracy`. With `multilabel`, it is the mean over the labels.
    weights : array, shape (N,), optional
        How much each example counts.

    Returns
    -------
    array, shape ()
        NaN if an output is NaN.

    Raises
    ------
    TypeError, ValueError
        As `accuracy`; if a class, or a label, has no example, or none but its own: then there are no pairs to compare.

    References
    ----------
    .. [1] Hanley & McNeil (1982), The meaning and use of the area under a receiver operating characteristic (ROC)
       curve. Radiology 143(1), 29-36.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> float(nn.metrics.roc_auc(be.asarray([0.1, 0.4, 0.35, 0.8]), be.asarray([0, 0, 1, 1])))
    0.75
    """
    if swapped := swapped_scores(outputs, target):
        raise TypeError(f"roc_auc takes the outputs first, then the labels.{swapped}")
    scores, true = _scores(outputs, target, multilabel)
    xp, each = namespace(scores), spread_over(weights, label_shape(outputs), scores)
    counted = xp.ones_like(scores[:, 0]) if each is None else xp.astype(xp.reshape(each, (-1,)), scores.dtype)
    of_class, others = (xp.astype(part, scores.dtype) * counted[:, None] for part in (true, ~true))
    _refuse_absent(of_class, others)
    columns = range(scores.shape[1])
    return xp.mean(xp.stack([_area(scores[:, k], of_class[:, k], others[:, k]) for k in columns]))


def _scores(outputs: Array, target: Array, multilabel: bool) -> tuple[Array, Array]:
    """Scores to compare, and truth values, shape (M, K) for all positions; a column alone for two classes."""
    xp, width = same_place(outputs=outputs, target=target), 1 if is_single(outputs) else outputs.shape[-1]
    if not xp.isdtype(outputs.dtype, "real floating"):
        outputs = xp.astype(outputs, default_float(xp, device_of(outputs)))
    scores = at_least_float32(xp.reshape(outputs, (-1, width)))
    if multilabel:
        return scores, xp.reshape(true_labels(outputs, target), (-1, width))
    labels = xp.reshape(true_classes(target, outputs), (-1,))
    if width <= 2:
        return scores if width == 1 else scores[:, 1:] - scores[:, :1], labels[:, None] == 1
    given = xp.all(scores >= 0) & xp.all(xp.abs(xp.sum(scores, axis=-1) - 1.0) < 0.01)
    numbers = xp.arange(width, dtype=labels.dtype, device=device_of(labels))
    return xp.where(given, scores, kernels.softmax(scores)), labels[:, None] == numbers


def _area(scores: Array, of_class: Array, others: Array) -> Array:
    """The area under the ROC curve, from the weights of the examples of a class and of the others, shape (M,) each."""
    xp = namespace(scores)
    order = xp.argsort(scores)
    ranked, of_class, others = (xp.take(x, order) for x in (scores, of_class, others))
    below, lower = _sums_before(others), xp.searchsorted(ranked, ranked)
    up_to = ranked.shape[0] - xp.searchsorted(-xp.flip(ranked), -ranked)  # all but those that are higher
    area = xp.sum(of_class * 0.5 * (xp.take(below, lower) + xp.take(below, up_to)))
    area = area / (xp.sum(of_class) * xp.sum(others))
    return xp.where(xp.all(ranked == ranked), area, xp.full_like(area, xp.nan))


def _sums_before(x: Array) -> Array:
    """0, x_0, x_0 + x_1, ..., shape (M + 1,).

    Sums of two, four, eight, ... entries are added: in log2(M) passes, and in float32 with fewer roundings than one by
    one.
    """
    xp, step = namespace(x), 1
    sums = xp.concat([xp.zeros_like(x[:1]), x])
    while step < sums.shape[0]:
        sums = sums + xp.concat([xp.zeros_like(sums[:step]), sums[:-step]])
        step *= 2
    return sums


def _refuse_absent(of_class: Array, others: Array) -> None:
    """Refuse classes without an example, or with all of them: there are no pairs. Waits for the device."""
    xp = namespace(of_class)
    if is_traced(of_class):
        return
    sides = zip(xp.sum(of_class, axis=0), xp.sum(others, axis=0), strict=True)
    for k, (mine, rest) in enumerate(sides):
        if not (float(mine) > 0 and float(rest) > 0):
            how_many, name = "no" if float(rest) > 0 else "every", 1 if of_class.shape[1] == 1 else k
            raise ValueError(
                f"roc_auc compares the examples of a class with all others, but {how_many} example is of class {name}. "
                f"Pass examples of all classes, or leave roc_auc out."
            )
