"""PyTorch's own versions of kernels that the standard composes from several functions."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from nnarray import kernels
from nnarray.backends import is_differentiated
from nnarray.kernels.compilation import numba_pieces
from nnarray.kernels.engines import dtypes_kept
from nnarray.kernels.numpy.recurrent import recurrence as of_numpy
from nnarray.kernels.standard.normalisation import normalised
from nnarray.kernels.standard.numerics import at_least_float32_dtype
from nnarray.kernels.standard.recurrent import Cell
from nnarray.kernels.standard.windows import Window, cropped, padded, spread

kernels.erfc.fast("torch")(torch.special.erfc)
kernels.logistic.fast("torch")(torch.sigmoid)


@kernels.softplus.fast("torch")
def softplus(x: Any) -> Any:
    """With PyTorch's own derivative, also at 0."""
    return torch.logaddexp(x, torch.zeros((), dtype=x.dtype, device=x.device))


_torch: Any = torch
stands_in = (
    _torch._C._functorch.is_functorch_wrapped_tensor
)  # as the one of backends, but it is asked hundreds of times


def is_plain(*arrays: Any) -> bool:
    """Whether all are on the host, in at least single precision, and nobody records or transforms what is computed."""
    return all(
        x.is_cpu
        and x.dtype in (torch.float32, torch.float64)
        and not (x.requires_grad and torch.is_grad_enabled())
        and not stands_in(x)
        for x in arrays
    )


@kernels.recurrence.fast("torch")
def recurrence(
    x: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any,
    h: Any,
    c: Any,
    mask: Any,
    *,
    cell: Cell,
    reverse: bool = False,
    input_gradient: bool = True,
    keep: bool = True,
) -> Any:
    """On the host compiled loops, or PyTorch's own layer and its record of it."""
    arrays = x, weight_ih, weight_hh, bias_ih, bias_hh, h, c
    settings: Any = {"cell": cell, "reverse": reverse, "input_gradient": input_gradient, "keep": keep}
    if not is_plain(*(each for each in arrays if each is not None)) or not x.numel():
        return kernels.recurrence.definition(*arrays, mask, **settings)
    mask = None if mask is None or bool(mask.all()) else mask
    if x.dtype == torch.float32 and numba_pieces("recurrent"):
        return _in_loops(arrays, mask, settings)
    if mask is not None or torch.is_inference_mode_enabled():
        return kernels.recurrence.definition(*arrays, mask, **settings)
    inputs = [each for each in arrays[:5] if each is not None]
    states = [x.new_zeros((x.shape[0], weight_hh.shape[0])) if each is None else each for each in (h, c)[: cell.states]]
    function = getattr(torch._VF, cell.name if cell.gates > 1 else f"rnn_{cell.name}")
    with torch.set_grad_enabled(keep):
        inputs = [each.detach().requires_grad_(keep and (input_gradient or each is not x)) for each in inputs]
        along = torch.flip(inputs[0], [1]) if reverse else inputs[0]
        before = [each[None, ...] for each in states]
        weights = [each.T if each.ndim > 1 else each for each in inputs[1:]]
        y, *after = function(
            along, before if len(before) > 1 else before[0], weights, bias_ih is not None, 1, 0.0, keep, False, True
        )
        y = torch.flip(y, [1]) if reverse else y

    def pullback(dy: Any) -> Any:
        asked = inputs if input_gradient else inputs[1:]
        gradients = torch.autograd.grad(y, asked, dy, retain_graph=True)
        return *(() if input_gradient else (None,)), *gradients, *((None, None) if bias_ih is None else ())

    states = [each.detach()[0] for each in after]
    return y.detach(), states[0], states[1] if cell.states == 2 else None, pullback


def _in_loops(arrays: Sequence[Any], mask: Any, settings: dict[str, Any]) -> Any:
    """NumPy's version, on the same memory."""
    given = [None if each is None else each.detach().numpy() for each in (*arrays, mask)]
    y, h, c, back = of_numpy(*given, **settings)

    def pullback(dy: Any) -> Any:
        return tuple(None if each is None else torch.from_numpy(each) for each in back(dy.detach().numpy()))

    return torch.from_numpy(y), torch.from_numpy(h), None if c is None else torch.from_numpy(c), pullback


