"""The playground in a browser: data that are dropped, drawn and typed, and the address that restores all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.apps.playground.browser.screen import Screen, alike, is_blue, is_orange

pytestmark = pytest.mark.browser

DROP = """([name, text]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([text], name, { type: "text/csv" }));
  for (const kind of ["dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
    document.querySelector(".drop").dispatchEvent(event);
  }
}"""


def irises() -> str:
    """Three kinds of flowers, which lie apart."""
    lines = ["length,width,colour,kind"]
    for k, (x, y, name) in enumerate([(1.0, 1.0, "setosa"), (4.0, 2.0, "versicolor"), (6.0, 6.0, "virginica")] * 20):
        lines.append(f"{x + 0.04 * (k % 7)},{y + 0.05 * (k % 5)},{k % 3 + 0.5},{name}")
    return "\n".join(lines) + "\n"


def test_a_file_that_is_dropped(screen: Screen) -> None:
    screen.page.evaluate(DROP, ["flowers.csv", irises()])
    screen.until(lambda: screen.settings["data"]["kind"] == "table", "the table")
    assert screen.store("store.data.axes") == ["length", "width"]
    assert "setosa versicolor virginica" in " ".join(screen.text("#output .marks").split())
    assert screen.store("store.network.at(-1).units") == 3
    screen.run(3)
    screen.until(lambda: screen.figure(2) >= 99.0, "an accuracy of 99 %")
    screen.pause()
    screen.page.get_by_label("Show test data").uncheck()  # so that the last marks of each class lie over all others
    rows = screen.store("store.data.train")
    colours = screen.store("[0, 1, 2].map((k) => store.data.train.findLast((row) => row[2] === k))")
    screen.until(lambda: is_orange(screen.plane(colours)[0]), "the marks of the training data alone")
    marks = screen.plane(colours)
    assert is_blue(marks[1])
    assert marks[2][1] > max(marks[2][0], marks[2][2])  # green
    assert len(rows) == 45
    horizontal = screen.page.locator("#data select").first
    horizontal.select_option("colour")
    screen.until(lambda: screen.store("store.data.axes")[0] == "colour", "the other column")
    assert screen.store("store.data.train.length") == 45


def test_a_file_that_is_not_utf_8(screen: Screen) -> None:
    text = "身長,体重,名前\n" + "1.5,50,太郎\n1.7,60,花子\n" * 10
    file = {"name": "名簿.csv", "mimeType": "text/csv", "buffer": text.encode("cp932")}
    screen.page.locator("#data input[type=file]").set_input_files(file)
    assert "It was read as cp932" in screen.page.wait_for_selector(".toast").inner_text()
    screen.until(lambda: screen.store("store.data.axes") == ["身長", "体重"], "its columns")


def test_a_file_that_is_refused_changes_nothing(screen: Screen) -> None:
    image = screen.image(".plot canvas")
    screen.page.evaluate(DROP, ["broken.csv", "a,b\n1,2\n3\n"])
    reason = screen.page.wait_for_selector(".toast").inner_text()
    assert "1 entries in row 3, but 2 in the first" in reason
    assert "\n" not in reason
    assert screen.image(".plot canvas") == image


def test_a_formula_is_a_curve_and_never_python(screen: Screen) -> None:
    formula = screen.page.locator("#formula")
    formula.fill("2*x^2 - 1")
    formula.press("Enter")
    screen.until(lambda: screen.settings["data"]["kind"] == "formula", "the formula")
    screen.page.get_by_label("Show test data").click()
    screen.choose("Learning rate", "0.03")
    screen.run(100)
    screen.until(lambda: screen.figure(2) > 0.9, "R2 above 0.9")
    screen.pause()
    (low, high), curve = screen.store("[store.data.range[0], [...store.frame.grid.numbers]]")
    grid = [low + k / (len(curve) - 1) * (high - low) for k in range(len(curve))]
    some = range(6, len(curve) - 6, 7)
    assert all(is_blue(pixel) for pixel in screen.plane([[grid[k], curve[k]] for k in some]))
    assert max(abs(curve[k] - (2 * grid[k] ** 2 - 1)) for k in some) < 0.4
    before = screen.settings["data"]
    formula.fill('__import__("os")')
    formula.press("Enter")
    reason = screen.until(lambda: screen.text("#data .error"), "the reason")
    assert "\n" not in reason
    assert screen.settings["data"] == before


def test_points_are_drawn_by_click(screen: Screen) -> None:
    screen.page.get_by_role("button", name="Draw points").click()
    screen.page.get_by_role("button", name="Remove all drawn points").click()
    screen.until(lambda: screen.store("store.sketch?.length") == 0, "an empty plane")
    places = {0: [(90, 90), (110, 120), (80, 150)], 1: [(220, 180), (240, 210), (210, 220)]}
    count = 0
    for label, points in places.items():
        screen.page.get_by_role("radio", name=f"class {label}").click()
        for x, y in points:
            screen.page.locator(".plot canvas").click(position={"x": x, "y": y})
            count += 1
            drawn = f"(store.sketch ?? store.settings.data.points).length === {count}"
            screen.until(lambda drawn=drawn: screen.store(drawn), "the point")
    screen.page.mouse.move(5, 5)
    screen.until(lambda: screen.settings["data"]["kind"] == "drawn", "the drawn points as data")
    labels = [point[2] for point in screen.settings["data"]["points"]]
    assert labels == [0, 0, 0, 1, 1, 1]
    screen.run(60)
    screen.until(lambda: screen.figure(2) == 100.0, "all points right")
    screen.pause()
    marks = screen.plane(screen.store("store.data.train"))
    classes = screen.store("store.data.train.map((row) => row[2])")
    for label, pixel in zip(classes, marks, strict=True):
        assert is_blue(pixel) if label else is_orange(pixel)


def test_the_address_restores_all(screen: Screen, tab: Callable[..., Screen]) -> None:
    screen.click("[data-kind=blobs]")
    screen.page.locator("#data .options input[name=classes]").fill("4")
    screen.page.locator("#data .options input[name=classes]").press("Enter")
    screen.page.get_by_role("button", name="More settings").click()
    for label, value in {
        "Learning rate": "0.03",
        "Activation": "relu",
        "Optimizer": "rmsprop",
        "Batch size": "16",
    }.items():
        screen.choose(label, value)
    screen.choose("Regularisation", "L1")
    screen.choose("Schedule", "cosine")
    screen.choose("Dropout", "0.1")
    screen.choose("Seed of the weights", "7")
    screen.click("#network .head .round:last-child")
    screen.until(lambda: len(screen.settings["network"]["layers"]) == 2, "two layers")
    screen.page.mouse.move(5, 5)
    settings = screen.settings
    assert settings["data"]["options"] == {"classes": 4}
    link = screen.send("{ type: 'take', what: 'link' }")[0]["text"]
    screen.until(lambda: screen.page.url.endswith(link), "the settings in the address")
    assert "token" not in screen.page.url
    screen.page.get_by_role("button", name="Reset").click()  # the weights of the seed, as a page that opens has them
    screen.until(lambda: screen.store("store.frame.step") == 0, "the first weights")

    other = tab()
    token = screen.page.evaluate("sessionStorage.getItem('nnarray-playground-token')")
    other.open(screen.page.url.replace("/#", f"/?token={token}#"))
    assert other.settings == settings
    controls = "[...document.querySelectorAll('#bar select, #data input')].map((each) => each.value)"
    other.until(lambda: other.page.evaluate(controls) == screen.page.evaluate(controls), "the same controls")
    assert other.store("store.network.map(({ weight }) => [...weight])") == screen.store(
        "store.network.map(({ weight }) => [...weight])"
    )
    rows = screen.store("store.data.train")
    assert other.store("store.data.train") == rows
    for mine, theirs in zip(screen.plane(rows), other.plane(rows), strict=True):
        assert alike(mine, theirs)
