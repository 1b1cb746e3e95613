"""JSON of strangers: one value, or one in each line, and nothing that any nesting, number or byte of it can do but be wrong."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Parse
from pmapdiff.formats.tidy import tidy

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}


class JsonValues(NamedTuple):
    """The values in a file, each with the line that it begins in, and what is missing of the last one (None: nothing)."""

    values: list[tuple[Any, int]]
    cut: str | None


def beginning_of_json(head: bytes) -> bytes:
    """The first bytes of a file as UTF-8, without blanks before them; nothing if it does not begin as an array or object does."""
    if head.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        head = tidy(head)
    head = head.lstrip()
    return head if head.startswith((b"[", b"{")) else b""


def read_json(given: Parse) -> JsonValues:
    """The values of a file, with bytes that are no UTF-8 as lone surrogates. Raises FormatError with the line.

    With `given.partial`, of a last value that was cut off the part that is whole.
    """
    text = tidy(given.data).decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    # One value a line, if the first line is one.
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    values: list[tuple[Any, int]] = []
    if any(line.strip() for line in lines[first + 1 :]) and _is_value(lines[first]):
        filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
        for number, line in filled[:-1]:
            values.append((_load(line, given, number), number))
        number, text = filled[-1]
    else:
        number = 1
    try:
        return JsonValues([*values, (_load(text, given, number), number)], None)
    except FormatError as error:
        kept = _whole_part(text)
        if not given.partial or not (kept or values):
            raise
        values += [(_load(kept, given, number), number)] if kept else []
        return JsonValues(values, f"line {error.line}: {error.reason}")


def _is_value(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _load(text: str, given: Parse, line: int) -> Any:
    """One value, which begins in this line. Raises FormatError."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at_end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        reason = f"the file was cut off here ({error.msg}): --partial takes what is whole" if at_end else f"this is not JSON: {error.msg}"
        raise FormatError(reason, source=given.source, line=line + error.lineno - 1) from None
    except RecursionError:
        raise FormatError("this JSON is nested too deeply", source=given.source, line=line) from None
    except ValueError as error:
        # Python's own bound on the digits of a number.
        raise FormatError(f"this is not JSON: {str(error).partition(';')[0]}", source=given.source, line=line) from None


def _whole_part(text: str) -> str:
    """The beginning of a value that was cut off, up to the last array or object that is whole, and what closes those around it."""
    opened: list[str] = []
    depth = end = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in _CLOSING:
            opened.append(token)
        elif token in ("]", "}"):
            if not opened or _CLOSING[opened.pop()] != token:
                return ""
            depth, end = len(opened), match.end()
    return text[:end] + "".join(_CLOSING[token] for token in reversed(opened[:depth]))
