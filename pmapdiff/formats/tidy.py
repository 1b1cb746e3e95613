"""What mail, editors, tickets and other systems do to a text, undone."""

from __future__ import annotations

import re
from collections.abc import Callable

_FRAME = re.compile(
    rb"\s*(?:(?:```|~~~)[^`]*|\{(?:code|noformat)(?::[^}]{0,60})?\}|\[/?code\]|</?(?:pre|code|details|summary)\b[^>]{0,80}>(?:[^<]{0,80}</summary>)?)\s*"
)
# A row of maps, smaps or pmap behind what marks a quotation, and what is between the marks. pmap -X indents rows by itself.
_ROW = rb"[0-9a-f]{8,16}(?:-[0-9a-f]{8,16} [r-][w-][x-][sp] |[ \t]+\d{1,17}(?:K[ \t]|[ \t]+[\dr-]))"
_INDENTED_ROW = rb"[0-9a-f]{8,16}[ \t]+[r-][w-][x-][sp][ \t]+\d"
_QUOTED_ROW = re.compile(rb"^(?P<mark>[ \t]*>[ \t>|]*(?=" + _ROW + rb"|" + _INDENTED_ROW + rb")|[ \t|]+(?=" + _ROW + rb"))", re.MULTILINE)
_DEEPEST_QUOTATION = 8
# What is longer was written by a program.
_LONGEST_QUOTATION = 16 << 20
# A header of maps with a tab between two of its fields, or a counter.
_TABBED = re.compile(
    rb"^(?:[0-9a-f]{8,16}-[0-9a-f]{8,16}(?:\t| +[r-][w-][x-][sp](?:\t| +[0-9a-f]{8,16}(?:\t| +[0-9a-f]+:[0-9a-f]+(?:\t| +\d+\t))))"
    rb"|[A-Z]\w+: *\t)[^\n]*",
    re.MULTILINE,
)
_FIELDS = re.compile(rb"([0-9a-f]{8,16}-[0-9a-f]{8,16})\s+([r-][w-][x-][sp])\s+([0-9a-f]{8,16})\s+([0-9a-f]+:[0-9a-f]+)\s+(\d+)(?:[ \t]+(\S.*))?")
_COLOUR = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
_NO_BREAK_SPACE = "\xa0".encode()


def tidy(data: bytes) -> bytes:
    """A text with the line ends, the encoding and the margins that it had before it was copied; the lines keep their numbers."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        # Windows PowerShell writes what comes through a pipe like this.
        data = data.decode("utf-16", "replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data and data.count(b"\r\n") == data.count(b"\n") - data.endswith(b"\n\n"):
        data = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
    for _ in range(_DEEPEST_QUOTATION):
        # A reply quotes what it replies to, and that again.
        inner = _unquoted(data)
        if inner is data:
            break
        data = inner
    return _TABBED.sub(_without_tabs, data) if b"\t" in data else data


def further_tidied(data: bytes) -> list[Callable[[bytes], bytes]]:
    """What can be done to a text in which no table was found: each changes it more than what is right for every text."""
    changes: list[Callable[[bytes], bytes]] = []
    if b"\x1b" in data:
        changes.append(lambda text: _COLOUR.sub(b"", text))
    if _NO_BREAK_SPACE in data:
        changes.append(lambda text: text.replace(_NO_BREAK_SPACE, b" "))
    return changes


def is_frame(line: bytes) -> bool:
    """Whether a line is one of those that mark a quoted text: a Markdown fence, {code} or <pre>."""
    return _FRAME.fullmatch(line) is not None


def _unquoted(data: bytes) -> bytes:
    """A text without the margin of the paragraphs that have rows of a table in them."""
    parts: list[bytes] = []
    position = 0
    if len(data) > _LONGEST_QUOTATION:
        return data
    while (match := _QUOTED_ROW.search(data, position)) is not None:
        # A mark of a mail may lack its space where a line is empty.
        mark = match["mark"]
        shortest = mark.rstrip(b" \t") or mark
        start = match.start()
        while start > position and data.startswith(shortest, before := data.rfind(b"\n", 0, start - 1) + 1) and before >= position:
            start = before
        parts.append(data[position:start])
        position = start
        while data.startswith(shortest, position):
            end = data.find(b"\n", position) + 1 or len(data)
            parts.append(data[position:end].removeprefix(mark) if data.startswith(mark, position) else data[position + len(shortest) : end])
            position = end
    return b"".join([*parts, data[position:]]) if parts else data


def _without_tabs(match: re.Match[bytes]) -> bytes:
    """A header or counter line in whose place of spaces somebody's editor put tabs."""
    fields = _FIELDS.fullmatch(match[0])
    if fields is not None:
        return b" ".join(fields.groups(b"")[:5]) + b" " + (fields[6] or b"")
    if match[0].startswith(b"VmFlags:"):
        return b" ".join(match[0].split(b"\t"))
    return match[0].replace(b"\t", b" ")
