"""Which backends a test runs on is decided here, and nowhere else: a test asks for `be`."""

from __future__ import annotations

import ast
import ctypes
import functools
import gc
import importlib.metadata
import importlib.util
import os
import platform
import random
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from tests.kept import programs

os.environ.setdefault("JAX_ENABLE_X64", "1")  # before JAX starts: without it float64 is silently float32
os.environ.setdefault("JAX_PLATFORMS", "" if os.path.exists("/dev/nvidiactl") else "cpu")
# JAX's tests are mostly compiling: with little effort, and nothing twice, in whatever process.
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] += " --xla_llvm_disable_expensive_passes=true"
    if importlib.util.find_spec("jaxlib") and not importlib.metadata.version("jaxlib").startswith(("0.5.", "0.6.")):
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"  # older ones end at flags that they lack
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # as in the workers, which have their parent's
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs()
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or hundreds of processes compile the same sources, each for itself
os.environ.pop("PYTHONUNBUFFERED", None)  # which hides what happens to the buffers of most users
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # nobody reads where an operation came from
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # cores are shared: more threads than cores wait for each other
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(share, 1)))
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.pop("NNARRAY_BACKEND", None)

import pytest

import nnarray as nn
from tests import browser, cupy_on_cpu
from tests.packages import MISSING, hide, missing, need

hide(os.environ.get("NNARRAY_WITHOUT", "").split(","))
ON_CPU = cupy_on_cpu.is_built() and not os.path.exists("/dev/nvidiactl")
if ON_CPU:
    cupy_on_cpu.use()

FLAGS = ("numpy", "strict", "strict:device1", "strict:no_float64", "torch", "torch:cuda:0", "jax", "cupy", "cupy:1")
HAS_LIMITS = importlib.util.find_spec("pytest_timeout") is not None  # a machine without a registry may lack it
SECOND_DEVICES = {"cupy:1"}  # for the tests that are marked so
VARIANTS = {"strict:device1", "strict:no_float64"}  # the strict library, where defaults of device and dtype are wrong
ALWAYS = {"numpy", "strict"} | VARIANTS
SLOW = {"jax"}  # which compile every operation for every shape, and take 25 times as long as others
EVERY_CASE = (
    "tests/kernels/",
    "tests/layers/",
    "tests/test_losses.py",
    "tests/test_optimizers.py",
)  # on slow ones, too


def _why_not(flag: str) -> str:
    """Why a backend cannot compute here; an import is not enough."""
    try:
        nn.backend(flag)
    except (ImportError, RuntimeError) as error:
        return str(error)
    return ""


WHY_NOT = {flag: _why_not(flag) for flag in FLAGS}
RAN: dict[str, int] = defaultdict(int)  # flag -> how many tests passed on it
BY_FILE: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))  # the same for each file of tests
SEEN: dict[str, set[str]] = defaultdict(set)  # test -> backends it passed on
LEFT_OUT: dict[str, list[str]] = {}  # file of tests -> the optional packages that it is about and that are not here
BROWSER = "browser"  # what tests with this mark need, and what they are counted under
COMPARED: set[str] = set()  # tests that were skipped for want of the package that they compare with


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--support", metavar="FILE", help="write which tests passed on which backend as a page of the docs"
    )
    if not HAS_LIMITS:
        parser.addini("timeout", "the limit of a test, which nobody looks at then")
    parser.addoption("--shuffle", metavar="SEED", type=int, help="run the tests in a random order")
    parser.addoption("--every-case", action="store_true", help="of each test, run every case on slow backends, too")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """A file about a package that is not installed is left out, and named at the end."""
    absent = missing(collection_path) if collection_path.match("test_*.py") else []
    if absent:
        LEFT_OUT[collection_path.name] = absent
    return True if absent else None  # None: whatever else decides


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays to the end: the garbage collector need not look through it, now or in any test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _runs_again(item: pytest.Item) -> bool:
    """Whether this is the fixture's float64 on a device that has none: the test has run in float32."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    own = any("dtype" in mark.args[0] for mark in item.iter_markers("parametrize"))  # which says what dtype is there
    flag = params.get("be", "numpy")
    return params.get("dtype") == "float64" and not own and "float64" not in nn.backend(flag).dtypes


def _further_cases(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Those that slow backends leave to the others: a test runs on each of them once.

    Layers, losses and optimizers run with every setting; kernels, with every setting and dtype.
    """
    begun: set[tuple[str, ...]] = set()
    for item in items:
        params = dict(getattr(getattr(item, "callspec", None), "params", {}))
        flag = params.get("be", params.get("flag"))
        if flag not in SLOW or item.nodeid.startswith("tests/kernels/"):
            continue
        params.pop("dtype", None)
        settings = sorted(f"{name}={value!r}" for name, value in params.items())
        case = (item.nodeid.split("[")[0], flag, *(settings if item.nodeid.startswith(EVERY_CASE) else ()))
        if case in begun:
            yield item
        begun.add(case)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = {item for item in items if _runs_again(item)}
    if not config.getoption("--every-case"):
        left |= {*_further_cases(items)}
    in_browser = {item for item in items if item.get_closest_marker(BROWSER)}
    if in_browser and browser.why_not():
        left |= in_browser
    config.hook.pytest_deselected(items=[*left])
    items[:] = [item for item in items if item not in left]
    if (seed := config.getoption("--shuffle")) is not None:
        random.Random(seed).shuffle(items)


