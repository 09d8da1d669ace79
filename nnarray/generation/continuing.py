"""A prompt is continued: outputs of the last position, a choice, and again, with a cache or without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from nnarray.backends import Backend, backend_of, device_of, namespace
from nnarray.checks import integer, switch
from nnarray.generation.padding import masked_tokens, padding_of, refuse_other_padding, refuse_padding
from nnarray.generation.sampling import NO_NUMBER, Sampling
from nnarray.generation.stopping import Stops, Text
from nnarray.kernels.compilation import compiled
from nnarray.kernels.loops import read
from nnarray.layers.kinds import Spec
from nnarray.names import shown
from nnarray.random import Key
from nnarray.text.tokenizer import Tokenizer, checked_tokens
from nnarray.training.keys import key_of
from nnarray.typing import Array

CHANGED = 1e-4
"""By which part of the largest output others differ if they depend on something else than rounding."""


@dataclass(frozen=True)
class Asked:
    """What is asked for; the settings are those of `Model.generate`."""

    sampling: Sampling
    max_tokens: int
    stop: Any
    seed: int
    stream: Callable[[Any], Any] | None
    cache: bool | None


def generated(model: Any, prompt: Any, asked: Asked) -> Any:
    """What follows the prompt: text for text, and an array for tokens."""
    integer(asked.max_tokens, "max_tokens", 1, usual=100)
    if asked.cache is not None:
        switch(asked.cache, "cache")
    if asked.stream is not None and not callable(asked.stream):
        raise TypeError(f"stream must be a function of the next piece, such as print; got {shown(asked.stream)}.")
    size = _vocabulary(model)
    if isinstance(prompt, str):
        return _text(model, prompt, asked, size)
    rows, single = _rows(prompt, size)
    refuse_padding(rows, padding_of(model))
    end = None if model.tokenizer is None else model.tokenizer.end
    stops = Stops.of(asked.stop, size, end)
    if stops.texts:
        raise ValueError(f"stop: {shown(stops.texts[0])} is text, but the prompt is tokens. Pass the token to stop at.")
    columns = list[list[int]]()
    for column in _until(steps(model, rows, asked, stops), stops):
        columns.append(column)
        if asked.stream is not None:
            asked.stream(column[0] if single else column)
    found = backend_of(model.theta).asarray([list(row) for row in zip(*columns, strict=True)])
    return found[0, ...] if single else found


def _text(model: Any, prompt: str, asked: Asked, size: int) -> str:
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise ValueError(
            "the model has no tokenizer, so the prompt must be tokens, shape (length,) or (batch, length). Or set "
            "model.tokenizer to the tokenizer that it was trained with."
        )
    tokens = tokenizer.encode_prompt(prompt)
    if not tokens:
        raise ValueError("the prompt is empty, and a text is continued from at least one token. Pass a prompt.")
    refuse_padding([tokens], masked_tokens(model.wiring.network))  # a network that masks none may have learned all
    stops, read_token = Stops.of(asked.stop, size, tokenizer.end), tokenizer.decoder()
    text, added = Text(stops.texts, asked.stream), list[int]()
    length = 0
    for (token,) in steps(model, [tokens], asked, stops):
        if token in stops.tokens:
            break
        added.append(token)
        piece = read_token(token)
        length += len(piece)
        text.add(piece)
        if text.ended:
            return text.finish()
    text.add(tokenizer.decode(added)[length:])  # what is only a part of a character
    return text.finish()


def _until(steps: Iterator[list[int]], stops: Stops) -> Iterator[list[int]]:
    """The tokens of each step, until all sequences have stopped; one that has stopped repeats its last token."""
    ended = dict[int, int]()
    for new in steps:
        column = [ended.get(i, token) for i, token in enumerate(new)]
        yield column
        ended |= {i: token for i, token in enumerate(column) if token in stops.tokens}
        if len(ended) == len(column):
            return


def steps(model: Any, rows: list[list[int]], asked: Asked, stops: Stops) -> Iterator[list[int]]:
    """The next token of each sequence, at most `max_tokens` times.

    A token that the network masks has no probability, for it cannot be continued. It may end a text, if it is a stop.

    Raises
    ------
    ValueError
        If the outputs have NaN.
    """
    outputs, be = _Outputs(model, rows, asked.cache), backend_of(model.theta)
    sampling = replace(asked.sampling, never=frozenset(masked_tokens(model.wiring.network) - stops.tokens))
    choose = compiled(sampling.tokens, model.theta, key_of("tokens", sampling))
    key, seen = Key(asked.seed).fold("generate"), _seen(be, rows, model.output_shape[-1])
    for step in range(asked.max_tokens):
        words = key.fold(step)
        tokens = choose(outputs.of_last(), seen, *(be.asarray(w, dtype="int32") for w in (words.word0, words.word1)))
        new = [int(token) for token in read(tokens)]
        if NO_NUMBER in new:
            raise ValueError(
                "the outputs of the model have NaN, so that no token is the most likely. Its parameters may be too "
                "large; use those of an earlier epoch, or a model in float32."
            )
        yield new
        outputs.append(new)
        seen = seen | _is(tokens, seen)


def _seen(be: Backend, rows: list[list[int]], size: int) -> Array:
    """Which tokens each sequence has, shape (batch, V)."""
    known = [set(row) for row in rows]
    return be.asarray([[token in row for token in range(size)] for row in known])


def _is(tokens: Array, like: Array) -> Array:
    """True at the token of each row, shape (batch, V)."""
    xp = namespace(tokens)
    return xp.arange(like.shape[-1], dtype=tokens.dtype, device=device_of(like)) == tokens[:, None]


@dataclass
class _Outputs:
    """The outputs of the model at the last position of sequences that grow.

    A model sees as many positions as it was made for. When there are more tokens, the earlier half of what it sees is
    left out. With a cache and without, it sees the same tokens.
    """

    model: Any
    rows: list[list[int]]
    cached: bool | None
    """Whether there is a cache; None if the layers decide, at the first token."""
    cache: Any = field(default=None, repr=False)
    first: int = 0
    """The first token that the model sees."""
    is_causal: bool = False
    """Whether it is known, without a cache, that outputs do not change with later tokens."""

    def append(self, tokens: list[int]) -> None:
        """One token more for each sequence."""
        for row, token in zip(self.rows, tokens, strict=True):
            row.append(token)

    def of_last(self) -> Array:
        """Logits of the next token, shape (batch, V)."""
        length, count = self.model.inputs.shape[0], len(self.rows[0])
        first = _first(count, length)
        if self._has_cache(first, length):
            return self._continued(first)
        seen = count - first
        rows = [row[first:] + [0] * (length - seen) for row in self.rows]
        outputs = self.model(self._array(rows))
        if not self.is_causal:
            self._refuse_reading_later(rows, outputs)
            self.is_causal = True
        return outputs[:, seen - 1, ...]  # what fills up the later positions does not matter

    def _has_cache(self, first: int, length: int) -> bool:
        """Whether there is a cache; a new one if another token is the first."""
        if self.cached is False or (self.cache is not None and first == self.first):
            return self.cached is not False
        try:
            self.cache, self.first, self.cached = self.model.new_cache(len(self.rows), length), first, True
        except (ValueError, AttributeError):  # a layer needs all positions at once
            if self.cached:
                raise
            self.cached = False
        return self.cached

    def _refuse_reading_later(self, rows: list[list[int]], outputs: Array) -> None:
        """Refuse a model whose outputs change with later tokens: there are none yet, so that it would read the filling.

        The layers cannot be asked: one of your own need not say what it reads. So the later half of the tokens is
        replaced by other ones.

        Raises
        ------
        ValueError
            The message names the layer if one says so itself.
        """
        xp, length, size = namespace(outputs), len(rows[0]), outputs.shape[-1]
        kept = -(-length // 2)
        other = [row[:kept] + [(token + 1) % size for token in row[kept:]] for row in rows]
        before, after = outputs[:, :kept, ...], self.model(self._array(other))[:, :kept, ...]
        if bool(xp.any(xp.abs(after - before) > CHANGED * xp.max(xp.abs(before)))):
            raise ValueError(
                f"the outputs of the model change with later tokens, which are not there yet. {self._why()}"
            )

    def _why(self) -> str:
        """Which layer needs later positions, and what to do."""
        try:
            self.model.new_cache(1)
        except ValueError as error:
            return str(error)
        return "Use layers that read earlier positions only, such as nn.MultiHeadAttention(heads, causal=True)."

    def _continued(self, first: int) -> Array:
        whole = self.cache.position == 0
        new = [row[first:] if whole else row[-1:] for row in self.rows]
        y, self.cache = self.model.decode(self._array(new), self.cache)
        return y[:, -1, ...]

    def _array(self, rows: list[list[int]]) -> Array:
        return backend_of(self.model.theta).asarray(rows)


def _first(count: int, length: int) -> int:
    """The first of `count` tokens that a model of `length` positions sees: it rises by half of the length at a time."""
    half = max(length // 2, 1)
    return max(-(-(count - length) // half), 0) * half


# --- The vocabulary ------------------------------------------------------------------------------------------------


def _vocabulary(model: Any) -> int:
    """The number of tokens of a model that predicts the next one.

    Raises
    ------
    ValueError
        If it is another model.
    """
    inputs, outputs = model.inputs, model.output_shape
    if not isinstance(inputs, Spec) or inputs.kind.name != "integer" or len(inputs.shape) != 1:
        raise ValueError(
            f"generate needs a model of tokens, which takes integers of shape (batch, length); this one takes "
            f"{_words(inputs)}. Begin the network with nn.Embedding, and make it with init((length,))."
        )
    if len(outputs) != 2 or outputs[0] != inputs.shape[0] or outputs[1] != inputs.kind.below:
        raise ValueError(
            f"generate needs logits of the next token at each position, outputs of shape "
            f"{(*inputs.shape, inputs.kind.below)}; this model has {tuple(outputs)}. End the network with "
            f"nn.Dense({inputs.kind.below})."
        )
    return outputs[1]


def refuse_other_vocabulary(model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer with another number of tokens than the model takes, or with another token as padding.

    Raises
    ------
    TypeError, ValueError
        If it is not a tokenizer, or does not fit: another number of tokens, or another token as padding.
    """
    if not isinstance(tokenizer, Tokenizer):
        raise TypeError(f"tokenizer must be one of nn.text, such as nn.text.ByteTokenizer(); got {shown(tokenizer)}.")
    inputs = model.inputs
    size = inputs.kind.below if isinstance(inputs, Spec) else None
    if size is not None and size != len(tokenizer):
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, but the model has {size}: it takes {inputs.kind}. Use the "
            f"vocabulary that the model was trained with, or make the network with nn.Embedding({len(tokenizer)}, ...)."
        )
    if size is not None:
        refuse_other_padding(model.wiring.network, tokenizer)


