"""Check a built site: `python docs/check_links.py docs/_build/html` names links that lead nowhere, and images without text."""  # noqa: E501

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, the local files that it links to, and what is wrong by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is in one tag."""
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        self.links += [value for name in ("href", "src") if (value := given.get(name))]
        if tag == "img" and "alt" not in given:
            self.wrong.append(f"an image without alt=: {given.get('src')}")
        if tag in ("script", "link", "img") and urlsplit(given.get("src") or given.get("href") or "").netloc:
            self.wrong.append(f"loaded from another site: {given.get('src') or given.get('href')}")


def mistakes(folder: Path) -> list[str]:
    """What is wrong on the pages of a folder, each with the page that has it."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    found = [f"{path.relative_to(folder)}: {wrong}" for path, page in pages.items() for wrong in page.wrong]
    for path, page in pages.items():
        for link in page.links:
            scheme, site, file, _, anchor = urlsplit(link)
            if scheme or site:
                continue
            target = (path.parent / unquote(file)).resolve() if file else path
            known = pages.get(target)
            if not target.exists() or (anchor and known and unquote(anchor) not in known.anchors):
                found.append(f"{path.relative_to(folder)}: {link} leads nowhere")
    return found


if __name__ == "__main__":
    wrong = mistakes(Path(sys.argv[1]).resolve())
    print(*wrong or ["every link leads somewhere"], sep="\n")
    sys.exit(bool(wrong))
