"""Warnings at the line of the user, however deep in the package the reason is found."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

PACKAGE = str(Path(__file__).parent) + os.sep


def warn(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Warn at the line outside of this package that called it.

    That is the line below the outermost frame of the package, so that what stands between, such as a decorator of
    another library, does not count.
    """
    frame, level, outermost = sys._getframe(1), 2, 1
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            outermost = level
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=outermost + 1)
