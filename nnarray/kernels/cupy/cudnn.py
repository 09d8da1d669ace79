"""Convolutions of CuPy arrays by NVIDIA's cuDNN, where a call asks for them: engine="cudnn".

This has never run on a GPU. Therefore the first result of each plan is compared with the plain kernel's; where it
differs, or cuDNN cannot compute it, a warning says why, and the plain kernel computes from then on.

float32 is computed in float32 (no TF32), float16 is added up in float32, and no plan that adds in a changing order is
taken.
"""

from __future__ import annotations

import functools
import importlib
import math
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import cupy  # pyright: ignore[reportMissingImports]  (needs CUDA to be installed)

from nnarray.kernels.compilation import takes_cudnn
from nnarray.kernels.standard.windows import Window
from nnarray.typing import Shape

cp: Any = cupy

KINDS = {"float16": ("HALF", "FLOAT"), "float32": ("FLOAT", "FLOAT"), "float64": ("DOUBLE", "DOUBLE")}
"""Of each dtype, cuDNN's name for it, and for the numbers that are added up."""

OPERATIONS = {
    "conv_fprop": (("image", "weight"), "loss"),
    "conv_dgrad": (("loss", "filter"), "image"),
    "conv_wgrad": (("image", "loss"), "filter"),
}
"""What each operation reads, in cuDNN's words, and the shape of its result; "loss" has the shape of the outputs."""

UNWANTED = ("DOWN_CONVERT_INPUTS", "REDUCED_PRECISION_REDUCTION", "NONDETERMINISTIC")
"""What a plan must not do. In float32, tensor cores would compute in TF32."""

ALIGNMENT = 16  # bytes; a plan is made for pointers that are multiples of it
MOST_PLANS = 512


class Task(NamedTuple):
    """A convolution or one of its gradients: all that a plan depends on."""

    operation: str
    image: Shape  # (batch, height, width, channels)
    filters: Shape  # (filters, height, width, channels of a group): cuDNN takes filters in this order
    window: Window
    dtype: str
    device: int
    thread: int  # a handle of cuDNN's belongs to one thread

    def shapes(self) -> dict[str, Shape]:
        """The shapes of its arrays, channels last, by cuDNN's words for them."""
        outputs = (self.image[0], *self.window.output_size(self.image[1:3]), self.filters[0])
        return {"image": self.image, "weight": self.filters, "filter": self.filters, "loss": outputs}

    def terms(self) -> int:
        """How many products an entry of the result adds up, at most."""
        if self.operation == "conv_wgrad":
            return math.prod(self.shapes()["loss"][:3])
        group = self.filters[3] if self.operation == "conv_fprop" else self.filters[0]
        return math.prod(self.filters[1:3]) * group


class Plan:
    """What cuDNN has prepared for a task, and whether its first result was right."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.is_checked = False
        self.reason = ""  # why the plain kernel computes instead; empty while cuDNN does

    @functools.cached_property
    def built(self) -> tuple[Any, tuple[Any, ...], Any]:
        """The graph, its two operands and its result, and the handle that it was built with."""
        handle = _handle(self.task.device, self.task.thread)
        graph, tensors = graph_of(self.task, handle)
        _build(graph, self.task.dtype)
        return graph, tensors, handle

    def run(self, *operands: Any) -> Any:
        """The result, in a new array."""
        graph, tensors, handle = self.built
        result = cp.empty(self.task.shapes()[OPERATIONS[self.task.operation][1]], dtype=self.task.dtype)
        workspace = cp.empty(max(graph.get_workspace_size(), 1), dtype=cp.uint8)
        arrays = [*map(_aligned, operands), result]
        _library().set_stream(handle, cp.cuda.get_current_stream().ptr)
        pointers = {tensor: array.data.ptr for tensor, array in zip(tensors, arrays, strict=True)}
        graph.execute(pointers, workspace.data.ptr, handle=handle)
        return result

    def computed(self, operands: tuple[Any, Any], plain: Callable[[], Any]) -> Any:
        """The result of cuDNN's, or the plain one."""
        if self.reason:
            return plain()
        try:
            result = self.run(*operands)
            return result if self.is_checked else self._checked(result, operands, plain())
        except cp.cuda.memory.OutOfMemoryError:
            raise
        except Exception as error:  # whatever cuDNN raises: the plain kernel does not need it
            self._give_up(f"{type(error).__name__}: {error}")
            return plain()

    def _checked(self, result: Any, operands: tuple[Any, Any], want: Any) -> Any:
        """`result`, if it is near the plain one; with numbers that are not finite the check waits for the next call."""
        if not bool(cp.isfinite(want).all()):
            return want
        a, b, largest, error = (float(abs(each).max()) for each in (*operands, want, result - want))
        bound = tolerance(self.task) * (a * b + largest)
        if error <= bound:
            self.is_checked = True
            return result
        self._give_up(f"its first result differs from the plain kernel's by {error:.3g}, and {bound:.3g} is allowed")
        return want

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        operation, image, filters, window, dtype, *_ = self.task
        warnings.warn(
            f"cuDNN does not compute {operation} of images {image} with filters {filters}, {window}, in {dtype}: "
            f"{reason}. The plain kernel computes it from now on. Without engine='cudnn' it does so from the start.",
            RuntimeWarning,
            stacklevel=2,
        )