def _has_no_nan(x: Any) -> bool:
    """Whether a sum shows so, which reads the entries once; it misses some."""
    return math.isfinite(x.sum())


@kernels.relu.fast("torch")
def relu(x: Any) -> Any:
    """PyTorch's own."""
    return torch.relu(x)


@kernels.relu_pullback.fast("torch")
def relu_pullback(dy: Any, x: Any, y: Any) -> Any:
    """On the host in one pass, which would take nan for an entry above 0."""
    if is_plain(dy, y) and _has_no_nan(y):
        return torch.ops.aten.threshold_backward(dy, y, 0.0)
    return kernels.relu_pullback.definition(dy, x, y)


def _first(x: Any) -> Any:
    """Channels first by strides alone: PyTorch's `channels_last` memory, without a copy."""
    return x.permute(0, 3, 1, 2)


def _settings(x: Any, window: Window) -> tuple[Any, list[int]]:
    """The images and the padding that PyTorch can add itself, which is the same on both sides."""
    if all(before == after for before, after in window.padding):
        return x, [window.padding[0][0], window.padding[1][0]]
    (top, bottom), (left, right) = window.padding
    return torch.nn.functional.pad(x, (0, 0, left, right, top, bottom)), [0, 0]


@kernels.limited_gradient.fast("torch")
def limited_gradient(gradient: Any) -> Any:
    """On the host, checks whether the gradient needs no change, which is usual."""
    if gradient.device.type == "cpu" and math.isfinite(torch.dot(gradient, gradient)):
        return gradient
    return kernels.limited_gradient.definition(gradient)


@kernels.normalise.fast("torch")
def normalise(x: Any, *, axes: tuple[int, ...], epsilon: float) -> Any:
    """On the host, without scales if none are needed; images in PyTorch's own two passes."""
    if is_plain(x) and x.ndim == 4 and axes == (0, 1, 2) and x.numel() > x.shape[3]:
        normal = _normalised_images(x, epsilon)
        if bool((normal[1] > 0).all()):
            return normal
    elif x.device.type == "cpu":
        normal: Any = normalised(x, axes=axes, epsilon=epsilon)
        if bool((normal[1] > 0).all()):
            return normal
    return kernels.normalise.definition(x, axes=axes, epsilon=epsilon)


def _normalised_images(x: Any, epsilon: float) -> Any:
    """As `normalise`, of images over all axes but the last."""
    channels = x.shape[3]
    count = x.numel() // channels
    mean, unbiased = x.new_zeros(channels), x.new_zeros(channels)  # running ones of momentum 1: those of the batch
    z, _, inverse = torch.native_batch_norm(_first(x), None, None, mean, unbiased, True, 1.0, epsilon)
    variance = unbiased * ((count - 1) / count)
    return z.permute(0, 2, 3, 1), *(each.reshape(1, 1, 1, -1) for each in (inverse, mean, variance))


@kernels.scale_and_shift.fast("torch")
def scale_and_shift(z: Any, weight: Any, bias: Any) -> Any:
    """In one pass."""
    return torch.addcmul(bias, z, weight)


@kernels.layer_norm.fast("torch")
def layer_norm(x: Any, weight: Any, bias: Any, *, epsilon: float) -> Any:
    """On the host PyTorch's own, if no square overflows."""
    if is_plain(x, weight, bias) and x.numel():
        normal = torch.native_layer_norm(x, [x.shape[-1]], weight, bias, epsilon)
        if normal[2].min() > 0:  # false for nan
            return normal
    return kernels.layer_norm.definition(x, weight, bias, epsilon=epsilon)


