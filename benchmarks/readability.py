"""How hard each page of the documentation is to read: the Flesch-Kincaid grade of its prose, in years of school.

Code, tables, formulas and lists of references are left out. A name in code counts as one short word. The goal is a
grade of at most 9 for each page.

    pip install textstat==0.7.8
    python benchmarks/readability.py [PAGE ...]

References: Kincaid, Fishburne, Rogers & Chissom (1975). Derivation of new readability formulas for Navy enlisted
personnel. Research Branch Report 8-75.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
GOAL = 9.0
LISTS = ("bibliography.md", "changelog.md", "contributing.md", "support.md")  # and pages that include others

OPENED = r"(?s:^```\{(?:glossary|note|warning)\}\n(?::\w+:\n)?(.*?)^```)"  # blocks that hold prose
LEFT_OUT = (
    r"(?s:^( *)(```|~~~).*?^\1\2)",  # blocks of code, directives
    r"(?s:\$\$.*?\$\$)",  # formulas
    r"^ *\| .*$",  # tables
    r"^#.*$",  # headings
    r"!\[[^\]]*\]\([^)]*\)",  # images
    r"^\([\w-]+\)=$",  # targets of links
    r"(?s:^## References$.*)",
)
SHORTENED = (
    (r"^.+ \(.+\)\n {2}(?=\S)", "\n\n"),  # a term of the glossary, before its definition
    (r"\[([^\]]*)\]\([^)]*\)", r"\1"),  # the text of a link
    (r"`+[^`]+`+|\$[^$]+\$", "x"),  # code and formulas in a sentence
    (r"(?<=\d)[.,](?=\d)", ""),  # a decimal point ends no sentence
    (r"[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}", ""),  # emphasis
    (r"^ *(?:[-*]|\d+\.) ", "\n\n"),  # each item of a list is a paragraph
    (r"(\w)\s*(?=\n\n)", r"\1."),  # and each paragraph ends a sentence
)


def prose(page: str) -> str:
    """The sentences of a page in Markdown."""
    page = re.sub(OPENED, r"\1", page, flags=re.MULTILINE)
    for pattern in LEFT_OUT:
        page = re.sub(pattern, "", page, flags=re.MULTILINE)
    for pattern, text in SHORTENED:
        page = re.sub(pattern, text, page, flags=re.MULTILINE)
    return re.sub(r"\s*\n\s*\n\s*", "\n\n", page).strip()


def pages() -> list[Path]:
    """Every page of prose in English; a translation has two suffixes, such as `.ja.md`."""
    found = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")]
    found += [path for path in sorted((ROOT / "docs").rglob("*.md")) if not {"_build", "notebooks"} & set(path.parts)]
    return [path for path in found if path.name not in LISTS and len(path.suffixes) == 1]


def main(names: list[str]) -> int:
    """Print a line for each page, the hardest first; the exit code is 1 if a page is above the goal."""
    try:
        import textstat
    except ImportError:
        print("readability needs the package textstat; pip install textstat==0.7.8", file=sys.stderr)
        return 2
    texts = {path: prose(path.read_text(encoding="utf-8")) for path in [Path(name) for name in names] or pages()}
    grades = {path: textstat.flesch_kincaid_grade(text) for path, text in texts.items() if len(text.split()) > 50}
    for path, grade in sorted(grades.items(), key=lambda item: -item[1]):
        print(f"{grade:5.1f}  {path.resolve().relative_to(ROOT)}{'  above the goal' if grade > GOAL else ''}")
    return int(max(grades.values(), default=0.0) > GOAL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