def pytest_configure(config: pytest.Config) -> None:
    if not HAS_LIMITS:
        config.addinivalue_line("markers", "timeout: the limit of a test, which nobody looks at")
    required = ALWAYS | {flag for flag in os.environ.get("NNARRAY_REQUIRE", "").split(",") if flag}
    missing = {flag: why for flag in required if (why := _why_nothing_ran(flag))}
    if missing:
        raise pytest.UsageError(f"what is required cannot run here: {missing}")


def _why_nothing_ran(flag: str) -> str:
    """Why a backend, or the browser, cannot be tested with here."""
    return browser.why_not() if flag == BROWSER else WHY_NOT.get(flag, "unknown flag")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A backend that cannot compute here gives no test to skip: the closing lines name it instead."""
    if "be" in metafunc.fixturenames:
        usable = [flag for flag in FLAGS if not WHY_NOT[flag] and _is_tested_on(metafunc.definition, flag)]
        metafunc.parametrize("be", usable, indirect=True, scope="session")


def _is_tested_on(test: pytest.Item, flag: str) -> bool:
    if flag in VARIANTS and test.get_closest_marker("once_a_library"):
        return False
    if any(flag in mark.args for mark in test.iter_markers("not_on")):
        return False
    if test.get_closest_marker("half_precision") and not {"float16", "bfloat16"} & set(nn.backend(flag).dtypes):
        return False
    return flag not in SECOND_DEVICES or test.get_closest_marker("second_device") is not None


@pytest.fixture(scope="session")
def be(request: pytest.FixtureRequest) -> nn.Backend:
    """Each backend that computes here."""
    return nn.backend(request.param)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest, be: nn.Backend) -> str:
    """The dtypes that every kernel is tested in, as far as the device has them."""
    return request.param


def pytest_runtest_setup(item: pytest.Item) -> None:
    params = getattr(getattr(item, "callspec", None), "params", {})
    for given in params.values():
        need(given)
    if "be" in params:
        item.user_properties.append(("backend", params["be"]))
    elif item.get_closest_marker(BROWSER):
        item.user_properties.append(("backend", BROWSER))
    if why := WHY_NOT.get(params.get("flag", "")):  # of the few tests that name their backends
        pytest.skip(why)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counted from the reports, so that it also works where several processes share the tests."""
    flag = dict(report.user_properties).get("backend")
    if flag:
        test = report.nodeid.split("[")[0]
        if report.skipped and MISSING in str(report.longrepr):
            COMPARED.add(test)
        passed_on = SEEN[test]  # a test that never passes keeps an empty set
        if report.when == "call" and report.passed:
            RAN[flag] += 1
            BY_FILE[report.nodeid.split("::")[0]][flag] += 1
            passed_on.add(flag)


