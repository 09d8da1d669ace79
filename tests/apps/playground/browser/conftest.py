"""A browser and a playground for the tests of this folder, each started once."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from tests import browser
from tests.apps.playground.browser.screen import WIDE, Screen, playground


@pytest.fixture(scope="package")
def chromium() -> Generator[Any]:
    """The browser. It has an event loop while it runs, which tests of other folders do not expect."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=browser.path(), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="package")
def address() -> Generator[str]:
    """The address of a running playground."""
    with playground() as (_, url):
        yield url


@pytest.fixture
def tab(chromium: Any) -> Generator[Callable[..., Screen]]:
    """A function that opens a tab of another reader. In none may a script fail, or come from another site."""
    opened: list[tuple[Any, Screen]] = []

    def new(language: str = "en-GB", **options: Any) -> Screen:
        context = chromium.new_context(**{"viewport": WIDE, "locale": language, **options})
        screen = Screen(context.new_page())
        opened.append((context, screen))
        return screen

    yield new
    faults = [fault for _, screen in opened for fault in screen.faults]
    for context, screen in opened:
        screen.page.goto("about:blank")  # as a reader leaves: the page ends its session
        context.close()
    assert faults == []


@pytest.fixture
def screen(tab: Callable[..., Screen], address: str) -> Screen:
    """A page, as it is when it has been opened."""
    return tab().open(address)