@kernels.layer_norm_pullback.fast("torch")
def layer_norm_pullback(dy: Any, x: Any, weight: Any, mean: Any, inverse: Any) -> Any:
    """On the host PyTorch's own, which takes the third power of 1 / deviation, if that is no extreme number."""
    arrays = dy, x, weight, mean, inverse
    plain = is_plain(*arrays) and dy.numel() > 0 and len({each.dtype for each in arrays}) == 1
    least, largest = inverse.aminmax() if plain else (0.0, 0.0)
    if not (least > 1e-9 and largest < 1e9):  # false for nan
        return kernels.layer_norm_pullback.definition(dy, x, weight, mean, inverse)
    dy, x, weight, mean, inverse = (each.contiguous() for each in arrays)
    gradients = torch.ops.aten.native_layer_norm_backward(
        dy, x, [x.shape[-1]], mean, inverse, weight, torch.zeros_like(weight), [True, True, True]
    )
    return tuple(gradients)


@kernels.batch_norm_pullback.fast("torch")
def batch_norm_pullback(dy: Any, z: Any, weight: Any, inverse: Any) -> Any:
    """Of images, PyTorch's own: z has mean 0 and deviation 1, and the rest of 1 / deviation goes with the weight."""
    if not (is_plain(dy, z, weight, inverse) and dy.ndim == 4 and dy.numel()):
        return kernels.batch_norm_pullback.definition(dy, z, weight, inverse)
    scale, ones = weight * inverse.reshape(-1), torch.ones_like(weight)
    gradients = torch.ops.aten.native_batch_norm_backward(
        _first(dy), _first(z), scale, None, None, torch.zeros_like(ones), ones, True, 0.0, [True, True, True]
    )
    return gradients[0].permute(0, 2, 3, 1), *gradients[1:]


@kernels.max_pool.fast("torch")
def max_pool(x: Any, *, window: Window) -> Any:
    """PyTorch's own, on the host."""
    pooled = _pooled(x, window) if is_plain(x) else None
    return kernels.max_pool.definition(x, window=window) if pooled is None else pooled[0].permute(0, 2, 3, 1)


@kernels.max_pool_pullback.fast("torch")
def max_pool_pullback(dy: Any, x: Any, y: Any, *, window: Window) -> Any:
    """PyTorch's own, on the host; a window with nan passes nothing on, as no entry equals it."""
    pooled = _pooled(x, window) if is_plain(dy, x, y) else None
    if pooled is None:
        return kernels.max_pool_pullback.definition(dy, x, y, window=window)
    _, places, padding = pooled
    dx = torch.ops.aten.max_pool2d_with_indices_backward(
        _first(dy if _has_no_nan(y) else torch.where(y.isnan(), 0.0, dy)),
        _first(x),
        window.size,
        window.stride,
        padding,
        window.dilation,
        False,
        places,
    )
    return dx.permute(0, 2, 3, 1)


def _pooled(x: Any, window: Window) -> tuple[Any, Any, list[int]] | None:
    """The largest entries, channels first, their places, and the padding; None where PyTorch cannot pad so.

    With dilation, all entries of a window may be padding. PyTorch's place for it is outside of the image, and its
    gradient would be written there.
    """
    padding = [before for before, _ in window.padding]
    alike = all(before == after for before, after in window.padding)
    narrow = all(2 * pad <= size for pad, size in zip(padding, window.size, strict=True))
    beyond = any(padding) and window.dilation != (1, 1)
    if not alike or not narrow or beyond or not x.numel():
        return None
    y, places = torch.nn.functional.max_pool2d(
        _first(x), window.size, window.stride, padding, window.dilation, return_indices=True
    )
    return y, places, padding


@kernels.convolution.fast("torch")
def convolution(x: Any, weight: Any, bias: Any, *, window: Window, groups: int = 1) -> Any:
    """PyTorch's own."""
    padded_x, padding = _settings(x, window)
    y = torch.nn.functional.conv2d(
        _first(padded_x), weight.permute(3, 2, 0, 1), bias, window.stride, padding, window.dilation, groups
    )
    return y.permute(0, 2, 3, 1)


