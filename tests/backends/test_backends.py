from __future__ import annotations

import weakref

import numpy as np
import pytest

import nnarray as nn
from nnarray import backends
from nnarray.backends import choosing
from tests.packages import package
from tests.processes import run_python

pd, pl = package("pandas"), package("polars")


def net(be: nn.Backend, dtype: str = "float32") -> nn.Model:
    return nn.Network(nn.Dense(3, "tanh"), nn.Dense(2)).init((2,), seed=0, backend=be, dtype=dtype)


# --- Choosing ------------------------------------------------------------------------------------------------------


@pytest.mark.second_device
def test_a_flag_gives_its_backend(be: nn.Backend) -> None:
    x = be.asarray([1.0, 2.0], dtype="float32")
    assert backends.namespace(x) is be.xp
    assert backends.device_of(x) == be.device
    assert be.to_numpy(x).tolist() == [1.0, 2.0]
    be.synchronize()
    assert nn.backend(be.name) == be
    assert nn.backend(be) is be


def test_environment_decides_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nn.backend().name == "numpy"
    monkeypatch.setenv("NNARRAY_BACKEND", "strict:device1")
    assert nn.backend().name == nn.backend("auto").name == "strict:device1"
    assert nn.backend("numpy").name == "numpy"
    X, _ = nn.datasets.moons(4)
    assert "device1" in str(X.device)


def test_auto_says_what_it_took_and_why() -> None:
    found = nn.backend("auto")
    assert found.reason
    if backends.cuda_driver_version() is None:
        assert found.name == "numpy"


@pytest.mark.parametrize(
    ("flag", "message"),
    [("nmupy", "unknown backend 'nmupy'.*Did you mean 'numpy'"), ("numpy:gpu", "CPU only"), ("strict:x", "use one of")],
)
def test_unknown_flags(flag: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.backend(flag)


def test_a_backend_is_a_flag_or_a_backend() -> None:
    with pytest.raises(TypeError, match="flag such as 'numpy'"):
        nn.backend(np)  # type: ignore[arg-type]


def test_missing_library_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    library = type("Missing", (backends.Jax,), {"module": "no_such_library"})()
    monkeypatch.setitem(backends.LIBRARIES, "jax", library)
    choosing._proved.cache_clear()
    try:
        with pytest.raises(ImportError, match=r"jax is not installed; pip install 'nnarray\[jax\]'") as error:
            nn.backend("jax")
        listed = next(info for info in nn.list_backends() if info.name == "jax")
        assert not listed.usable
        assert listed.reason == str(error.value)
    finally:
        choosing._proved.cache_clear()


@pytest.mark.parametrize(
    ("driver", "error", "words"),
    [
        (None, "cudaErrorInsufficientDriver", "no NVIDIA driver"),
        (12040, "cudaErrorInsufficientDriver", r"supports CUDA 12.4, older than the toolkit's 13.2.*nnarray\[cuda12\]"),
        (11080, "cudaErrorInsufficientDriver", r"supports CUDA 11.8, older.*another backend"),
        (13020, "cudaErrorNoDevice: no CUDA-capable device is detected", "a driver but no CUDA device.*nvidia-smi"),
        (13020, "something else", "RuntimeError: something else"),
    ],
)
def test_why_cuda_does_not_compute(driver: int | None, error: str, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        raise RuntimeError(backends.explain_cuda(driver, 13020, RuntimeError(error)))


def test_every_known_backend_is_listed() -> None:
    listed = nn.list_backends()
    assert {info.name.split(":")[0] for info in listed} == {"numpy", "cupy", "torch", "jax", "strict"}
    for info in listed:
        assert str(info).startswith(info.name)
        if info.usable:
            assert info.version
            assert "float32" in info.dtypes
        else:
            with pytest.raises((ImportError, RuntimeError)) as error:
                nn.backend(info.name)
            assert str(error.value) == info.reason


def test_jax_without_x64_refuses_float64() -> None:
    code = (
        "import nnarray as nn; be = nn.backend('jax'); print(be.asarray([1.5]).dtype); be.asarray([1], dtype='float64')"
    )
    env = {"PATH": "", "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0"}
    done = run_python(code, env=env, check=False)
    assert done.stdout.strip() == "float32"
    assert "no dtype 'float64'" in done.stderr
    assert "JAX_ENABLE_X64=1" in done.stderr


# --- Bringing data in -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        [[1, 2], [3, 4]],
        ((1.0, 2.0), (3.0, 4.0)),
        np.asarray([[1, 2], [3, 4]], dtype=">f8"),
        np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]),
        np.asarray([[4.0, 3.0], [2.0, 1.0]])[::-1, ::-1],
        np.asarray([[1, 9, 2, 9], [3, 9, 4, 9]], dtype=np.uint8)[:, ::2],
        pd.DataFrame({"a": [1.0, 3.0], "b": [2, 4]}),
        pl.DataFrame({"a": [1.0, 3.0], "b": [2, 4]}),
        pd.DataFrame({"a": pd.array([1, 3], dtype="Int64"), "b": [2.0, 4.0]}),
        np.asarray([[1, 2], [3, 4]], dtype=np.longdouble),
    ],
    ids=[
        "list",
        "tuple",
        "big-endian",
        "fortran",
        "negative-strides",
        "strided",
        "pandas",
        "polars",
        "nullable",
        "long-double",
    ],
)
def test_asarray_takes_what_people_have(be: nn.Backend, given: object) -> None:
    x = be.asarray(given, dtype="float32")
    assert be.to_numpy(x).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert str(x.dtype).endswith("float32")
    assert backends.device_of(x) == be.device


