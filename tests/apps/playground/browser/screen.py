"""A page of the playground in a browser: what a reader sees and does, and what the page knows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.processes import NNARRAY, started

WAIT = 60.0  # seconds; most of what is waited for comes within one
WIDE = {"width": 1280, "height": 1000}
NEAR = 26  # the largest difference of red, green and blue between colours that look alike

PIXELS = """([selector, points]) => {
  const canvas = document.querySelector(selector), copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const ratio = canvas.width / canvas.getBoundingClientRect().width;
  return points.map(([x, y]) => [...context.getImageData(Math.floor(x * ratio), Math.floor(y * ratio), 1, 1).data]);
}"""
IMAGE = "(selector) => document.querySelector(selector).toDataURL()"
PLACES = """(selector, rows) => {
  const { width, height } = document.querySelector(selector).getBoundingClientRect(), at = plot.axes(width, height);
  return rows.map(([x, y]) => [at.x(x), at.y(y)]);
}"""

Pixel = list[int]


class Screen:
    """One tab.

    Attributes
    ----------
    page : playwright.sync_api.Page
    faults : list of str
        What went wrong in it: errors and warnings of scripts, and requests to other sites.
    expected : str
        A part of the faults that a test brings about.
    """

    def __init__(self, page: Any) -> None:
        self.page, self.faults, self.expected = page, list[str](), ""
        page.set_default_timeout(1000 * WAIT)
        page.on("console", lambda line: line.type in ("error", "warning") and self._note(line.text))
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("request", self._note_request)

    def _note_request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self._note(f"from another site: {request.url}")

    def _note(self, fault: str) -> None:
        if not (self.expected and self.expected in fault):
            self.faults.append(fault)

    def open(self, url: str) -> Screen:
        """Open a playground, and wait until all is drawn."""
        self.page.goto(url)
        self.page.wait_for_selector(".neuron")
        self.until(lambda: self.store("store.paced && store.previews.spirals"), "the datasets to choose from")
        return self.drawn()

    def drawn(self) -> Screen:
        """Wait until what the page knows is drawn."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")
        return self

    def until(self, check: Callable[[], Any], what: str, seconds: float = WAIT) -> Any:
        """Wait until this is true, and return it."""
        end = time.monotonic() + seconds
        while not (found := check()):
            assert time.monotonic() < end, f"never: {what}; the page says {self.text('#state')}, {self.text('#below')}"
            self.page.wait_for_timeout(40)
        return found

    # --- What the reader does ---------------------------------------------------------------------------------------

    def click(self, *selectors: str) -> None:
        for each in selectors:
            self.page.click(each)

    def choose(self, label: str, value: str) -> None:
        """Choose in a list of the bar."""
        self.page.locator(f'#bar label.field:has(> span:text-is("{label}")) select').select_option(value)

    def run(self, epochs: int = 1) -> None:
        """Train until so many more epochs are shown."""
        begin = self.epoch
        self.click(".drive .main")
        self.until(lambda: self.epoch >= begin + epochs, f"{epochs} more epochs")

    def pause(self) -> None:
        self.click(".drive .main")
        self.until(lambda: not self.store("store.running || store.wanted !== null"), "the pause")
        self.drawn()

    def step(self, epochs: int) -> None:
        """Train by the button for one epoch."""
        for _ in range(epochs):
            begin = self.epoch
            self.page.get_by_role("button", name="1 epoch").click()
            self.until(lambda begin=begin: self.epoch == begin + 1, "the next epoch")

    def tab(self, name: str) -> None:
        self.click(f"#tab-{name}")

    # --- What the reader sees ---------------------------------------------------------------------------------------

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    @property
    def epoch(self) -> int:
        return int(re.sub(r"\D", "", self.text(".counter strong")))

    def figure(self, k: int) -> float:
        """The training loss, the test loss, the accuracy, and that of the test, as they are written."""
        return float(re.sub(r"[^\d.e-]", "", self.page.locator(".figures dd").nth(k).inner_text().replace("−", "-")))

    def pixels(self, selector: str, points: Sequence[Sequence[float]]) -> list[Pixel]:
        """The colours of a canvas at points in CSS pixels."""
        return self.page.evaluate(PIXELS, [selector, [*points]])

    def image(self, selector: str) -> str:
        """All of a canvas; equal texts are equal pixels."""
        return self.page.evaluate(IMAGE, selector)

    def places(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Where points in units of the axes are in the plot."""
        return self.module("plot", f"({PLACES})('.plot canvas', {[[*row[:2]] for row in rows]})")

    def plane(self, rows: Sequence[Sequence[float]]) -> list[Pixel]:
        """The colours of the plot at points in units of the axes."""
        return self.pixels(".plot canvas", self.places(rows))

    # --- What the page knows ----------------------------------------------------------------------------------------

    def module(self, name: str, expression: str) -> Any:
        """An expression with a module of the page, by its name."""
        return self.page.evaluate(f"import('/page/{name}.js').then(({name}) => ({expression}))")

    def store(self, expression: str) -> Any:
        """An expression with `store`, which has the last events."""
        return self.page.evaluate(f"import('/page/store.js').then(({{ store }}) => ({expression}))")

    def send(self, message: str) -> list[dict[str, Any]]:
        """The events that answer a message."""
        return self.module("connection", f"connection.send({message})")

    @property
    def settings(self) -> dict[str, Any]:
        return self.store("store.settings")


def is_orange(pixel: Pixel) -> bool:
    return pixel[0] > pixel[2] + 12


def is_blue(pixel: Pixel) -> bool:
    return pixel[2] > pixel[0] + 12


def alike(a: Pixel, b: Pixel) -> bool:
    return all(abs(x - y) <= NEAR for x, y in zip(a, b, strict=True))


@contextmanager
def playground(*words: str, **options: Any) -> Generator[tuple[Any, str]]:
    """The command, and the address that it prints."""
    with started(*NNARRAY, "playground", "--no-browser", *words, **options) as process:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        yield process, found[0]
