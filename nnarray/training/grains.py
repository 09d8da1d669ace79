"""Steps in grains: each batch is divided into parts, and their gradients are added along a fixed tree.

So the sum is bitwise the same on one machine and on many, however the grains are distributed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from nnarray.backends import device_of, namespace, same_place
from nnarray.kernels.compilation import compiled, mapped, quiet
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.training.data import mass_of
from nnarray.training.trainer import Finished, Trainer
from nnarray.typing import Array

Block = tuple[int, int]
"""The grains below a node of the tree: the first one, and the end."""
Nodes = dict[Block, Any]


def cut(count: int, grains: int) -> list[slice]:
    """The positions of each grain in a batch of `count` examples; fewer grains if one would have a single example.

    >>> cut(10, 4)
    [slice(0, 2, None), slice(2, 5, None), slice(5, 7, None), slice(7, 10, None)]
    >>> len(cut(7, 4)), len(cut(1, 4))
    (2, 1)
    """
    while grains > 1 and count < 2 * grains:
        grains //= 2
    return [slice(i * count // grains, (i + 1) * count // grains) for i in range(grains)]


def blocks_in(share: range, grains: int, first: int = 0) -> list[Block]:
    """The fewest nodes of the tree over `grains`, from `first` on, that cover a share of them.

    >>> blocks_in(range(1, 8), 8)
    [(1, 2), (2, 4), (4, 8)]
    """
    stop = first + grains
    if share.stop <= first or stop <= share.start:
        return []
    if share.start <= first and stop <= share.stop:
        return [(first, stop)]
    return blocks_in(share, grains // 2, first) + blocks_in(share, grains // 2, first + grains // 2)


def summed(nodes: Mapping[Block, Any], block: Block) -> Any:
    """The sum over a node: its given value, or the sum of its two halves.

    >>> summed({(0, 2): 3.0, (2, 3): 4.0, (3, 4): 5.0}, (0, 4))
    12.0
    """
    if block in nodes:
        return nodes[block]
    first, stop = block
    middle = (first + stop) // 2
    return summed(nodes, (first, middle)) + summed(nodes, (middle, stop))


def alone(nodes: Nodes, outputs: list[Array], grains: int) -> tuple[Any, list[Array]]:
    """The sum over all grains and the outputs of each, if all are computed here."""
    return summed(nodes, (0, grains)), outputs


def all_of(grains: int) -> range:
    """The share of a process that computes all grains."""
    return range(grains)


class Share(NamedTuple):
    """The grains of one step that are computed here."""

    step: slice
    """The positions of the rows of the whole step in the order of the epoch."""
    grains: int
    """The number of examples of the step."""
    numbers: range
    """The slices of the grains that are computed here."""
    places: list[slice]
    """The positions of their rows."""
    rows: list[Any]

    @property
    def examples(self) -> int:
        """The number of grains of the whole step."""
        return self.step.stop - self.step.start


@dataclass
class GrainedTrainer(Trainer):
    """A training whose steps are sums over grains; `share` gives those that are computed here."""

    grains: int = 1
    share: Callable[[int], range] = all_of
    """The share of a step with this many grains."""
    together: Callable[[Nodes, list[Array], int], tuple[Any, list[Array]]] = alone
    """The sum over all grains of a step, and their outputs, from the nodes and outputs that were computed here."""

    threads: int | None = None
    """The number of threads that compute grains on NumPy; one per core if None."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.drawn: tuple[int, Array | None] | None = None
        layers = [self.key.fold("layers").fold("grain").fold(i) for i in range(self.grains)]
        self.words_of = [(each.word0, each.word1) for each in layers]
        self.grain, self.take = compiled(self._grain, self.at.theta), compiled(self._take, self.at.theta)

    def prepare(self) -> None:
        """No plan: the layers' own steps are taken."""

    def release(self) -> None:
        """Free all memory at once."""
        super().release()
        del self.grain, self.take, self.drawn

    def epochs(
        self, number: int, rates: list[float], check: Callable[[], None], limit: int | None = None, begun: int = 0
    ) -> Finished:
        """The steps of one epoch after the first `begun`, at most `limit` of them."""
        done = Finished([], [], [], [])
        self.take_steps(number, rates[0], check, done, begun, limit)
        return done

    @quiet
    def take_steps(
        self, number: int, rate: float, check: Callable[[], None], done: Finished, begun: int, limit: int | None
    ) -> None:
        """As `epochs`; if an epoch fails, `done` has the finished steps."""
        order = self._order(number)
        places = islice(self._places(), begun, None if limit is None else begun + limit)
        shares = [self._share(place, order) for place in places]
        with self._reading(
            order, [p for each in shares for p in each.places], [r for each in shares for r in each.rows]
        ):
            for each in shares:
                self._grained_step(each, self.in_steps([rate])[0], done, order)
                self.ended(done, check)

    def _order(self, number: int) -> Array | None:
        if self.drawn is None or self.drawn[0] != number:  # an epoch may take several calls
            self.drawn = number, super()._order(number)
        return self.drawn[1]

    def _share(self, batch: slice, order: Array | None) -> Share:
        parts = cut(batch.stop - batch.start, self.grains)
        numbers = self.share(len(parts))
        places = [slice(batch.start + parts[i].start, batch.start + parts[i].stop) for i in numbers]
        rows = [self._rows(order, place) for place in places]
        return Share(batch, len(parts), numbers, places, rows)

    def _grained_step(self, own: Share, rate: float, done: Finished, order: Array | None) -> None:
        at, batches, first = self.at, [self.batch(rows) for rows in own.rows], own.numbers.start

        def computed(i: int) -> tuple[Array, Array]:
            return self.grain(at.theta, at.state, *batches[i], self.words_of[first + i], at.step)

        found = mapped(computed, range(len(batches)), at.theta, self.threads if len(batches) > 1 else 1)
        vectors = {(first + i, first + i + 1): vector for i, (vector, _) in enumerate(found)}
        nodes = {block: summed(vectors, block) for block in blocks_in(own.numbers, own.grains)}
        outputs = [each for _, each in found] if self.keep_outputs else []
        before, (total, outputs) = (at.theta, at.state, at.slots), self.together(nodes, outputs, own.grains)
        theta, state, slots, loss, mass = self.take(
            before, total, own.examples, self.rule.numbers(rate, at.step), at.step
        )
        self.at = at._replace(theta=theta, state=state, slots=slots, step=at.step + 1)
        done.losses.append(loss)
        done.masses.append(own.examples if self.data.weights is None else mass)
        if self.keep_outputs:
            done.rows.append(self._rows(order, own.step))
            done.outputs.extend(outputs)

    def _grain(
        self, theta: Array, state: Array, x: Any, target: Array, weights: Array | None, words: Any, index: Any
    ) -> tuple[Array, Array]:
        """The contribution of a grain to its step: gradient, state change, loss and mass as a vector; and outputs.

        Gradient and loss are multiplied by the mass, unless losses are summed. The change of the state is
        multiplied by the number of examples.
        """
        found = self.rule.gradient(theta, state, x, target, weights, words, index, 1.0)
        count = float(target.shape[0])
        mass: Any = count if weights is None else mass_of(weights)
        scale = 1.0 if self.loss.reduction == "sum" else mass
        gradient = at_least_float32(found.gradient)
        xp = namespace(gradient)
        change = count * (xp.astype(found.state, gradient.dtype) - xp.astype(state, gradient.dtype))
        ends = [
            xp.reshape(xp.astype(each, gradient.dtype), (1,)) for each in (scale * found.loss, _like(mass, gradient))
        ]
        return xp.concat([scale * gradient, change, *ends]), found.outputs

    def _take(
        self, before: tuple[Array, Array, dict[str, Array]], total: Array, count: Any, numbers: Any, index: Any
    ) -> tuple[Any, ...]:
        """theta, state and slots after a step, its loss and its mass, from the sum of the grains' contributions."""
        (theta, state, _), (loss, mass), xp = before, (total[-2], total[-1]), namespace(total)
        size = theta.shape[0]
        whole: Any = 1.0 if self.loss.reduction == "sum" else xp.where(mass > 0, mass, 1.0)
        changed = xp.astype(state, total.dtype) + total[size:-2] / count
        after = self.rule.advance(
            self.masks, before, total[:size] / whole, xp.astype(changed, state.dtype), numbers, index
        )
        return *after, loss / whole, mass


def _like(number: Any, x: Array) -> Array:
    """A number, or an array of shape (), with the library and device of `x`."""
    xp = same_place(x=x)
    return xp.full((), number, dtype=x.dtype, device=device_of(x)) if isinstance(number, float) else number
