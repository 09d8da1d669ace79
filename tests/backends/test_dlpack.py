"""DLPack: arrays of other libraries come in, and ours go out."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import backends
from nnarray.backends import library_and_device
from tests.processes import run_python

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

CPU, GPU = (1, 0), (2, 0)


class Tensor:
    """An array of a library that nobody knows: all that it has is DLPack."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class FarTensor(Tensor):
    """One on a GPU, which can be fetched to the host or not."""

    fetched: bool = True

    def __dlpack__(self, *, dl_device: tuple[int, int] | None = None, **options: Any) -> Any:
        if not self.fetched or dl_device is None or tuple(dl_device) != CPU:
            raise BufferError("it is far away")
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return GPU


NUMBERS = np.arange(6.0, dtype=np.float32).reshape(2, 3)
ARRAYS = {
    "numpy": NUMBERS,
    "torch": torch.from_numpy(NUMBERS.copy()),
    "jax": jax.numpy.asarray(NUMBERS),
    "turned": NUMBERS.T.copy().T,
    "reversed": NUMBERS[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": np.frombuffer(NUMBERS.tobytes(), dtype=np.float32).reshape(2, 3),
}

# --- In ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_unknown_array_comes_in(be: nn.Backend, array: Any) -> None:
    x = be.asarray(Tensor(array))
    assert backends.namespace(x) is be.xp
    assert backends.device_of(x) == be.device
    assert backends.dtype_name(x.dtype) == "float32"
    assert be.to_numpy(x).tolist() == NUMBERS.tolist()


@pytest.mark.parametrize("kind", ["bool", "uint8", "int32", "int64", "float64"])
def test_dtypes_are_kept_or_chosen(be: nn.Backend, kind: str) -> None:
    given = Tensor(np.asarray([0, 1], dtype=kind))
    x = be.asarray(given)
    assert backends.dtype_name(x.dtype) == kind or (kind == "float64" and "float64" not in be.dtypes)
    assert be.to_numpy(x).tolist() == [0, 1]
    assert backends.dtype_name(be.asarray(given, dtype="float32").dtype) == "float32"


def test_an_unknown_array_trains_a_model(be: nn.Backend) -> None:
    model = nn.Network(nn.Dense(2)).init((3,), backend=be, dtype="float32")
    history = model.fit(be.asarray(Tensor(NUMBERS)), be.asarray(Tensor(np.asarray([0, 1]))), epochs=2)
    assert history["loss"][1] < history["loss"][0]


@pytest.mark.parametrize(
    ("target", "source", "wrapped"),
    [
        ("torch", "numpy", False),
        ("torch", "numpy", True),
        ("torch", "torch", True),
        ("jax", "numpy", False),
        ("jax", "numpy", True),
        ("jax", "torch", False),
        ("jax", "torch", True),
    ],
)
def test_what_comes_in_is_a_copy(target: str, source: str, wrapped: bool) -> None:
    given = nn.backend(source).asarray(NUMBERS.copy())
    x = nn.backend(target).asarray(Tensor(given) if wrapped else given)
    given[0, 0] = 100.0
    assert float(x[0, 0]) == 0.0
    if target == "torch":
        x[0, 1] = 200.0
        assert float(given[0, 1]) == 1.0


def test_numpy_shares_memory_where_it_can() -> None:
    host, tensor = nn.backend("numpy"), torch.zeros(2)
    for given in (tensor, Tensor(tensor), tensor.numpy()):
        x = host.asarray(given)
        tensor[0] += 1.0
        assert float(x[0]) == float(tensor[0])
    for given in (jax.numpy.zeros(2), Tensor(jax.numpy.zeros(2))):
        assert not host.asarray(given).flags.writeable


@pytest.mark.parametrize(("target", "source"), list(itertools.permutations(["torch", "jax", "strict"], 2)))
def test_libraries_on_one_device_exchange_without_the_host(
    target: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host would be asked for the values; this is the way that CuPy and PyTorch take on one GPU."""
    given = nn.backend(source).asarray(NUMBERS)
    monkeypatch.setattr(type(backends.LIBRARIES[source]), "to_host", None)
    x = nn.backend(target).asarray(given, dtype="float32")
    monkeypatch.undo()
    assert nn.backend(target).to_numpy(x).tolist() == NUMBERS.tolist()


def test_an_unknown_array_on_the_same_gpu_is_copied_there(monkeypatch: pytest.MonkeyPatch) -> None:
    be, given = nn.backend("torch"), NUMBERS.copy()
    monkeypatch.setattr(library_and_device, "DLPACK_CPU", GPU)  # so that the CPU is a device like any other
    monkeypatch.setattr(library_and_device, "read", None)
    x = be.asarray(Tensor(given))
    given[0, 0] = 100.0
    assert x.tolist() == NUMBERS.tolist()


def test_negative_strides_and_gradient_records_are_no_obstacle() -> None:
    reversed_ = nn.backend("strict").asarray(NUMBERS)[::-1, ::-1]
    for flag in ("torch", "jax"):
        assert nn.backend(flag).asarray(reversed_).tolist() == NUMBERS[::-1, ::-1].tolist()
        assert nn.backend(flag).asarray(Tensor(NUMBERS[::-1, ::-1])).tolist() == NUMBERS[::-1, ::-1].tolist()
    recorded = torch.ones(2, requires_grad=True)
    assert nn.backend("jax").asarray(recorded).tolist() == [1.0, 1.0]


def test_bfloat16_survives_between_those_that_have_it() -> None:
    x = nn.backend("jax").asarray(torch.ones(2, dtype=torch.bfloat16))
    assert (x.dtype.name, x.tolist()) == ("bfloat16", [1.0, 1.0])
    assert nn.backend("numpy").asarray(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32


def test_jax_without_x64_gets_float32() -> None:
    code = "import nnarray as nn, torch; print(nn.backend('jax').asarray(torch.ones(2, dtype=torch.float64)).dtype)"
    environment = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0", "PATH": ""}
    done = run_python(code, "-W", "error", env=environment)
    assert done.stdout == "float32\n"


# --- From another device -------------------------------------------------------------------------------------


def test_an_unknown_array_of_another_device_comes_through_the_host(be: nn.Backend) -> None:
    assert be.to_numpy(be.asarray(FarTensor(NUMBERS))).tolist() == NUMBERS.tolist()


def test_one_that_cannot_be_fetched_is_sent_back(be: nn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FarTensor, "fetched", False)
    said = r"cannot take FarTensor from DLPack's device \(2, 0\) to the host: it is far away\. Move it to the host"
    with pytest.raises(TypeError, match=said):
        be.asarray(FarTensor(NUMBERS))


@pytest.mark.parametrize("given", [np.asarray([1j]), torch.asarray([1j]), jax.numpy.asarray([1j])])
def test_complex_numbers_are_refused(be: nn.Backend, given: Any) -> None:
    for each in (given, Tensor(given)):
        with pytest.raises(TypeError, match=r"real numbers.*complex"):
            be.asarray(each)


# --- Out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["numpy", "torch", "jax"])
def test_parameters_and_outputs_go_out(flag: str) -> None:
    be = nn.backend(flag)
    model = nn.Network(nn.Dense(2)).init((3,), backend=be, dtype="float32")
    theta = model.theta.copy() if flag == "numpy" else model.theta  # NumPy's cannot be written to
    for ours in (theta, model(be.asarray(NUMBERS))):
        theirs = torch.from_dlpack(ours)
        assert theirs.tolist() == be.to_numpy(ours).tolist()
        assert jax.numpy.from_dlpack(ours).tolist() == theirs.tolist()
        assert np.from_dlpack(ours).tolist() == theirs.tolist()


def test_theta_goes_out_as_the_same_memory() -> None:
    model = nn.Network(nn.Dense(2)).init((3,), backend="numpy")
    assert np.shares_memory(np.from_dlpack(model.theta), model.theta)


def test_a_tensor_of_parameters_is_the_model_s() -> None:
    be = nn.backend("torch")
    model = nn.Network(nn.Dense(2)).init((3,), backend=be, dtype="float32")
    x = be.asarray(NUMBERS)
    assert be.to_numpy(model(x)).any()
    torch.from_dlpack(model.theta)[:] = 0.0
    assert not be.to_numpy(model(x)).any()