@pytest.mark.second_device
def test_asarray_moves_between_backends(be: nn.Backend, host: nn.Backend) -> None:
    for flag in ("strict:device2", "torch", "jax", "numpy"):
        if any(info.name == flag and info.usable for info in nn.list_backends()):
            x = be.asarray(nn.backend(flag).asarray([1, 2], dtype="float32"))
            assert backends.namespace(x) is be.xp
            assert host.to_numpy(x).tolist() == [1.0, 2.0]


def test_asarray_leaves_the_given_array_alone(be: nn.Backend) -> None:
    given = np.ones(3)
    given.flags.writeable = False
    x = be.asarray(given)
    assert be.to_numpy(x + 1.0).tolist() == [2.0, 2.0, 2.0]
    assert given.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["a", "b"], TypeError, "real numbers"),
        (np.asarray([1j]), TypeError, "real numbers.*complex128"),
        (np.asarray([object()]), TypeError, "real numbers.*object"),
        (np.asarray(["2026-01-01"], dtype="datetime64[D]"), TypeError, "real numbers.*datetime64"),
        (pd.DataFrame({"n": [1, 2], "city": ["x", "y"]}), TypeError, r"columns \['city'\] do not have numbers"),
        (None, TypeError, "got NoneType with dtype object"),
        (np.ma.masked_array([1.0, 2.0], mask=[0, 1]), TypeError, "would lose its mask"),
        ([[1, 2], [3]], ValueError, "cannot make an array of list"),
    ],
)
def test_asarray_refuses(be: nn.Backend, given: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        be.asarray(given)


def test_unknown_dtype(be: nn.Backend) -> None:
    with pytest.raises(ValueError, match="has no dtype 'float31'; it has float"):
        be.asarray([1.0], dtype="float31")


# --- Following the data ---------------------------------------------------------------------------------------------


def test_mixed_libraries_name_both_sides() -> None:
    model, x = net(nn.backend("numpy")), nn.backend("strict").asarray([[1.0, 2.0]])
    with pytest.raises(TypeError, match=r"numpy \(cpu\).*X one of strict .*nothing is moved silently"):
        model(x)


def test_mixed_devices_name_both_sides() -> None:
    model, x = net(nn.backend("strict")), nn.backend("strict:device1").asarray([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"CPU_DEVICE.*X on .*device1.*nothing is moved silently"):
        model(x)
    with pytest.raises(ValueError, match="nothing is moved silently"):
        nn.value_and_grad(net(nn.backend("strict:device1")), x, nn.backend("strict").asarray([1]))


@pytest.mark.parametrize("given", [[[1.0, 2.0]], pd.DataFrame({"a": [1.0], "b": [2.0]}), None])
def test_what_is_no_array_is_sent_to_asarray(given: object) -> None:
    with pytest.raises(TypeError, match=r"X must be an array; got .*asarray\(X\)"):
        net(nn.backend("numpy"))(given)


@pytest.mark.parametrize("kind", ["int32", "bool", "float32", "float64"])
def test_models_convert_real_inputs_to_their_dtype(be: nn.Backend, kind: str) -> None:
    if kind == "float64" and kind not in be.dtypes:
        kind = "float32"
    x = be.xp.astype(be.asarray([[1, 0], [0, 1]]), getattr(be.xp, kind))
    y = net(be)(x)
    assert str(y.dtype).endswith("float32")
    np.testing.assert_allclose(
        be.to_numpy(y), be.to_numpy(net(be)(be.asarray([[1.0, 0.0], [0.0, 1.0]], dtype="float32")))
    )


@pytest.mark.second_device
def test_strided_and_zero_size_inputs(be: nn.Backend) -> None:
    model = net(be)
    x = be.asarray(np.arange(12.0).reshape(6, 2), dtype="float32")
    whole = be.to_numpy(model(x))
    np.testing.assert_allclose(be.to_numpy(model(x[::2, ...])), whole[::2], rtol=1e-5)
    turned = be.asarray(np.arange(12.0).reshape(6, 2).T.copy(), dtype="float32").T
    np.testing.assert_allclose(be.to_numpy(model(turned)), whole, rtol=1e-5)
    assert model(x[:0, ...]).shape == (0, 2)


def test_read_only_and_memory_mapped_inputs(tmp_path, host: nn.Backend) -> None:
    model, plain = net(host, "float64"), np.arange(12.0).reshape(6, 2)
    np.save(tmp_path / "x.npy", plain)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(model(mapped), model(plain))
    y = np.asarray([0, 1, 0, 1, 0, 1])
    y.flags.writeable = False
    model.fit(mapped, y, epochs=2, batch_size=2)


def test_a_model_runs_inside_jax_jit() -> None:
    jax = pytest.importorskip("jax")
    be = nn.backend("jax")
    model, x = net(be), be.asarray([[1.0, 2.0]], dtype="float32")
    np.testing.assert_allclose(jax.jit(model)(x), model(x), rtol=1e-6)
    np.testing.assert_allclose(model(x), jax.jit(lambda v: model(v))(x), rtol=1e-6)  # nothing leaked from the first
    traced = jax.jit(lambda v, t: nn.value_and_grad(model, v, t)[1])(x, be.asarray([1]))
    np.testing.assert_allclose(traced, nn.value_and_grad(model, x, be.asarray([1]))[1], rtol=1e-5)
    with pytest.raises(ValueError, match=r"fit cannot run inside jax\.jit"):
        jax.jit(lambda v: model.fit(v, be.asarray([1])))(x)


@pytest.mark.parametrize(
    ("where", "rule"),
    [("kernels.numpy.chain.Steps.run", nn.Adam()), ("training.rule.loss_and_gradient", nn.LAMB())],
)
def test_full_device_is_reported_in_one_way(
    monkeypatch: pytest.MonkeyPatch, host: nn.Backend, where: str, rule: nn.Optimizer
) -> None:
    model = net(host, "float64")
    before = model.theta.copy()

    def full(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(f"nnarray.{where}", full)
    with pytest.raises(
        nn.OutOfDeviceMemory, match=r"no memory left on numpy \(cpu\) .*9 GiB.*Reduce batch_size \(now 4\)"
    ):
        model.fit(np.ones((8, 2)), np.zeros(8, dtype=int), batch_size=4, optimizer=rule)
    np.testing.assert_array_equal(model.theta, before)


def test_the_memory_of_what_failed_is_free_again_when_the_advice_is_given(host: nn.Backend) -> None:
    theta, allocated, alive = host.asarray([1.0]), [], []

    def fails() -> None:
        activations = np.ones(1000)
        allocated.append(weakref.ref(activations))
        raise MemoryError("Unable to allocate 9 GiB")

    def advice(_: int | None) -> str:
        alive.extend(each() is not None for each in allocated)
        return "Take less."

    with pytest.raises(nn.OutOfDeviceMemory, match=r"9 GiB.*Take less\."), backends.memory_errors(theta, advice):
        fails()
    assert alive == [False]


def test_a_gpu_pays_for_large_networks() -> None:
    assert [choosing.gpu_pays(n) for n in (None, 0, 27, 99_999, 100_000, 10**9)] == [True, *[False] * 3, *[True] * 2]


def test_what_parameters_are_known_decides_for_auto_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNARRAY_BACKEND", raising=False)
    assert nn.backend("strict", parameters=27).name == "strict"
    monkeypatch.setenv("NNARRAY_BACKEND", "strict")
    assert nn.backend("auto", parameters=27).name == "strict"


def test_auto_tries_gpus_for_what_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    proved = choosing._proved

    def note(flag: str) -> nn.Backend:
        tried.append(flag)
        return proved("strict" if flag in ("cupy", "torch:cuda:0") else flag)

    monkeypatch.delenv("NNARRAY_BACKEND", raising=False)
    monkeypatch.setattr(choosing, "cuda_driver_version", lambda: 13000)
    monkeypatch.setattr(choosing, "_proved", note)
    small = nn.backend("auto", parameters=27)
    assert (small.name, small.reason) == ("numpy", "a GPU does not pay below 100,000 parameters")
    assert tried == ["numpy"]
    tried.clear()
    for parameters in (None, 10**6):
        assert nn.backend("auto", parameters=parameters).reason == "a GPU that computes"
    assert tried == ["cupy", "cupy"]
    monkeypatch.setattr(choosing, "cuda_driver_version", lambda: None)
    assert nn.backend("auto").reason == "no NVIDIA driver found"


def test_numpy_s_tools_are_imported_only_when_somebody_asks_for_them() -> None:
    code = """
        import sys
        import nnarray as nn

        nn.backend("numpy")
        loaded = [name for name in ("numpy.f2py", "numpy.testing", "numpy.ma", "unittest") if name in sys.modules]
        xp = nn.backend("numpy").xp
        import numpy as np

        print(loaded, [name for name in ("f2py", "ma", "testing") if name in vars(xp) or name in vars(np)])
        assert xp.testing is np.testing and xp.ma is np.ma and not hasattr(xp, "anything")
        """
    assert run_python(code).stdout.split() == ["[]", "[]"]