@kernels.convolution_pullback.fast("torch")
def convolution_pullback(
    dy: Any,
    x: Any,
    weight: Any,
    *,
    window: Window,
    groups: int = 1,
    input_gradient: bool = True,
    bias_gradient: bool = True,
) -> Any:
    """PyTorch's own."""
    if window.size == (1, 1) and window.stride != (1, 1):
        asked = {"input_gradient": input_gradient, "bias_gradient": bias_gradient}
        return _pullback_of_pixels(dy, x, weight, window=window, groups=groups, **asked)
    padded_x, padding = _settings(x, window)
    dx, dw, db = torch.ops.aten.convolution_backward(
        _first(dy),
        _first(padded_x),
        _filters_first(weight),
        [weight.shape[3]],
        window.stride,
        padding,
        window.dilation,
        False,
        [0, 0],
        groups,
        [input_gradient, True, bias_gradient],
    )
    if input_gradient:
        dx = dx.permute(0, 2, 3, 1)
        dx = dx if padded_x is x else cropped(dx, window.padding)
    return dx if input_gradient else None, dw.permute(2, 3, 1, 0), db


def _pullback_of_pixels(dy: Any, x: Any, weight: Any, *, window: Window, **options: Any) -> Any:
    """Of windows of one pixel, from the pixels that they see: with steps PyTorch writes where it must not (2.13)."""
    whole = padded(x, window.padding)
    seen = whole[:, :: window.stride[0], :: window.stride[1]]
    dx, dw, db = convolution_pullback(dy, seen, weight, window=Window((1, 1)), **options)
    return None if dx is None else cropped(spread(dx, window, (0, 0), whole.shape), window.padding), dw, db


def _filters_first(weight: Any) -> Any:
    """The layout that PyTorch needs. A single filter is copied: PyTorch has no gradient for this view's strides."""
    first = weight.permute(3, 2, 0, 1)
    return first.contiguous() if weight.shape[3] == 1 else first


class _Recorded(torch.autograd.Function):
    """A function with our pullback.

    It repeats the forward computation in the pullback. So it keeps only its arguments, as transformations of torch.func
    need, and PyTorch can compute second derivatives.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Callable[..., Any], pullback: Callable[..., Any], *inputs: Any) -> Any:
        return value(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.value, ctx.pullback, *arrays = inputs
        ctx.save_for_backward(*arrays)
        ctx.save_for_forward(*arrays)

    @staticmethod
    def backward(ctx: Any, *dy: Any) -> Any:
        with dtypes_kept():
            return None, None, *ctx.pullback(*dy, *ctx.saved_tensors, ctx.needs_input_grad[2:])

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        inputs = ctx.saved_tensors
        filled = [torch.zeros_like(x) if t is None else t for x, t in zip(inputs, tangents[2:], strict=True)]
        return torch.func.jvp(ctx.value, inputs, tuple(filled))[1]


@kernels.recorded.fast("torch")
def recorded(x: Any, theta: Any, value: Callable[..., Any], pullback: Callable[..., Any]) -> Any:
    """As a function of PyTorch's autograd, if a gradient is requested."""
    if (x.requires_grad or theta.requires_grad) and torch.is_grad_enabled():
        return _Recorded.apply(value, pullback, x, theta)
    return value(x, theta)


class _WithPullback(_Recorded):
    """A function whose derivative is its pullback only, so that there is none along a tangent."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise NotImplementedError(
            "a function with a pullback of its own has no derivative along a tangent in PyTorch: use reverse mode, "
            "such as torch.func.grad, or nn.jvp."
        )


@kernels.with_pullback.fast("torch")
def with_pullback(*inputs: Any, function: Callable[..., Any]) -> Any:
    """As a function of PyTorch's autograd."""
    if not any(map(is_differentiated, inputs)):
        return function(*inputs)[0]

    def pullback(*given: Any) -> list[Any]:
        *arrays, wanted = given
        dy, inputs = arrays[: -len(wanted)], arrays[-len(wanted) :]
        found = function(*inputs)[1](dy[0] if len(dy) == 1 else tuple(dy))
        return [g if asked else None for g, asked in zip(found, wanted, strict=True)]

    return _WithPullback.apply(lambda *inputs: function(*inputs)[0], pullback, *inputs)


