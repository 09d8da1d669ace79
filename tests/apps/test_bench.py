"""The bench: what it measures, what it says, and its command."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

import nnarray as nn
from nnarray import backends
from nnarray.apps import bench as benches
from nnarray.apps.bench import Case, Device, Timing, devices, measure, verdict
from nnarray.cli import app
from nnarray.cli.bench import written

QUICK = ("bench", "--sizes", "2,3", "--seconds", "0.002", "--batch-size", "4", "--backends")


def call(*words: str):
    return CliRunner().invoke(app, list(words), prog_name="nnarray")


def here(be: nn.Backend, *, gpu: bool = False) -> Device:
    return Device(be, "CPU", gpu)


def made_up(name: str, seconds: Sequence[float | None], *, gpu: bool = False) -> list[Case]:
    """Widths 16, 64, 256, ...: forward propagation as given, training three times as long; None is a failure."""
    return [
        Case(name, "it", gpu, 16 * 4**i, Timing(s, s / 2, 10**9), Timing(3 * s, s, 3 * 10**9))
        if s
        else Case(name, "it", gpu, 16 * 4**i, failure="full")
        for i, s in enumerate(seconds)
    ]


# --- What is measured ----------------------------------------------------------------------------------------


def test_every_backend_is_measured_at_every_width(be: nn.Backend) -> None:
    found = list(measure([here(be)], [2, 3], batch_size=4, seconds=0.002))
    assert [case.width for case in found] == [2, 3]
    for case, n in zip(found, (2, 3), strict=True):
        assert (case.backend, case.failure) == (be.name, "")
        assert case.forward is not None
        assert case.training is not None
        assert case.forward.multiply_adds == 4 * (n * n + n * n + 10 * n)
        assert case.training.multiply_adds == 4 * (2 * n * n + 3 * n * n + 3 * 10 * n)
        for timing in (case.forward, case.training):
            assert min(timing.seconds, timing.products, timing.gflops, timing.fraction) > 0
            assert timing.spread >= 1


def test_rates_follow_from_the_times() -> None:
    timing = Timing(seconds=0.5, products=0.25, multiply_adds=10**9)
    assert (timing.gflops, timing.fraction) == (4.0, 0.5)


def test_the_products_are_those_of_the_network(be: nn.Backend) -> None:
    """Which is what makes their time the limit: as many, of the same shapes."""
    model = nn.models.mlp(10, (3, 3)).init((3,), backend=be, dtype="float32")
    x = be.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype="float32")
    forward = [y.shape for y in benches._products(be, model, x, training=False)()]
    training = [y.shape for y in benches._products(be, model, x, training=True)()]
    assert forward == [(2, 3), (2, 3), (2, 10)]
    assert training == [*forward, (3, 3), (3, 3), (3, 10), (2, 3), (2, 3)]


@pytest.mark.parametrize("stage", ["_forward", "_training"])
def test_what_fails_is_reported_and_the_rest_goes_on(
    stage: str, host: nn.Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = getattr(benches, stage)

    def full(be: nn.Backend, model: nn.Model, *rest: object) -> Timing:
        if model.input_shape == (3,):
            raise MemoryError("no memory left")
        return works(be, model, *rest)

    monkeypatch.setattr(benches, stage, full)
    found = list(measure([here(host)], [2, 3, 4], batch_size=4, seconds=0.0))
    assert [case.failure for case in found] == ["", "no memory left", ""]
    assert (found[1].forward is None, found[1].training) == (stage == "_forward", None)


def test_a_dtype_that_one_backend_lacks_is_reported(host: nn.Backend) -> None:
    (case,) = measure([here(host)], [2], dtype="bfloat16", seconds=0.0)
    assert "backend 'numpy' has no dtype 'bfloat16'" in case.failure


def test_all_that_compute_are_taken_but_imitations(monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [nn.BackendInfo("numpy", True), nn.BackendInfo("cupy", False), nn.BackendInfo("strict", True)]
    monkeypatch.setattr(backends, "list_backends", lambda: infos)
    (only,) = devices()
    assert (only.backend.name, only.device, only.gpu) == ("numpy", "CPU", False)


def test_imitations_and_repetitions_are_no_gpus() -> None:
    chosen = devices(["strict:device1", "numpy", "numpy"])
    assert [(device.backend.name, device.gpu) for device in chosen] == [("strict:device1", False), ("numpy", False)]


def test_a_gpu_gets_a_larger_width(host: nn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    assert benches.default_widths([here(host)]) == (16, 64, 256, 1024)
    monkeypatch.setattr(backends, "describe", lambda flag: nn.BackendInfo(flag, True, device="NVIDIA H100"))
    (device,) = devices(["numpy"])
    assert device.gpu
    assert benches.default_widths([device]) == (16, 64, 256, 1024, 2048)


# --- What it means -------------------------------------------------------------------------------------------

NUMPY = made_up("numpy", [1.0, 2.0, 8.0])


@pytest.mark.parametrize(
    ("seconds", "trains"),
    [
        ([2.0, 2.0, 2.0], "cupy trains faster than numpy from width 256 on (4 times at 256)."),
        ([2.0, 1.0, 2.0], "cupy trains faster than numpy from width 64 on (4 times at 256)."),
        ([0.5, 1.0, 2.0], "cupy trains faster than numpy at every width, from 16 to 256 (4 times at 256)."),
        (
            [10.0, 10.0, 10.0],
            "cupy never trains faster than numpy up to the largest of these widths, from 16 to 256 "
            "(closest at 256: 0.8 times its speed).",
        ),
        (
            [0.5, 10.0, 10.0],
            "cupy never trains faster than numpy up to the largest of these widths, from 16 to 256 "
            "(faster at 16, 2 times, but not at 256).",
        ),
        ([2.0, 1.0, None], "cupy trains faster than numpy from width 64 on (2 times at 64)."),
        ([0.5, None, None], "cupy trains faster than numpy at every width, only 16 (2 times at 16)."),
        ([None] * 3, "cupy and numpy could not both be measured at any width (training)."),
    ],
)
def test_from_which_width_on(seconds: list[float | None], trains: str) -> None:
    training, forward = verdict(NUMPY + made_up("cupy", seconds, gpu=True))
    assert training == trains
    assert forward == trains.replace("trains", "goes forward").replace("training", "forward")


def test_without_a_gpu_or_a_cpu_there_is_nothing_to_compare() -> None:
    assert verdict(NUMPY + made_up("torch", [1.0])) == [
        "There is no GPU among these backends to compare with. `nnarray info` shows why."
    ]
    assert verdict(made_up("cupy", [1.0], gpu=True)) == [
        "There is no CPU among these backends to compare with. Add numpy."
    ]


def test_without_numpy_the_first_cpu_is_compared_with_and_each_gpu_gets_its_sentences() -> None:
    gpus = made_up("cupy", [0.5], gpu=True) + made_up("torch:cuda:0", [0.5], gpu=True)
    sentences = verdict(made_up("torch", [1.0]) + made_up("jax", [1.0]) + gpus)
    assert [sentence.split(" at every")[0] for sentence in sentences] == [
        "cupy trains faster than torch",
        "cupy goes forward faster than torch",
        "torch:cuda:0 trains faster than torch",
        "torch:cuda:0 goes forward faster than torch",
    ]


# --- The command ---------------------------------------------------------------------------------------------


def test_the_table_is_plain_text_for_a_pipe() -> None:
    done = call(*QUICK, "numpy,strict")
    assert done.exit_code == 0, done.output
    assert not done.stderr
    assert done.stdout.isascii()
    assert "n-n-n-10, relu, float32; batches of 4; a step of Adam" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows if row[:1] in (["2"], ["3"])] == [
        [n, flag] for n in ("2", "3") for flag in ("numpy", "strict")
    ]
    assert done.stdout.splitlines()[-1].startswith("There is no GPU among these backends to compare with.")


def test_the_table_fits_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = Timing(1.234e-3, 1.0e-3, 10**9)
    monkeypatch.setattr(benches, "measure", lambda *_, **__: [Case("torch:cuda:0", "it", True, 2048, timing, timing)])
    rows = call(*QUICK, "numpy").stdout.splitlines()
    (row,) = (row for row in rows if row.startswith("2048"))
    assert len(row.rstrip()) <= 80
    assert row.split()[2:6] == ["1.23", "ms", "1.62e+03", "81%"]


def test_failures_and_unsteady_times_are_reported_below_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        Case("numpy", "CPU", False, 16, Timing(1.0, 1.0, 1, spread=3.0), None, "no memory left\non numpy"),
    ]
    monkeypatch.setattr(benches, "measure", lambda *_, **__: cases)
    said = call(*QUICK, "numpy").stdout
    assert "failed" in said
    assert "\nnumpy at 16: no memory left on numpy\n" in said
    assert "other programs seem to be running" in said


def test_times_are_doubted_that_vary_or_beat_the_limit() -> None:
    assert not Timing(1.0, 1.5, 1, spread=1.5).doubtful
    assert Timing(1.0, 1.0, 1, spread=2.5).doubtful
    assert Timing(1.0, 2.5, 1).doubtful


def test_a_fake_gpu_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    real = backends.describe

    def describe(flag: str) -> nn.BackendInfo:
        return nn.BackendInfo(flag, True, device="NVIDIA H100") if flag == "strict" else real(flag)

    monkeypatch.setattr(backends, "describe", describe)
    said = call(*QUICK, "numpy,strict").stdout
    assert "numpy on CPU, strict on NVIDIA H100" in said
    assert "strict" in said.splitlines()[-1]
    assert "faster than numpy" in said


def test_the_bench_for_machines() -> None:
    done = call(*QUICK, "numpy", "--json", "--dtype", "float64")
    report = json.loads(done.stdout)
    assert (report["batch_size"], report["dtype"], report["seconds"]) == (4, "float64", 0.002)
    assert [case["width"] for case in report["cases"]] == [2, 3]
    assert set(report["cases"][0]["forward"]) == {"seconds", "products", "multiply_adds", "spread", "gflops", "share"}
    assert report["verdict"][0].startswith("There is no GPU")


def test_a_failure_for_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benches, "_forward", None)
    (case,) = json.loads(call("bench", "--backends", "numpy", "--sizes", "2", "--json").stdout)["cases"]
    assert (case["forward"], case["training"]) == (None, None)
    assert "not callable" in case["failure"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--backends nupmy", "unknown backend 'nupmy'; use one of numpy, cupy, torch, jax, strict."),
        ("--backends numpy,", "--backends must be names separated by commas, such as numpy,torch; got 'numpy,'."),
        ("--sizes 0", "--sizes must be integers above 0"),
        ("--sizes 16;64", "--sizes must be integers above 0"),
        ("--batch-size 0", "--batch-size must be an integer of at least 1; got 0."),
        ("--seconds -1", "--seconds must be a finite number of at least 0; got -1.0."),
        ("--backends numpy --dtype float31", "unknown dtype 'float31'; use one of float16, bfloat16, float32"),
        ("--dtypes float32", "See 'nnarray bench --help'."),
    ],
)
def test_what_is_asked_for_wrongly_exits_2(words: str, says: str) -> None:
    done = call("bench", *words.split())
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_has_an_example() -> None:
    assert "Examples:\n    nnarray bench" in call("bench", "--help").stdout


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.3456, "12.3 s"), (1.0, "1.00 s"), (0.99999, "1.00 s"), (4.2e-3, "4.20 ms"), (123.4e-6, "123 us")],
)
def test_times_are_written_in_a_unit_that_suits_them(seconds: float, text: str) -> None:
    assert written(seconds) == text
