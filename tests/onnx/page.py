"""The page of the documentation about operators: `python -m tests.onnx.page` writes it, a test compares it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from nnarray.onnx.operators import TABLE
from tests.onnx.test_nodes import EXCEPT, cases, reason

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "onnx.md"
HEAD = """# Operators of ONNX files

`nn.load_onnx` and `nn.onnx.read` know {count} operators. The number after a name is the first version of the
operator set in which it is computed. Several numbers are several definitions.

{operators}

## ONNX's own tests

ONNX has tests for its operators. Of those that test an operator directly, {direct} have inputs and outputs of
dtypes that NumPy has. A test of this package runs {numpy} of them on NumPy, {torch} on PyTorch, and a few of each
family on JAX, where each one is compiled; `pytest --every-case tests/onnx/test_nodes.py` runs all there, too. The
others, with their reasons:

| cases | number | reason |
| --- | --- | --- |
{rows}
"""


def text() -> str:
    """The page."""
    by_domain: dict[tuple[str, str], list[str]] = {}
    for (domain, name), versions in sorted(TABLE.items()):
        if domain.startswith("com."):  # added by other tests
            continue
        numbers = ", ".join(str(each.since) for each in versions)
        by_domain.setdefault((domain or "the usual", name[0] if not domain else ""), []).append(f"{name} ({numbers})")
    lines = [f"| {domain} | {letter} | {', '.join(names)} |" for (domain, letter), names in by_domain.items()]
    operators = "\n".join(["| domain | | operators |", "| --- | --- | --- |", *lines])
    every = cases()
    counts = Counter[tuple[str, str]]()
    for name in every:
        if why := reason(name, "numpy"):
            counts["all libraries", why] += 1
        for flag in EXCEPT:
            if not why and (own := reason(name, flag)):
                counts[flag, own] += 1
    rows = "\n".join(f"| {where} | {number} | {why} |" for (where, why), number in sorted(counts.items()))
    settings = {flag: len([name for name in every if not reason(name, flag)]) for flag in ("numpy", "torch")}
    return HEAD.format(
        count=sum(not domain.startswith("com.") for domain, _ in TABLE),
        operators=operators,
        direct=len(every),
        rows=rows,
        **settings,
    )


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