def _words(inputs: Any) -> str:
    if isinstance(inputs, Spec):
        return f"{inputs.kind} of shape {(None, *inputs.shape)}".replace("None", "batch")
    return f"inputs by name, {', '.join(inputs)}"


def _rows(prompt: Any, size: int) -> tuple[list[list[int]], bool]:
    """Tokens as rows of Python integers, each in the vocabulary; and whether it is a single sequence.

    Raises
    ------
    TypeError, ValueError
        If there are none, they have different lengths, or one is not in the vocabulary.
    """
    given: Any = prompt
    shape: Any = getattr(prompt, "shape", None)
    if shape is None and not isinstance(prompt, list | tuple):
        raise TypeError(f"prompt must be text, or tokens of shape (length,) or (batch, length); got {shown(prompt)}.")
    if shape is not None and len(shape) not in (1, 2):
        raise ValueError(f"prompt must have shape (length,) or (batch, length); got {tuple(shape)}.")
    nested = given if shape is None else [given[i, ...] for i in range(shape[0])] if len(shape) == 2 else []
    single = not (nested and (shape is not None or isinstance(nested[0], list | tuple)))
    rows = [checked_tokens(row, size, "prompt") for row in ([given] if single else nested)]
    if not rows or not rows[0] or len({len(row) for row in rows}) > 1:
        raise ValueError(
            f"the prompt must have at least one token, and all its rows as many; got rows of "
            f"{[len(r) for r in rows]}. Continue prompts of different lengths one after the other."
        )
    return rows, single