@kernels.held.fast("torch")
def held(x: Any, mask: Any) -> Any:
    """With a record that leaves out these entries."""
    if mask is None or not (x.requires_grad and torch.is_grad_enabled()):
        return x
    return torch.where(mask, x.detach(), x)


class _Linked(torch.autograd.Function):
    """A number whose gradients are known."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Any, *inputs_and_gradients: Any) -> Any:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        gradients = inputs[1 + len(inputs) // 2 :]
        ctx.save_for_backward(*gradients)
        ctx.save_for_forward(*gradients)

    @staticmethod
    def backward(ctx: Any, *dvalues: Any) -> Any:
        (dvalue,), gradients = dvalues, ctx.saved_tensors
        return None, *(dvalue * each for each in gradients), *(None for _ in gradients)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        pairs = zip(ctx.saved_tensors, tangents[1:], strict=False)
        return sum((gradient * t).sum() for gradient, t in pairs if t is not None)


@kernels.linked.fast("torch")
def linked(value: Any, inputs: Sequence[Any], gradients: Sequence[Any]) -> Any:
    """With the inputs that have a record."""
    asked = [i for i, x in enumerate(inputs) if x.requires_grad] if torch.is_grad_enabled() else []
    if not asked:
        return value
    return _Linked.apply(value.detach(), *(inputs[i] for i in asked), *(gradients[i] for i in asked))


@kernels.stacked.fast("torch")
def stacked(like: Any, *numbers: Any) -> Any:
    """Also of Python's numbers, which prepared steps give."""
    if isinstance(numbers[0], torch.Tensor):
        return torch.stack(numbers)
    return torch.tensor(numbers, dtype=like.dtype, device=like.device)


@kernels.scatter_add.fast("torch")
def scatter_add(rows: Any, index: Any, *, count: int) -> Any:
    """PyTorch's own on the host, row after row; on a GPU its order is not deterministic."""
    if rows.device.type != "cpu":
        return kernels.scatter_add.definition(rows, index, count=count)
    index = index.to(torch.int64)
    index = torch.where(
        (index >= 0) & (index < count), index, count
    )  # integers out of range are summed in an extra row
    found = torch.zeros((count + 1, rows.shape[1]), dtype=at_least_float32_dtype(torch, rows.dtype))
    return found.index_add_(0, index, rows.to(found.dtype))[:count].to(rows.dtype)


@kernels.inserted.fast("torch")
def inserted(x: Any, part: Any, first: Any, *, axis: int) -> Any:
    """Written into x, unless somebody records or transforms what is computed."""
    if stands_in(x) or stands_in(part) or not isinstance(first, int) or part.requires_grad:
        return kernels.inserted.definition(x, part, first, axis=axis)
    x.narrow(axis, first, part.shape[axis]).copy_(part)
    return x


def _register(name: str, value: Callable[[Any], Any], pullback: Callable[[Any, Any], Any]) -> None:
    """PyTorch's own function and its derivative on the host; they give nan where an infinity has a limit."""
    function, of_function = kernels.TABLE[name], kernels.TABLE[f"{name}_pullback"]

    @function.fast("torch")
    def fast_value(x: Any) -> Any:
        y = value(x) if is_plain(x) else None
        return y if y is not None and _has_no_nan(y) else function.definition(x)

    @of_function.fast("torch")
    def fast_pullback(dy: Any, x: Any, y: Any) -> Any:
        # dy may stand for many, so that only x is looked at: no square of it overflows
        if is_plain(dy, x) and math.isfinite(torch.linalg.vector_norm(x)):
            return pullback(dy, x)
        return of_function.definition(dy, x, y)


_gelu, _gelu_back = torch.nn.functional.gelu, torch.ops.aten.gelu_backward
_register("gelu", _gelu, _gelu_back)
_register(
    "gelu_tanh",
    lambda x: _gelu(x, approximate="tanh"),
    lambda dy, x: _gelu_back(dy, x, approximate="tanh"),
)
_register("silu", torch.nn.functional.silu, torch.ops.aten.silu_backward)


