r"""How byte-pair tokenizers split a text before they join bytes: by GPT-2's pattern, without a further library.

The pattern of GPT-2 [1]_ is

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

Python's `re` knows no \p{L} (letters) and \p{N} (numbers). But a letter is a character of words, \w, that is neither a
number nor "_". So a list of the numbers is enough. Their list is that of Python's Unicode.

References
----------
.. [1] Radford, Wu, Child, Luan, Amodei & Sutskever (2019), Language models are unsupervised multitask learners.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import count

SPACES = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
"""White_Space of Unicode, for a class of characters; Python's \\s has the four separators from U+001C on, too."""
LAST_NUMBER = 0x20000  # no character from here on is a number


@cache
def pattern() -> re.Pattern[str]:
    """GPT-2's pattern for Python's `re`."""
    numbers = _ranges([code for code in range(LAST_NUMBER) if unicodedata.category(chr(code))[0] == "N"])
    return re.compile(
        "'(?:[stmd]|re|ve|ll)"
        f"| ?[^\\W_{numbers}]+"
        f"| ?[{numbers}]+"
        f"| ?(?:_|[^\\w{SPACES}{numbers}])+"
        f"|[{SPACES}]+(?![^{SPACES}])"
        f"|[{SPACES}]+"
    )


def _ranges(codes: list[int]) -> str:
    """Rising code points as the inside of a class of characters."""
    starts = [i for i, code in enumerate(codes) if i == 0 or codes[i - 1] != code - 1]
    ends = [*(i - 1 for i in starts[1:]), len(codes) - 1]
    return "".join(
        f"{re.escape(chr(codes[first]))}-{re.escape(chr(codes[last]))}"
        for first, last in zip(starts, ends, strict=True)
    )


@cache
def symbols() -> tuple[str, ...]:
    """A visible character for each byte, as GPT-2's files write them: itself if visible, else the next from U+0100."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = count(0x100)
    return tuple(chr(byte if byte in visible else next(spare)) for byte in range(256))


@cache
def bytes_of_symbols() -> dict[str, int]:
    """The byte of each visible character."""
    return {symbol: byte for byte, symbol in enumerate(symbols())}
