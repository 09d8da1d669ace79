"""Without an optional package, only what needs it is left out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.packages import Absent, missing, need, package

TESTS = Path(__file__).parent
ABOUT_OTHERS = {
    "backends/test_conversions.py",
    "backends/test_dlpack.py",
    "engines/test_shared.py",
    "functional/test_autodiff.py",
    "kernels/test_autocast.py",
}


def test_what_is_compared_with_an_absent_package_is_skipped() -> None:
    absent = package("no_such_package")
    assert not isinstance(1, absent.Tensor)
    with pytest.raises(pytest.skip.Exception, match="could not import 'no_such_package'"):
        absent.nn.functional.relu(1)
    with pytest.raises(pytest.skip.Exception, match="no_such_package"):
        need(absent.DataFrame([1, 2]))
    need(package("numpy"))
    assert not isinstance(package("numpy"), Absent)


def test_a_file_is_left_out_for_want_of_what_it_imports_at_its_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "test_figures.py"
    file.write_text("import matplotlib as mpl\nfrom PIL import Image\nimport numpy\ndef f():\n    import pandas\n")
    assert missing(file) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert missing(file) == ["PIL", "matplotlib"]


def skipped_wholly(file: Path) -> set[str]:
    """The backends' libraries without which no test of a file runs."""
    calls = [node.value for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign)]
    texts = {ast.unparse(call) for call in calls}
    return {name for name in ("torch", "jax", "cupy") if f"pytest.importorskip('{name}')" in texts}


def test_no_file_needs_a_library_but_those_about_it() -> None:
    """NumPy and the strict library are always there: what runs on them is never left out."""
    files = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py") if skipped_wholly(path)}
    assert files == ABOUT_OTHERS
