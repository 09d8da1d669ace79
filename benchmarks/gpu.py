"""Who is timed on a GPU: nnarray on CuPy and PyTorch, and their peers, with the data on the device already."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

import forward
import images
import numpy as np
import training
from base import Runtime
from workloads import REHEARSED

CUDA = "cpu" if REHEARSED else "cuda"


def settle(tf32: bool) -> None:
    """Whether float32 products may round their inputs to TF32, before any library is imported."""
    os.environ["CUPY_TF32"] = str(int(tf32))
    os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "tensorfloat32" if tf32 else "float32"
    os.environ["JAX_PLATFORMS"] = CUDA
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # else each process of JAX takes most of the memory
    os.environ["TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"] = str(int(tf32))
    if tf32:
        os.environ.pop("NVIDIA_TF32_OVERRIDE", None)
    else:
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # of cuBLAS and cuDNN, whoever calls them


class OnGpu(Runtime):
    """Settles the precision first."""

    def prepare(self) -> None:
        settle(self.work.tf32)
        super().prepare()


class OnCupy(OnGpu):
    """Of an engine that leaves its work to the plain kernels, no time is taken."""

    engine = "auto"

    def prepare(self) -> None:
        warnings.filterwarnings("error", "engine=|cuDNN does not", RuntimeWarning)
        if REHEARSED and self.engine == "cudnn":
            from tests.kernels import cudnn_stand_in

            sys.modules["cudnn"] = library = cudnn_stand_in.library()
            library.__spec__ = ModuleSpec("cudnn", None)
        super().prepare()

    @property
    def xp(self) -> Any:
        import cupy

        return cupy

    def finish(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()


class Products(OnCupy, training.Products):
    pass


class NnarrayCupy(OnCupy, training.Nnarray):
    flag = "cupy"


class NnarrayGraph(NnarrayCupy):
    engine = "graph"


class NnarrayTorch(OnGpu, training.Nnarray):
    flag = "torch" if REHEARSED else "torch:cuda:0"


class Torch(OnGpu, training.Torch):
    def prepare(self) -> None:
        super().prepare()
        self.batches = [(x.to(CUDA), y.to(CUDA)) for x, y in self.batches]
        self.net = self.net.to(CUDA)


class TorchFused(Torch):
    fused = True


class TorchCompile(TorchFused, training.TorchCompile):
    pass


class Replayed(Runtime):
    """Compiled into CUDA graphs, whose results the next replay overwrites."""

    torch: Any

    def compiled(self, function: Any) -> Any:
        replay = self.torch.compile(function, dynamic=False, mode="reduce-overhead")

        def call(*inputs: Any) -> Any:
            self.torch.compiler.cudagraph_mark_step_begin()
            return replay(*inputs)

        return call

    def kept(self, loss: Any) -> Any:
        return loss.detach().clone()


class TorchReplayed(Replayed, TorchFused):
    pass


class Jax(OnGpu, training.Jax):
    pass


class JaxScan(OnGpu, training.JaxScan):
    pass


class JaxPredictor(OnGpu, forward.Jax):
    pass


class ProductsPredictor(OnCupy, forward.Products):
    pass


class CupyPredictor(OnCupy, forward.Nnarray):
    def function(self, batch: int) -> Callable[[Any], Any]:
        model = training.nnarray_model(self.work, "cupy", self.dtype)

        def outputs(x: Any) -> Any:
            y = model(x)
            self.finish()
            return y

        return outputs

    def in_library(self, X: np.ndarray) -> Any:
        return self.xp.asarray(X)

    def on_host(self, y: Any) -> np.ndarray:
        return self.xp.asnumpy(y)


class OnCuda(OnGpu):
    torch: Any

    def finish(self) -> None:
        if not REHEARSED:
            self.torch.cuda.synchronize()


class TorchPredictor(OnCuda, forward.Torch):
    def function(self, batch: int) -> Callable[[Any], Any]:
        net = self.compiled(training.torch_network(self.work, self.dtype).eval().to(CUDA))

        def outputs(x: Any) -> Any:
            y = net(x)
            self.finish()
            return y

        return self.torch.inference_mode()(outputs)

    def in_library(self, X: np.ndarray) -> Any:
        return self.torch.from_numpy(X).to(CUDA)

    def on_host(self, y: Any) -> np.ndarray:
        return y.cpu().numpy()


class TorchCompilePredictor(TorchPredictor, forward.TorchCompile):
    pass


class TorchReplayedPredictor(Replayed, TorchPredictor):
    pass


class ProductsPainter(OnCupy, images.Products):
    pass


class CupyPainter(OnCupy, images.Nnarray):
    """GoogLeNet forward, folded as PyTorch's, and trainings."""

    def of(self, model: Any) -> Any:
        return super().of(model.to("cupy"))

    def in_library(self, x: np.ndarray) -> Any:
        return self.xp.asarray(x)

    def googlenet(self, batch: int) -> images.Call:
        model, x = self.of(images.googlenet_model().fold()), self.in_library(images.images(batch, *images.IMAGE))

        def run() -> Any:
            y = model(x)
            self.finish()
            return y

        return images.Call(run, lambda y: (self.xp.asnumpy(y),))


