"""Everything that a machine with a GPU is asked for, in parts that end in time: python benchmarks/on_gpu.py --help.

It needs no registry and installs nothing: a Python with CuPy, and in a folder of wheels what that Python lacks.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LIMIT = 440.0  # seconds for a part
GRACE = 20.0  # seconds in which an interrupted part may end by itself
EVERY = 10.0  # seconds after which the page of a part that runs is written again
LATE = 124  # the exit status of an interrupted part that has none of its own
CHECKS = {
    "kernels": ("tests/kernels", "tests/backends"),
    "layers": ("tests/layers", "tests/functional", "tests/models", "tests/test_losses.py", "tests/test_optimizers.py"),
    "training": ("tests/training", "tests/engines", "tests/persistence"),
    "rest": ("tests",),  # without the others
}
BENCHES = {
    "small": ("run.py", "--gpu", "--workloads", "G1,G2"),
    "wide": ("run.py", "--gpu", "--workloads", "G3,G4"),
    "googlenet": ("run.py", "--gpu", "--workloads", "G5"),
    "pets": ("run.py", "--gpu", "--workloads", "G6"),
    "googlenet-training": ("run.py", "--gpu", "--workloads", "G7"),
    "tf32": ("run.py", "--gpu", "--workloads", "G3-tf32"),
    "googlenet-tf32": ("run.py", "--gpu", "--workloads", "G5-tf32"),
    "profile": ("step_profile.py",),
}
REHEARSED = {"NNARRAY_REHEARSAL": "1", "TORCHDYNAMO_DISABLE": "1"}  # to compile takes minutes on a host
REHEARSED_TESTS = "cupy and (relu or adam)"
CHECKED_WITH = {
    "JAX_PLATFORMS": "cpu",  # or it takes most of the GPU's memory
    "CUPY_TF32": "0",
    "NVIDIA_TF32_OVERRIDE": "0",
    "NNARRAY_REQUIRE": "cupy",
}


def main() -> int:
    """Run the parts one after the other; the exit status tells whether all ended well."""
    parser = argparse.ArgumentParser(description="Checks and benchmarks on a machine with a GPU, part by part.")
    parser.add_argument("what", choices=("check", "bench"))
    parser.add_argument("part", nargs="*", help=f"check: {', '.join(CHECKS)}; bench: {', '.join(BENCHES)}; all of them")
    parser.add_argument(
        "--wheels", type=Path, help="a folder of wheels, of which those that this Python lacks are used"
    )
    parser.add_argument("--out", type=Path, default=ROOT / ".gpu", help="the folder of the results")
    parser.add_argument("--only", help="which tests, in pytest's words, '' for all; those on CuPy and on PyTorch's GPU")
    parser.add_argument("--processes", type=int, default=4, help="processes of tests, where pytest-xdist is installed")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for a part")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU: all cut short, CuPy built for the host")
    asked = parser.parse_args()
    parts = CHECKS if asked.what == "check" else BENCHES
    if unknown := sorted(set(asked.part) - set(parts)):
        parser.error(f"parts of {asked.what} are {', '.join(parts)}; got {', '.join(unknown)}")
    if asked.wheels and not [*asked.wheels.glob("*.whl")]:
        parser.error(f"--wheels must be a folder with wheels (*.whl); there are none in {asked.wheels}")
    for ends in (signal.SIGINT, signal.SIGTERM):  # what runs in the background would ignore the first
        signal.signal(ends, signal.default_int_handler)
    if asked.only is None:
        asked.only = REHEARSED_TESTS if asked.rehearse else "cupy or cuda"
    if asked.rehearse:
        rehearse()
    asked.out.mkdir(parents=True, exist_ok=True)
    run = check if asked.what == "check" else bench
    with packages(asked.wheels) as folder:
        path = [str(ROOT), *([folder] if asked.wheels else [])]
        os.environ["PYTHONPATH"] = os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])])
        sys.path[1:1] = path
        statuses = [run(part, asked) for part in asked.part or parts]  # all run, whatever one of them gives
    return int(any(statuses))


def rehearse() -> None:
    """From now on CuPy computes on the host, and the benchmarks are cut short."""
    sys.path.insert(1, str(ROOT))
    from tests import cupy_on_cpu

    if not cupy_on_cpu.is_built():
        raise SystemExit("--rehearse needs CuPy built for the host, and there is none here; run: make cupy-on-cpu")
    cupy_on_cpu.use()
    os.environ |= REHEARSED


@contextmanager
def packages(wheels: Path | None) -> Iterator[str]:
    """A folder with the packages of the wheels that this Python lacks; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nnarray-packages-") as folder:
        for wheel in lacking(wheels) if wheels else ():
            print(f"from its wheel: {wheel.name}", flush=True)
            zipfile.ZipFile(wheel).extractall(folder)
        yield folder


def lacking(wheels: Path) -> list[Path]:
    """The wheels whose distribution is not installed: one that is must not be hidden by another version."""
    return [wheel for wheel in sorted(wheels.glob("*.whl")) if not is_installed(wheel.name.split("-")[0])]