def on_no_backend() -> list[str]:
    """Tests that passed on none, although whatever they need is installed."""
    return [test for test, ran in SEEN.items() if not ran and test not in COMPARED]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == 0 and on_no_backend():
        session.exitstatus = 1
    page = session.config.getoption("--support")
    if page and not hasattr(session.config, "workerinput"):  # the process that has all reports
        Path(page).write_text(support_page(), encoding="utf-8")


def support_page() -> str:
    """What the tests ran on, as a table in Markdown."""
    flags = [flag for flag in FLAGS if RAN[flag]]
    versions = {each.name: each.version for each in nn.list_backends() if each.usable}
    named = [f"{flag} {versions.get(flag, '')}".strip() for flag in flags]
    lines = [
        "# What works on which backend",
        "",
        "The tests write this page (`make support`). It shows how many tests passed on each backend, by subject.",
        f"Failed tests are not counted. {date.today().isoformat()}, Python {platform.python_version()},",
        f"{platform.system()} {platform.machine()}.",
        "",
        f"| what is tested | {' | '.join(named)} |",
        f"| --- |{' ---: |' * len(flags)}",
    ]
    for file, counts in sorted(BY_FILE.items()):
        if not any(counts[flag] for flag in flags):  # of a browser alone
            continue
        title = ast.get_docstring(ast.parse(Path(file).read_text(encoding="utf-8"))) or Path(file).stem[5:].capitalize()
        about = title.split("\n")[0].rstrip(".")
        lines.append(f"| {about} | {' | '.join(str(counts[flag]) for flag in flags)} |")
    lines += [f"| **all** | {' | '.join(f'**{RAN[flag]}**' for flag in flags)} |", ""]
    lines += ["Not run:", ""] + [f"- `{flag}`: {why}" for flag, why in WHY_NOT.items() if why]
    return "\n".join(lines) + "\n"


def pytest_terminal_summary(terminalreporter) -> None:
    line = terminalreporter.write_line
    terminalreporter.section("backends")
    for flag in (*FLAGS, BROWSER):
        why = _why_nothing_ran(flag)
        line(f"{flag}: DID NOT RUN: {why}" if why else f"{flag}: {RAN[flag]} tests passed")
    for file, absent in LEFT_OUT.items():
        line(f"{file}: LEFT OUT: it needs {', '.join(absent)}")
    for test in on_no_backend():
        line(f"RAN ON NO BACKEND: {test}")


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C as Python takes it, also where a shell started the tests in the background and it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _few_contexts() -> None:
    """JAX makes a new context for each program that it lowers, in a quarter of its time; one a thread will do."""
    try:
        from jax._src.interpreters import mlir

        make = mlir.make_ir_context
    except (ImportError, AttributeError):  # another version
        return
    context = functools.cache(lambda thread: make())
    mlir.make_ir_context = lambda: context(threading.get_ident())


if not WHY_NOT["jax"]:
    _few_contexts()

AN_EIGHTH = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 8 if hasattr(os, "sysconf") else 0.0
MEMORY = max(1.2e9, AN_EIGHTH)  # bytes that a process of tests may have before JAX must forget
GROWTH = 2e8  # bytes by which it has to grow before JAX must forget again: what else is there, JAX cannot free
forget_above = [MEMORY]


def _memory() -> float:
    """The bytes of this process, on Linux; elsewhere 0."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0.0


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """JAX keeps every program that it has compiled, at 2.5 MB and more, and so do trainings."""
    yield
    if "jax" not in sys.modules or _memory() <= forget_above[0]:
        return
    if programs := sys.modules.get("nnarray.kernels.jax.programs"):
        programs.KEPT.values.clear()
    sys.modules["jax"].clear_caches()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # else the freed memory stays with the process
    forget_above[0] = max(MEMORY, _memory() + GROWTH)


@pytest.fixture
def host() -> nn.Backend:
    """NumPy, where reference values are computed."""
    return nn.backend("numpy")