class GraphPainter(CupyPainter):
    """Of trainings; a graph is none of inference."""

    engine = "graph"

    def has(self, case: str) -> bool:
        return case in images.TRAINED


class CudnnPainter(CupyPainter):
    engine = "cudnn"


class TorchEagerPainter(OnCuda, images.Torch):
    """Network and data on the GPU."""

    def laid(self, network: Any) -> Any:
        return super().laid(network).to(CUDA)

    def in_library(self, x: np.ndarray) -> Any:
        return super().in_library(x).to(CUDA)

    def labels(self, y: np.ndarray) -> Any:
        return super().labels(y).to(CUDA)

    def inference(self, network: Any, x: np.ndarray) -> images.Call:
        f, in_library = self.compiled(network), self.in_library(x)

        def run() -> Any:
            y = f(in_library)
            self.finish()
            return y

        return images.Call(self.torch.inference_mode()(run), lambda y: (y.cpu(),))


class TorchPainter(TorchEagerPainter, images.TorchChannelsLast):
    pass


class TorchCompilePainter(TorchEagerPainter, images.TorchCompile):
    pass


class TorchReplayedPainter(Replayed, TorchEagerPainter, images.TorchChannelsLast):
    pass


class JaxPainter(OnGpu, images.Jax):
    pass


# Those that are soon prepared come first: whoever takes too long to compile then costs nobody else.
TRAINERS: dict[str, type[Runtime]] = {
    "PyTorch eager": Torch,
    "nnarray, CuPy": NnarrayCupy,
    "nnarray, CuPy, graph": NnarrayGraph,
    "products alone": Products,
    "PyTorch fused optimizer": TorchFused,
    "nnarray, PyTorch": NnarrayTorch,
    "JAX jit a step": Jax,
    "JAX scan": JaxScan,
    "torch.compile": TorchCompile,
    "torch.compile, reduce-overhead": TorchReplayed,
}
PREDICTORS: dict[str, type[Runtime]] = {
    "PyTorch eager": TorchPredictor,
    "nnarray, CuPy": CupyPredictor,
    "products alone": ProductsPredictor,
    "JAX jit": JaxPredictor,
    "torch.compile": TorchCompilePredictor,
    "torch.compile, reduce-overhead": TorchReplayedPredictor,
}
PAINTERS: dict[str, type[Runtime]] = {
    "PyTorch eager": TorchEagerPainter,
    "PyTorch channels last": TorchPainter,
    "nnarray, CuPy": CupyPainter,
    "nnarray, CuPy, graph": GraphPainter,
    "nnarray, CuPy, cuDNN": CudnnPainter,
    "products alone": ProductsPainter,
    "JAX jit": JaxPainter,
    "torch.compile": TorchCompilePainter,
    "torch.compile, reduce-overhead": TorchReplayedPainter,
}
