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
import time
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
LIMIT = 440.0  # seconds for a part
GRACE = 40.0  # seconds in which an interrupted part writes what it has
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
    "tf32": ("run.py", "--gpu", "--workloads", "G3-tf32"),
    "googlenet-tf32": ("run.py", "--gpu", "--workloads", "G5-tf32"),
    "profile": ("step_profile.py",),
}
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
    parser.add_argument("--wheels", type=Path, help="a folder of wheels for what this Python lacks")
    parser.add_argument("--out", type=Path, default=ROOT / ".gpu", help="the folder of the results")
    parser.add_argument("--only", default="cupy or cuda", help="which tests, in pytest's words; '' for all")
    parser.add_argument("--processes", type=int, default=4, help="processes of tests, where pytest-xdist is installed")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for a part")
    asked = parser.parse_args()
    parts = CHECKS if asked.what == "check" else BENCHES
    if unknown := sorted(set(asked.part) - set(parts)):
        parser.error(f"parts of {asked.what} are {', '.join(parts)}; got {', '.join(unknown)}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background would ignore it
    asked.out.mkdir(parents=True, exist_ok=True)
    path = [ROOT, *([unpacked(asked.wheels, asked.out / "packages")] if asked.wheels else [])]
    os.environ["PYTHONPATH"] = os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    sys.path[1:1] = map(str, path)
    run = check if asked.what == "check" else bench
    statuses = [run(part, asked) for part in asked.part or parts]  # all run, whatever one of them gives
    return int(any(statuses))


def unpacked(wheels: Path, folder: Path) -> Path:
    """A folder with all that is in some wheels."""
    for wheel in sorted(wheels.glob("*.whl")):
        zipfile.ZipFile(wheel).extractall(folder)
    return folder


def check(part: str, asked: argparse.Namespace) -> int:
    """The tests of a part: how many passed on which backend, and which did not."""
    log = asked.out / f"check-{part}.xml"
    log.unlink(missing_ok=True)
    status, seconds = ended([*pytest(part, asked), f"--junit-xml={log}"], asked.limit, os.environ | CHECKED_WITH)
    found = {"part": part, "status": status, "seconds": round(seconds, 1), "only": asked.only} | outcomes(log)
    note(asked.out / f"check-{part}", machine() | found, checked_page(machine(), found))
    return status


def pytest(part: str, asked: argparse.Namespace) -> list[str]:
    """The command that runs the tests of a part."""
    others = [place for name, places in CHECKS.items() if name != part for place in places]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECKS[part]]
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
    status, _ = ended([sys.executable, str(ROOT / "benchmarks" / script), *words, *files], asked.limit, os.environ)
    return status


def ended(words: list[str], limit: float, environment: Any) -> tuple[int, float]:
    """The exit status of a command and its seconds; one that lasts too long is interrupted, so that it writes."""
    begun = time.monotonic()
    process = subprocess.Popen(words, cwd=ROOT, env=environment)
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        print(f"{' '.join(words[:4])} ... is interrupted after {limit:.0f} seconds", file=sys.stderr)
        process.send_signal(signal.SIGINT)
        try:
            status = process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        status = status or 1
    return status, time.monotonic() - begun


def outcomes(log: Path) -> dict[str, Any]:
    """What a log of tests says: how many passed on each backend, and the message of each that did not."""
    found: dict[str, Any] = {"passed": {}, "skipped": 0, "failed": {}}
    if not log.exists():
        return found | {"failed": {"all tests": "they wrote no log"}}
    for case in ElementTree.parse(log).iter("testcase"):
        wrong = next((each for each in case if each.tag in ("failure", "error")), None)
        if wrong is not None:
            found["failed"][f"{case.get('classname')}::{case.get('name')}"] = (wrong.get("message") or "")[:500]
        elif case.find("skipped") is not None:
            found["skipped"] += 1
        else:
            flag = next((p.get("value") for p in case.iter("property") if p.get("name") == "backend"), "no backend")
            found["passed"][flag] = found["passed"].get(flag, 0) + 1
    return found


def machine() -> dict[str, Any]:
    """Date, GPU, driver and versions."""
    import report

    return report.machine(os.cpu_count() or 1, gpu=True)


def checked_page(about: dict[str, Any], found: dict[str, Any]) -> str:
    """The outcomes as Markdown."""
    import pages

    counts = [(flag, f"{count:,}") for flag, count in sorted(found["passed"].items())]
    lines = [pages.heading(about), "", *pages.rows((f"{found['part']}, {found['seconds']} s", "tests passed"), counts)]
    lines += ["", f"{found['skipped']} skipped, {len(found['failed'])} failed."]
    lines += [f"- `{name}`: {' '.join(said.split())[:200]}" for name, said in found["failed"].items()]
    return "\n".join(lines) + "\n"


def note(to: Path, found: dict[str, Any], text: str) -> None:
    """Results beside each other: for programs, and for the documentation."""
    to.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    to.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
