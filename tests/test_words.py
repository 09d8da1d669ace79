"""Plain English: words and phrases that readers in a second language stumble over are found nowhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What must not be written, as a regular expression, and what to write instead.
INSTEAD = {
    # "Learning to tell two spirals apart" is the title of a paper.
    r"(?<!\.)\b(tell(?! two spirals apart)|tells|telling|told)\b": "predict, distinguish, report, show, log",
    r"\bways? back\b": "backward, the backward pass",
    r"\bstoreys?\b": "levels",
    r"\bin company\b": "integrations, together with",
    r"\bwhat is (no|none)\b": "what is not a ..., what is not an error",
    r"\bside doors?\b": "other entries, other ways in",
    r"\b(mend|mends|mended|mending)\b": "fix, repair, install",
    r"\b(throw|threw|thrown|throwing) (the )?dice\b": "draw random numbers",
    r"\ba bit\b(?! (pattern|mask|array))": "a little, slightly",
    r"\b(the )?same bits\b": "exactly the same numbers, bit for bit",
    r"\bto (the|its|their|one) last bit\b": "bit for bit, exactly",
    r"\bto the (same )?bits\b": "bit for bit, with exactly the same results",
    r"\b(comes?|came|gives?) (to )?the (same )?bits\b": "give exactly the same numbers",
    r"\bwho computes\b": "which engine computes",
    r"\bwho is (missing|left out)\b": "what is missing",
    r"\bwhat(ever)? becomes? of\b": "what happens to",
    r"\b(go|goes|going|gone|went) on with\b": "continue",
    r"\bgone through\b": "iterated over, read",
    r"\b(anew|afresh)\b": "again, from the start",
    r"\bat hand\b": "available",
    r"\bin (silence|secret)\b": "silently, without a message",
    r"\bof (yours|ours)\b": "your own, our own",
    r"\bof one's own\b": "your own",
    r"scikit-learn's face\b": "the scikit-learn interface",
    r"\bhangs? on the\b": "depends on the",
    r"\b(the|our|this) house\b": "the package, its folders",
    r"\bas it must be\b": "valid, correct",
    r"\bnobody looks on\b": "nothing reads the result",
    r"\b(constant|all) but for\b": "except for",
    r", for (it|they|there|we) (is|are|has|have|can|does|do|needs?|takes?)\b": "because",
    r"(?:^|[.:;] )(?-i:Of an?) ": "name the subject first: 'A Source is read one batch at a time'",
    r"\bwhat is (your|their|its) own\b": "your own ...",
}
# Switch on what has been rewritten: "nnarray" and "notebooks".
CLEAN = ("pages", "notebooks", "nnarray")

CODE = re.compile(r"^( *)```.*?^\1```|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def prose_of(markdown: str) -> str:
    """The text without code: the lines keep their numbers."""
    return CODE.sub(lambda code: "`" + "\n" * code[0].count("\n") + "`", markdown)


def pages() -> Iterator[tuple[str, str]]:
    found = [ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")]
    for path in [*found, *sorted((ROOT / "docs").rglob("*.md"))]:
        if "_build" not in path.parts:
            yield str(path.relative_to(ROOT)), prose_of(path.read_text(encoding="utf-8"))


def notebooks() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for number, cell in enumerate(cells):
            if cell["cell_type"] == "markdown":
                yield f"{path.name}, cell {number}", prose_of("".join(cell["source"]))


def package() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "nnarray").rglob("*.py")):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


GROUPS = {"pages": pages, "notebooks": notebooks, "nnarray": package}


def faults(name: str, text: str) -> Iterator[str]:
    """Each place where a word of the list is, with what to write instead."""
    for pattern, better in INSTEAD.items():
        for match in re.finditer(pattern, text, re.MULTILINE | re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{name}:{line}: {match[0].strip()!r}; write {better}"


@pytest.mark.parametrize("group", CLEAN)
def test_words_that_readers_stumble_over_are_not_there(group: str) -> None:
    texts = list(GROUPS[group]())
    assert len(texts) > 3
    found = [fault for name, text in texts for fault in faults(name, text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The network tells cats from dogs.", 1),
        ("a training that is gone on with", 1),
        ("Of a Source one batch at a time is read.", 1),
        ("all come to the same bits", 1),
        ("Lang & Witbrock (1988). Learning to tell two spirals apart.", 0),
        ("the intelligence of 32 bits, bit for bit, and a GPU of a model", 0),
        ("`tell` and\n```text\ntold\n```\n", 0),
        ("a line\n```text\ntold\n```\nand told again", 1),
    ],
)
def test_a_word_of_the_list_is_found(text: str, found: int) -> None:
    assert len({fault.split(":")[1] for fault in faults("page", prose_of(text))}) == found


def test_the_line_of_a_fault_is_named() -> None:
    (fault,) = faults("page", prose_of("a line\n\n```text\ntold\n```\n\nand told again\n"))
    assert fault.startswith("page:7: 'told'; write predict")
