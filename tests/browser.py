"""The browser in which tests look at the playground: Chromium of this system, driven by Playwright.

`python -m tests.browser` installs it on Debian, as root; elsewhere it says what to install.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
INSTALL = "install Chromium (`make browser` does it on Debian, as root), or set NNARRAY_BROWSER to its path"
DRIVERS = ("playwright", "axe_playwright_python")


def path() -> str:
    """The browser; an empty text if there is none."""
    return os.environ.get("NNARRAY_BROWSER") or next(filter(None, map(shutil.which, NAMES)), "")


@functools.cache
def why_not() -> str:
    """Why no test can look at a page here. A file is not enough: the browser must start."""
    if missing := [name for name in DRIVERS if importlib.util.find_spec(name) is None]:
        return f"it needs {', '.join(missing)}; pip install -r tests/requirements.txt"
    if not path():
        return f"there is no browser; {INSTALL}"
    try:
        subprocess.run([path(), "--version"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path()} does not start: {error}; {INSTALL}"
    return ""


def install() -> None:
    """Install a browser where Debian's packages can be installed."""
    if path():
        print(f"The tests look at pages in {path()}.")
    elif shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *PACKAGES], check=True)
    else:
        print(f"No test looks at a page: there is no browser; {INSTALL}.")


if __name__ == "__main__":
    install()