@kernels.affine.fast("torch")
def affine(x: Any, weight: Any, bias: Any) -> Any:
    """The bias of sequences added by the product; that of one position by compiled loops, if there are any.

    Of a matrix x it stays x W + b to the last digit, as a reader may write it.
    """
    if x.ndim < 3 or not is_plain(x, weight, *(() if bias is None else (bias,))):
        return kernels.affine.definition(x, weight, bias)
    if x.numel() == x.shape[-1] and x.dtype == torch.float32 and numba_pieces("row"):
        row, weights = x.detach().numpy(), weight.detach().numpy()
        return torch.from_numpy(kernels.affine(row, weights, None if bias is None else bias.detach().numpy()))
    if bias is None:
        return kernels.affine.definition(x, weight, bias)
    return torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight).reshape(*x.shape[:-1], weight.shape[1])


_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_back = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def _is_flash(q: Any, k: Any, v: Any, kept: Any, first: Any, mask: Any) -> bool:
    """Whether PyTorch has this attention on the host."""
    if mask is not None and mask.dtype != torch.bool:  # the texts of a row
        return False
    alike = q.dtype == k.dtype == v.dtype and isinstance(first, int)
    return alike and kept is None and q.numel() > 0 and k.numel() > 0 and is_plain(q, k, v)


def _hidden(mask: Any, q: Any) -> Any:
    """-inf at the keys that nobody sees, which is added to the scores."""
    if mask is None:
        return None
    return torch.zeros(mask.shape, dtype=q.dtype).masked_fill_(~mask, -torch.inf)[:, None, None, :]


def _laid_out(x: Any, heads: int) -> Any:
    """Keys or values for each head of a group, with the features of a vector next to each other, as PyTorch reads."""
    x = x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)
    return x if x.stride(3) == 1 else x.contiguous()


@kernels.attention.fast("torch")
def attention(
    q: Any, k: Any, v: Any, mask: Any, kept: Any, *, causal: bool = False, first: Any = 0, rate: float = 0.0
) -> Any:
    """On the host PyTorch's own, whose queries begin with the first key if it is causal."""
    if not _is_flash(q, k, v, kept, first, mask) or (causal and first != 0):
        return kernels.attention.definition(q, k, v, mask, kept, causal=causal, first=first, rate=rate)
    laid_out = (_laid_out(x, q.shape[1]) for x in (q, k, v))
    y, normaliser = _flash(*laid_out, 0.0, causal, attn_mask=_hidden(mask, q))
    if bool((normaliser == 0).any()) and not all(math.isfinite(torch.linalg.vector_norm(x)) for x in (q, k)):
        return kernels.attention.definition(q, k, v, mask, kept, causal=causal)  # PyTorch takes nan alone for no key
    return y, normaliser


@kernels.attention_pullback.fast("torch")
def attention_pullback(
    dy: Any,
    q: Any,
    k: Any,
    v: Any,
    y: Any,
    normaliser: Any,
    mask: Any,
    kept: Any,
    *,
    causal: bool = False,
    rate: float = 0.0,
) -> Any:
    """On the host PyTorch's own."""
    if not (_is_flash(q, k, v, kept, 0, mask) and is_plain(dy, y, normaliser) and normaliser.dtype == q.dtype):
        return kernels.attention_pullback.definition(dy, q, k, v, y, normaliser, mask, kept, causal=causal, rate=rate)
    groups, heads = k.shape[1], q.shape[1]
    dy, q, k, v, y = (_laid_out(x, heads) for x in (dy, q, k, v, y))
    hidden = _hidden(mask, q)
    dq, *shared = _flash_back(dy, q, k, v, y, normaliser.contiguous(), 0.0, causal, attn_mask=hidden)
    dk, dv = (x.reshape(x.shape[0], groups, -1, *x.shape[2:]).sum(2) if heads > groups else x for x in shared)
    return dq, dk, dv


importlib.import_module("nnarray.kernels.torch_rows")  # which reads what this module says
