"""Images in a browser: cats and dogs are learned live, and each filter shows what it sees."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.apps.playground.browser.screen import Screen, alike, is_blue, is_orange
from tests.apps.playground.browser.test_reading import violations

pytestmark = pytest.mark.browser

NETWORK, PLOT = ".net canvas", ".plot canvas"
BARS = """(() => {
  const across = images.imagesAcross(), { width } = document.querySelector(".plot canvas").getBoundingClientRect();
  const side = (width - (across - 1) * 8) / across;
  const at = (k) => [(k % across) * (side + 8), Math.floor(k / across) * (side + 8), side];
  return Array.from({ length: images.imageCount() }, (_, k) => at(k));
})()"""


def cats_and_dogs(screen: Screen) -> Screen:
    """Few small images, so that an epoch is short."""
    screen.click("[data-kind=pets]")
    screen.until(lambda: screen.store("store.data.sheet && store.frame.grid.shape.length === 2"), "the images")
    screen.send("{ type: 'set', settings: { data: { n: 120, test: 0.2, options: { size: 16 } } } }")
    return screen


def test_cats_and_dogs_are_learned_and_each_prediction_is_seen(screen: Screen) -> None:
    cats_and_dogs(screen)
    assert [layer["units"] for layer in screen.settings["network"]["layers"]] == [8, 8, 8]
    screen.run(5)
    screen.until(lambda: screen.figure(2) == 100.0, "all training images right")
    screen.pause()
    probabilities = screen.store("[...store.frame.grid.numbers]")
    labels = screen.store("store.data.sheet.labels")
    right = [(p > 127) == bool(label) for p, label in zip(probabilities, labels, strict=True)]
    assert screen.figure(3) == pytest.approx(100.0 * sum(right) / 24, abs=0.06)  # all that were held out are seen
    tiles = screen.module("images", BARS)
    for k, (x, y, side) in enumerate(tiles):
        if 20 < probabilities[k] < 235:
            continue
        (bar,) = screen.pixels(PLOT, [[x + side / 2, y + side - 2.5]])
        assert is_blue(bar) if probabilities[k] > 127 else is_orange(bar), k
    crosses = screen.pixels(PLOT, [[x + side - 3.5 - 8, y + 8] for x, y, side in tiles])
    dark = [sum(pixel[:3]) < 200 for pixel in crosses]
    assert all(mark for mark, is_right in zip(dark, right, strict=True) if not is_right)


def test_another_image_is_chosen_and_a_filter_is_seen_large(screen: Screen) -> None:
    cats_and_dogs(screen)
    before = screen.image(NETWORK)
    screen.page.locator(PLOT).click(position={"x": 100, "y": 20})
    screen.until(lambda: screen.text(".readout").startswith("Image 2:"), "the second image")
    screen.until(lambda: screen.image(NETWORK) != before, "what the filters see of it")
    screen.page.focus(PLOT)
    screen.page.keyboard.press("ArrowRight")
    screen.until(lambda: screen.text(".readout").startswith("Image 3:"), "the third image")
    assert "Image" not in screen.text("#state")
    sheet = screen.image(PLOT)
    screen.page.hover("[data-key=neuron1-0]")
    screen.until(lambda: screen.image(PLOT) != sheet, "the filter")
    width = screen.page.eval_on_selector(PLOT, "(canvas) => canvas.getBoundingClientRect().width")
    numbers = screen.store("[...store.data.sheet.numbers.slice(2 * 768, 2 * 768 + 3)]")
    (corner,) = screen.pixels(PLOT, [[width / 64, width / 64]])
    assert alike(corner[:3], numbers)  # the first pixel of the third image
    screen.click("[data-key=neuron2-1]")
    assert screen.page.locator(".editor .filters canvas").count() == 8
    assert screen.page.locator(".editor .weight").count() == 1  # the bias


def test_filters_of_another_size_and_the_address(screen: Screen, tab: Callable[..., Screen]) -> None:
    cats_and_dogs(screen).choose("Filters", "5")
    screen.until(lambda: screen.store("store.network[0].kernel.rows") == 5, "larger filters")
    link = screen.send("{ type: 'take', what: 'link' }")[0]["text"]
    screen.until(lambda: screen.page.url.endswith(link), "the settings in the address")
    screen.page.get_by_role("button", name="Reset").click()
    screen.until(lambda: screen.store("store.frame.step") == 0, "the first weights")
    token = screen.page.evaluate("sessionStorage.getItem('nnarray-playground-token')")
    other = tab().open(screen.page.url.replace("/#", f"/?token={token}#"))
    assert other.settings == screen.settings
    weights = "store.network.map(({ weight, kernel }) => [...(kernel?.numbers ?? weight)])"
    other.until(lambda: other.store(weights) == screen.store(weights), "the same weights")
    other.page.mouse.move(5, 5)
    screen.page.mouse.move(5, 5)
    other.until(lambda: other.image(PLOT) == screen.image(PLOT), "the same images")


def test_back_to_points(screen: Screen) -> None:
    cats_and_dogs(screen).click("[data-kind=moons]")
    screen.until(lambda: screen.store("!store.data.sheet && store.frame.grid.shape.length === 3"), "the plane")
    screen.run(2)
    assert not screen.page.locator("#bar label.field", has_text="Filters").is_visible()
    screen.page.hover(PLOT)
    screen.until(lambda: "At x₁ =" in screen.text(".readout"), "the numbers at the point")


def test_axe_finds_no_fault_on_a_phone(tab: Callable[..., Screen], address: str) -> None:
    screen = cats_and_dogs(tab(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True).open(address))
    screen.step(1)
    screen.page.eval_on_selector("#tab-explain", "(button) => button.click()")
    screen.page.wait_for_selector("#panel-explain .arithmetic", state="attached")
    assert "an image" in screen.text("#panel-explain")
    assert violations(screen) == []
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= 390