def is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def check(part: str, asked: argparse.Namespace) -> int:
    """The tests of a part: how many passed on which backend, which did not, and which were not reached."""
    to, log = asked.out / f"check-{part}", asked.out / f"check-{part}.jsonl"
    log.unlink(missing_ok=True)
    about, begun = machine(), time.monotonic()
    found: dict[str, Any] = {"part": part, "status": "it has not ended", "only": asked.only}

    def note() -> None:
        now = found | {"seconds": round(time.monotonic() - begun, 1)} | outcomes(log)
        to.with_suffix(".json").write_text(json.dumps(about | now, indent=1) + "\n")
        to.with_suffix(".md").write_text(checked_page(about, now), encoding="utf-8")

    try:
        environment = os.environ | CHECKED_WITH | {"NNARRAY_OUTCOMES": str(log)}
        found["status"] = ended(pytest(part, asked), asked.limit, environment, meanwhile=note)
    finally:
        note()
    return found["status"]


def pytest(part: str, asked: argparse.Namespace) -> list[str]:
    """The command that runs the tests of a part."""
    others = [place for name, places in CHECKS.items() if name != part for place in places]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.outcomes", *CHECKS[part]]
    if part == "rest":
        words += [f"--ignore={place}" for place in others]
    if importlib.util.find_spec("xdist"):
        words += ["-n", str(asked.processes)]
    return [*words, "-k", asked.only] if asked.only else words


def bench(part: str, asked: argparse.Namespace) -> int:
    """The benchmarks of a part; each writes its own results."""
    script, *words = BENCHES[part]
    to = asked.out / f"bench-{part}"
    files = ("--json", f"{to}.json", "--markdown", f"{to}.md")
    if script == "run.py":
        words += [
            "--seconds",
            str(0.9 * asked.limit),
            *(("--repeats", "2", "--threads", "1") if asked.rehearse else ()),
        ]
    return ended([sys.executable, str(ROOT / "benchmarks" / script), *words, *files], asked.limit, os.environ)


def ended(
    words: list[str], limit: float, environment: Mapping[str, str], meanwhile: Callable[[], None] = lambda: None
) -> int:
    """The exit status of a command, none of whose processes stays; one that lasts too long is interrupted first."""
    process = subprocess.Popen(words, cwd=ROOT, env=environment, start_new_session=True)  # a group of its own
    end = time.monotonic() + limit
    try:
        while (status := waited(process, min(EVERY, end - time.monotonic()))) is None and time.monotonic() < end:
            meanwhile()
        if status is None:
            print(f"{' '.join(words[:4])} ... is interrupted after {limit:.0f} seconds", file=sys.stderr, flush=True)
            os.killpg(process.pid, signal.SIGINT)
            status = waited(process, GRACE) or LATE
    finally:
        with suppress(ProcessLookupError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return status


def waited(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Its exit status; None if it has none after so many seconds."""
    try:
        return process.wait(max(seconds, 0.0))
    except subprocess.TimeoutExpired:
        return None


def outcomes(log: Path) -> dict[str, Any]:
    """What a log of tests says: who passed on which backend, who failed with which message, and who did not end."""
    lines = (
        [json.loads(line) for line in log.read_text("utf-8").splitlines(True) if line.endswith("\n")]
        if log.exists()
        else []
    )
    tests = next((line["tests"] for line in lines if "tests" in line), [])
    told = [line for line in lines if "outcome" in line]
    failed = {line["test"]: (line.get("why") or line["said"])[:500] for line in told if line["outcome"] == "failed"}
    passed = [line for line in told if line["outcome"] == "passed" and line["test"] not in failed]
    begun = dict.fromkeys(line["begun"] for line in lines if "begun" in line)
    over = {line["test"] for line in told}
    if not tests:
        failed["all tests"] = "none was found; what pytest printed says why"
    return {
        "passed": dict(Counter(line["backend"] for line in passed)),
        "skipped": sum(line["outcome"] == "skipped" for line in told),
        "failed": failed,
        "unfinished": [test for test in begun if test not in over],
        "not_reached": [test for test in tests if test not in begun],
    }


def machine() -> dict[str, Any]:
    """Date, GPU, driver and versions."""
    import report

    return report.machine(os.cpu_count() or 1, gpu=True)


def checked_page(about: dict[str, Any], found: dict[str, Any]) -> str:
    """The outcomes as Markdown."""
    import pages

    counts = [(flag, f"{count:,}") for flag, count in sorted(found["passed"].items())]
    lines = [pages.heading(about), "", *pages.rows((f"{found['part']}, {found['seconds']} s", "tests passed"), counts)]
    lines += ["", f"{found['skipped']} skipped, {len(found['failed'])} failed; exit status: {found['status']}."]
    lines += [f"- `{name}`: {' '.join(said.split())[:200]}" for name, said in found["failed"].items()]
    lines += [f"- `{name}`: it had begun and did not end" for name in found["unfinished"]]
    missed = Counter(test.split("::")[0] for test in found["not_reached"])
    lines += [f"- {file}: {count} not reached" for file, count in missed.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
