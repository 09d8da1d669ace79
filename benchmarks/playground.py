"""The playground at work: its first frame, frames a second and what one costs the browser, the training with and
without the page, and memory.

The network has layers of 8, 8 and 8 units, and the data are the two spirals. Chromium, the server and the training
share the cores of this machine. It needs a browser, as the tests of the playground do.

    pip install -r tests/requirements.txt
    python benchmarks/playground.py [--seconds 20] [--memory 120]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from nnarray.apps.playground.session import Session
from nnarray.apps.playground.settings import Settings

LAYERS = {"layers": [{"units": 8}] * 3}
CHOSEN = {"data": {"kind": "spirals"}, "network": LAYERS}
TURNS = 3  # with and without the page, by turns: the machine is not equally fast at all times
ARGUMENTS = ["--no-sandbox", "--js-flags=--expose-gc", "--enable-precise-memory-info"]

# How many frames are drawn in so many seconds: their numbers are looked at before each repaint.
DRAWN = """(seconds) => import("/page/store.js").then(({ store }) => new Promise((done) => {
  const numbers = new Set(), begin = performance.now(), first = store.frame.step;
  const look = (now) => {
    numbers.add(store.frame.number);
    const passed = (now - begin) / 1000;
    if (passed < seconds) requestAnimationFrame(look);
    else done([numbers.size / passed, (store.frame.step - first) / passed]);
  };
  requestAnimationFrame(look);
}))"""
HEAP = "() => { gc(); return performance.memory.usedJSHeapSize; }"


def alone(seconds: float) -> float:
    """Steps a second of a session that nobody looks at."""
    session = Session(Settings().changed(CHOSEN))
    session.handle({"type": "step", "epochs": 20})  # what is compiled, is compiled
    session.handle({"type": "run"})
    first, begin = session.lab.step, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        session.advance(0.01, watched=False)
    return (session.lab.step - first) / (time.perf_counter() - begin)


def first_frame(screen: Any, url: str) -> float:
    """Seconds from the opening of the address until the neurons of the first frame are drawn."""
    begin = time.perf_counter()
    screen.page.goto(url)
    screen.page.wait_for_selector(".neuron")
    return time.perf_counter() - begin


def resident(process: Any) -> float:
    """The memory of a process in MB."""
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def busy(process: int, leave_out: int = 0) -> float:
    """Milliseconds that the processor has worked for a process and all that it has started, but for one of these."""
    if process == leave_out:
        return 0.0
    folder, total = Path(f"/proc/{process}"), 0.0
    with suppress(OSError):  # one that has just ended
        for thread in folder.joinpath("task").iterdir():
            total += int(thread.joinpath("schedstat").read_text().split()[0]) / 1e6
            total += sum(busy(int(each), leave_out) for each in thread.joinpath("children").read_text().split())
    return total


def growth(screen: Any, process: Any, seconds: float) -> None:
    """Print how the memory of the server and of the page grows while it trains."""
    times, server, page = [], [], []
    begin = time.perf_counter()
    while (now := time.perf_counter() - begin) < seconds:
        times.append(now / 60)
        server.append(resident(process))
        page.append(screen.page.evaluate(HEAP) / 1e6)
        screen.page.wait_for_timeout(5000)
    for name, sizes in (("server", server), ("page", page)):
        half = len(times) // 2  # what is needed once, comes in the first half
        late = linear_regression(times[half:], sizes[half:]).slope
        print(f"memory of the {name}: {sizes[0]:.1f} MB, then {sizes[-1]:.1f} MB; {late:+.2f} MB a minute at the end")


def measure(seconds: float, memory: float) -> None:
    """Print all figures."""
    sys.path.append(str(Path(__file__).parent.parent))
    from playwright.sync_api import sync_playwright

    from tests import browser
    from tests.apps.playground.browser.screen import WIDE, Screen, playground

    with playground() as (process, url), sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser.path(), args=ARGUMENTS)
        page = chromium.new_page(viewport=WIDE)
        screen = Screen(page)
        opened = [first_frame(screen, url) for _ in range(5)]
        print(f"first frame: {median(opened):.2f} s, the median of {len(opened)}; the first time {opened[0]:.2f} s")
        screen.send(f"{{ type: 'set', settings: {CHOSEN} }}")
        rows = []
        for _ in range(TURNS):
            screen.send("{ type: 'pause' }")
            without = alone(seconds)
            screen.send("{ type: 'run' }")
            page.wait_for_timeout(1000)
            before = busy(os.getpid(), process.pid)
            drawn, with_page = page.evaluate(DRAWN, seconds)
            cost = (busy(os.getpid(), process.pid) - before) / (drawn * seconds)
            rows.append((drawn, with_page, without, cost))
        frames, with_page, without, cost = (median(row[k] for row in rows) for k in range(4))
        print(f"frames: {frames:.1f} a second; each costs the browser {cost:.1f} ms of one core")
        print(
            f"steps: {with_page:,.0f} a second with the page, {without:,.0f} without; {with_page / without:.2f} of it"
        )
        if memory:
            growth(screen, process, memory)
        page.goto("about:blank")
        chromium.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement of speed")
    parser.add_argument(
        "--memory", type=float, default=120.0, help="seconds in which memory is watched; 0 for not at all"
    )
    given = parser.parse_args()
    print(f"load at the beginning: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    measure(given.seconds, given.memory)
    print(f"load at the end: {os.getloadavg()[0]:.1f}")