def tolerance(task: Task) -> float:
    """Of the first result, as a part of max|a| max|b| + max|result|, where a and b are the operands."""
    return 4 * float(cp.finfo(task.dtype).eps) * math.sqrt(task.terms())


def graph_of(task: Task, handle: Any) -> tuple[Any, tuple[Any, ...]]:
    """The graph of a task, not yet built, and its two operands and its result."""
    cudnn, shapes, window = _library(), task.shapes(), task.window
    kind, sums = (getattr(cudnn.data_type, name) for name in KINDS[task.dtype])
    graph = cudnn.pygraph(handle=handle, io_data_type=kind, intermediate_data_type=sums, compute_data_type=sums)
    names, outcome = OPERATIONS[task.operation]
    operands: dict[str, Any] = {}
    for name in names:
        dim, stride = _layout(shapes[name])
        operands[name] = graph.tensor(name=name, dim=dim, stride=stride, data_type=kind)
    result = getattr(graph, task.operation)(
        **operands,
        pre_padding=[before for before, _ in window.padding],
        post_padding=[after for _, after in window.padding],
        stride=list(window.stride),
        dilation=list(window.dilation),
        compute_data_type=sums,
    )
    dim, stride = _layout(shapes[outcome])
    result.set_output(True).set_dim(dim).set_stride(stride).set_data_type(kind)
    return graph, (*operands.values(), result)


def _build(graph: Any, dtype: str) -> None:
    cudnn = _library()
    notes = (*UNWANTED, "TENSOR_CORE") if dtype == "float32" else UNWANTED
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    graph.deselect_numeric_notes([getattr(cudnn.numerical_note, note) for note in notes])
    graph.check_support()
    graph.build_plans()


def _layout(shape: Shape) -> tuple[list[int], list[int]]:
    """Dimensions in cuDNN's order (first, channels, height, width), and their strides, for channels that lie last."""
    first, height, width, channels = shape
    return [first, channels, height, width], [height * width * channels, 1, width * channels, channels]


def _aligned(x: Any) -> Any:
    x = cp.ascontiguousarray(x)
    return x.copy() if x.data.ptr % ALIGNMENT else x


@functools.lru_cache(maxsize=MOST_PLANS)
def _plan(task: Task) -> Plan:
    return Plan(task)


@functools.lru_cache(maxsize=MOST_PLANS)
def _handle(device: int, thread: int) -> Any:
    """Of the current device, which is that of the arrays."""
    return _library().create_handle()


def _library() -> Any:
    return importlib.import_module("cudnn")


# --- In the place of the plain products ------------------------------------------------------------------------------


def product(plain: Callable[..., Any]) -> Callable[..., Any]:
    """`plain(x, weight, window, groups)`, or cuDNN's where it is asked for."""

    @functools.wraps(plain)
    def chosen(x: Any, weight: Any, window: Window, groups: int) -> Any:
        if not _is_asked_for(x, weight):
            return plain(x, weight, window, groups)
        filters = _filters_first(weight)
        plan = _plan_for("conv_fprop", x, filters, window)
        shape = plan.task.shapes()["loss"]
        y = plan.computed((x, filters), lambda: plain(x, weight, window, groups).reshape(shape))
        return y.reshape(-1, shape[3])

    return chosen


def products_back(plain: Callable[..., Any]) -> Callable[..., Any]:
    """`plain(dy, x, weight, window, groups, input_gradient)`, or cuDNN's where they are asked for."""

    @functools.wraps(plain)
    def chosen(dy: Any, x: Any, weight: Any, window: Window, groups: int, input_gradient: bool) -> Any:
        if not _is_asked_for(dy, x, weight):
            return plain(dy, x, weight, window, groups, input_gradient)
        both = functools.cache(lambda: plain(dy, x, weight, window, groups, input_gradient))
        filters = _filters_first(weight)
        plan = _plan_for("conv_wgrad", x, filters, window)
        outputs = dy.reshape(plan.task.shapes()["loss"])
        dw = _filters_last(plan.computed((x, outputs), lambda: _filters_first(both()[1])))
        if not input_gradient:
            return None, dw
        return _plan_for("conv_dgrad", x, filters, window).computed((outputs, filters), lambda: both()[0]), dw

    return chosen


def _is_asked_for(*arrays: Any) -> bool:
    return takes_cudnn() and len({a.dtype for a in arrays}) == 1 and arrays[0].dtype.name in KINDS


def _plan_for(operation: str, x: Any, filters: Any, window: Window) -> Plan:
    return _plan(Task(operation, x.shape, filters.shape, window, x.dtype.name, x.device.id, threading.get_ident()))


def _filters_first(weight: Any) -> Any:
    return cp.ascontiguousarray(weight.transpose(3, 0, 1, 2))


def _filters_last(filters: Any) -> Any:
    return cp.ascontiguousarray(filters.transpose(1, 2, 3, 0))
