"""Try the page of docs/howto/onnx.md in a browser: `python docs/check_onnx.py FOLDER`, the `dist` of onnxruntime-web.

The package is from npm: `npm pack onnxruntime-web`. Each answer must be that of the pipeline.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import sys
import tempfile
import threading
import warnings
from pathlib import Path

from playwright.sync_api import sync_playwright

import nnarray as nn
from tests import browser
from tests.test_docs import DOCS, blocks, run

FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm"}
ROWS = [
    {"length": 4.9, "colour": "red", "found": "2026-05-01"},
    {"length": None, "colour": "dark blue", "found": None},
    {"length": 9.0, "colour": "pink", "found": "2024-02-29"},
    {"length": None, "colour": None, "found": None},
]


class Handler(http.server.SimpleHTTPRequestHandler):
    """A folder, with the types that a browser needs."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | TYPES

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def main(dist: Path) -> None:
    """Make the files of the page, and fill in its form."""
    text = (DOCS / "howto" / "onnx.md").read_text(encoding="utf-8")
    (page,) = re.findall(r"^```html\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            shutil.copy(dist / name, folder)
        os.chdir(folder)
        names: dict[str, object] = {"__name__": "__main__"}
        for block in blocks(text):
            run(block, names, "onnx.md")
        Path("index.html").write_text(page, encoding="utf-8")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        compare(f"http://127.0.0.1:{server.server_port}/")
        os.chdir(DOCS)


def compare(address: str) -> None:
    """The answers of the page with those of the pipeline."""
    pipeline = nn.load_pipeline("flowers.safetensors")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser.path(), args=["--no-sandbox"])
        page = chromium.new_page()
        page.on("pageerror", lambda error: sys.exit(str(error)))
        page.goto(address)
        for row in ROWS:
            for name, entry in row.items():
                page.fill(f"[name={name}]", "" if entry is None else str(entry))
            page.evaluate("document.querySelector('output').textContent = ''")
            page.click("button")
            page.wait_for_function("document.querySelector('output').textContent")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wanted = pipeline.predict([row], unknown="ignore")[0]
                chance = pipeline.predict_proba([row], unknown="ignore").max()
            said = page.text_content("output")
            print(f"{row}: {said}")
            if said != f"{wanted} ({100 * chance:.1f} %)":
                sys.exit(f"the pipeline says {wanted} ({100 * chance:.1f} %)")
        chromium.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
