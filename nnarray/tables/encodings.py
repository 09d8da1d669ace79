"""The encodings that a text may have: those that decode it to text of their languages."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable

KANA = "\u3041-\u30ff"
SIGNS = "\u3000-\u303f\uff01-\uff5e\u2460-\u2473"  # punctuation, full-width letters and numbers of East Asia
UNASSIGNED = re.compile("[\x80-\x9f\ue000-\uf8ff\ufffd]")  # control and private characters: no text has them
LETTER, SIGN = r"[^\W\d_\x00-\x7f]", "[°€£§²³µ½–—‘’“”…]"
WORD = re.compile(r"[^\s,;|\"]*[^\x00-\x7f][^\s,;|\"]*")
SHOWN = 4
PASSED = "--encoding {0}, or TextFormat(encoding={0!r})"
UTF16 = f"Save it as UTF-8, or pass its encoding: {PASSED.format('utf-16')}."
LIMIT = 1 << 16  # bytes that are looked at

LANGUAGES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("utf-8", lambda text: True),
    ("cp932", lambda text: _mostly(text, f"[{KANA}{SIGNS}]") or _is_common(text, "cp932", b"\x88", b"\x98")),
    ("euc_jp", lambda text: _mostly(text, f"[{KANA}]", 0.2)),
    ("cp949", lambda text: _is_common(text, "euc_kr", b"\xb0", b"\xc9")),
    ("gb18030", lambda text: _is_common(text, "gb2312", b"\xb0", b"\xd8") and not _mostly(text, f"[{KANA}]", 0.2)),
    ("big5", lambda text: _is_common(text, "big5", b"\xa4", b"\xc7")),
    ("cp1251", lambda text: _mostly(text, "(?<![a-zA-Z])[\u0400-\u04ff]{2,}(?![a-zA-Z])", 0.9)),
    ("cp1252", lambda text: _mostly(text, f"(?<!{LETTER}){LETTER}{{1,2}}(?!{LETTER})|{SIGN}", 0.8)),
    ("cp932", lambda text: _mostly(text, "[\uff61-\uff9f]", 0.9)),  # half-width: Chinese and Korean may look so
)
"""The encodings that are tried, the likely ones first, and whether what they read is text of their languages."""


def _mostly(text: str, pattern: str, part: float = 0.5) -> bool:
    """Whether matches of the pattern make up this part of the characters that are not ASCII."""
    return sum(map(len, re.findall(pattern, text))) >= part * _others(text)


def _is_common(text: str, encoding: str, first: bytes, beyond: bytes) -> bool:
    """Whether most characters are among the common ones of a language, which have a range of codes of their own."""
    common = sum(first <= each.encode(encoding, "ignore") < beyond for each in text if not each.isascii())
    return common > 0 and common + sum(map(len, re.findall(f"[{KANA}{SIGNS}]", text))) > 0.6 * _others(text)


def _others(text: str) -> int:
    return sum(not each.isascii() for each in text)


def is_same(one: str, other: str) -> bool:
    """Whether both are names of one encoding."""
    return codecs.lookup(one).name == codecs.lookup(other).name


def readings(content: bytes, failed: str) -> dict[str, str]:
    """The encodings, without `failed`, that these bytes may have; each with the first word as it reads it."""
    found: dict[str, str] = {}
    for encoding, is_likely in LANGUAGES:
        try:
            text = "" if is_same(encoding, failed) else content.decode(encoding)
        except UnicodeDecodeError:
            continue
        word = WORD.search(text)
        if word and not UNASSIGNED.search(text) and is_likely(text):
            found.setdefault(encoding, word[0][:20])
        if "utf-8" in found:
            break  # no other text is UTF-8 by chance
    return found


def recoding(content: bytes, failed: str) -> str:
    """What to do about a text that is not in the encoding `failed`, by those of its lines that are not ASCII."""
    if b"\0" in content and not is_same(failed, "utf-16"):
        return UTF16
    found = [*readings(content, failed).items()][:SHOWN]
    if not found:
        return "Save it as UTF-8. Or pass its encoding by Python's name: --encoding, or TextFormat(encoding=...)."
    encoding, word = found[0]
    start = "Pass" if encoding == "utf-8" else "Save it as UTF-8, or pass"
    others = "".join(f", {other} {reading!r}" for other, reading in found[1:])
    return f"{start} its encoding: {PASSED.format(encoding)}, which reads {word!r}{others}."


def not_ascii(lines: Iterable[bytes]) -> bytes:
    """The lines that are not ASCII, up to 64 KiB: whole lines, so that no character is cut."""
    kept = bytearray()
    for line in lines:
        if len(kept) + len(line) > LIMIT:
            break
        if not line.isascii():
            kept += line
    return bytes(kept)
