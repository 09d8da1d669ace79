"""Who is timed on a GPU: nnarray on CuPy and PyTorch, and their peers, with the data on the device already."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import forward
import images
import numpy as np
import training
from base import Runtime

CUDA = "cuda"


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


class NnarrayCupy(OnGpu, training.Nnarray):
    flag = "cupy"


class NnarrayTorch(OnGpu, training.Nnarray):
    flag = "torch:cuda:0"


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


class CupyPredictor(OnGpu, forward.Nnarray):
    def function(self, batch: int) -> Callable[[Any], Any]:
        import nnarray as nn

        self.backend = nn.backend("cupy")
        model = training.nnarray_model(self.work, self.backend, self.dtype)

        def outputs(x: Any) -> Any:
            y = model(x)
            self.backend.synchronize()
            return y

        return outputs

    def in_library(self, X: np.ndarray) -> Any:
        return self.backend.asarray(X)

    def on_host(self, y: Any) -> np.ndarray:
        return self.backend.to_numpy(y)


class TorchPredictor(OnGpu, forward.Torch):
    def function(self, batch: int) -> Callable[[Any], Any]:
        net, torch = self.compiled(training.torch_network(self.work, self.dtype).eval().to(CUDA)), self.torch

        def outputs(x: Any) -> Any:
            y = net(x)
            torch.cuda.synchronize()
            return y

        return torch.inference_mode()(outputs)

    def in_library(self, X: np.ndarray) -> Any:
        return self.torch.from_numpy(X).to(CUDA)

    def on_host(self, y: Any) -> np.ndarray:
        return y.cpu().numpy()


class TorchCompilePredictor(TorchPredictor, forward.TorchCompile):
    pass


class TorchReplayedPredictor(Replayed, TorchPredictor):
    pass


class CupyPainter(OnGpu, images.Nnarray):
    """GoogLeNet forward, folded as PyTorch's, and the training of the pets."""

    def prepare(self) -> None:
        super().prepare()
        import nnarray as nn

        self.backend = nn.backend("cupy")

    def of(self, model: Any) -> Any:
        return super().of(model.to(self.backend))

    def in_library(self, x: np.ndarray) -> Any:
        return self.backend.asarray(x)

    def googlenet(self, batch: int) -> images.Call:
        here = self.backend
        model, x = self.of(images.googlenet_model().fold()), self.in_library(images.images(batch, *images.IMAGE))

        def run() -> Any:
            y = model(x)
            here.synchronize()
            return y

        return images.Call(run, lambda y: (here.to_numpy(y),))


class OnCuda(OnGpu, images.Torch):
    """Network and data on the GPU."""

    def laid(self, network: Any) -> Any:
        return super().laid(network).to(CUDA)

    def in_library(self, x: np.ndarray) -> Any:
        return super().in_library(x).to(CUDA)

    def labels(self, y: np.ndarray) -> Any:
        return super().labels(y).to(CUDA)

    def inference(self, network: Any, x: np.ndarray) -> images.Call:
        torch, f, in_library = self.torch, self.compiled(network), self.in_library(x)

        def run() -> Any:
            y = f(in_library)
            torch.cuda.synchronize()
            return y

        return images.Call(torch.inference_mode()(run), lambda y: (y.cpu(),))


class TorchEagerPainter(OnCuda):
    pass


class TorchPainter(OnCuda, images.TorchChannelsLast):
    pass


class TorchCompilePainter(OnCuda, images.TorchCompile):
    pass


class TorchReplayedPainter(Replayed, OnCuda, images.TorchChannelsLast):
    pass


TRAINERS: dict[str, type[Runtime]] = {
    "PyTorch eager": Torch,
    "PyTorch fused optimizer": TorchFused,
    "torch.compile": TorchCompile,
    "torch.compile, reduce-overhead": TorchReplayed,
    "JAX jit a step": Jax,
    "JAX scan": JaxScan,
    "nnarray, CuPy": NnarrayCupy,
    "nnarray, PyTorch": NnarrayTorch,
}
PREDICTORS: dict[str, type[Runtime]] = {
    "PyTorch eager": TorchPredictor,
    "torch.compile": TorchCompilePredictor,
    "torch.compile, reduce-overhead": TorchReplayedPredictor,
    "nnarray, CuPy": CupyPredictor,
}
PAINTERS: dict[str, type[Runtime]] = {
    "PyTorch eager": TorchEagerPainter,
    "PyTorch channels last": TorchPainter,
    "torch.compile": TorchCompilePainter,
    "torch.compile, reduce-overhead": TorchReplayedPainter,
    "nnarray, CuPy": CupyPainter,
}
