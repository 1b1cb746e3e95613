"""Texts of many files in one: what `head`, `tail`, `more` and `grep -H` print of several, each part with the name of its file."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pmapdiff.formats.proc_tree import TreeFile

_RULE = rb"::::::::::::::"
# head and tail, or more.
_TITLE = re.compile(rb"^(?:==> (?P<path>[^\n]{1,4096}) <==|" + _RULE + rb"\n(?P<page>[^\n]{1,4096})\n" + _RULE + rb")\n", re.MULTILINE)
# grep -H, with or without -n.
_PREFIX = re.compile(rb"^(?P<path>(?:[^\s:]*/)?\d{1,10}/(?:task/\d{1,10}/)?(?:smaps|maps|smaps_rollup|status|stat|comm|cmdline)):", re.MULTILINE)
_NEWLINE = 10
# grep leaves out lines that are no text in its locale, and says so at the end of a file that has any (3.5 and later, and before).
LEFT_OUT_BY_GREP = re.compile(rb"grep: (?P<path>[^\n]{1,4096}): binary file matches|Binary file (?P<old>[^\n]{1,4096}) matches")
_LINE_NUMBER = re.compile(rb"\d{1,9}:")


def split_sections(data: bytes) -> list[TreeFile] | None:
    """The files that a text is made of, each with the line that it begins in; None if it is one text."""
    marked = sorted(position for mark in (b"==> ", _RULE + b"\n") for position in _lines_with(mark, data))
    titles = [match for position in marked if (match := _TITLE.match(data, position))]
    if titles:
        ends = [*(match.start() for match in titles[1:]), len(data)]
        files = [TreeFile("", data[: titles[0].start()])] if data[: titles[0].start()].strip() else []
        line, counted = 1, 0
        for match, end in zip(titles, ends, strict=True):
            line += data.count(b"\n", counted, match.end())
            counted = match.end()
            # head puts an empty line between the parts.
            part = data[match.end() : end]
            files.append(TreeFile((match["path"] or match["page"]).decode("utf-8", "backslashreplace"), part, line))
        return files
    return _unprefixed(data) if _PREFIX.search(data, 0, 1 << 16) else None


def _lines_with(start: bytes, data: bytes) -> Iterator[int]:
    """Where the lines begin that begin like this."""
    position = data.find(start)
    while position >= 0:
        if position == 0 or data[position - 1] == _NEWLINE:
            yield position
        position = data.find(start, position + 1)


def _unprefixed(data: bytes) -> list[TreeFile]:
    files: list[TreeFile] = []
    parts: list[bytes] = []
    prefix, begun = b"", 1

    def end() -> None:
        if parts:
            files.append(TreeFile(prefix.removesuffix(b":").decode("utf-8", "backslashreplace"), b"\n".join([*parts, b""]), begun))

    for number, line in enumerate(data.split(b"\n"), start=1):
        if not prefix or not line.startswith(prefix):
            match = _PREFIX.match(line)
            found = b"" if match is None else match[0]
            if not found and (said := LEFT_OUT_BY_GREP.fullmatch(line)) and prefix == (said["path"] or said["old"]) + b":":
                # It is about the lines of this file.
                parts.append(line)
                continue
            if found != prefix or number == 1:
                end()
                prefix, parts, begun = found, [], number
        text = line[len(prefix) :]
        if prefix and (match := _LINE_NUMBER.match(text)):
            text = text[match.end() :]
        parts.append(text)
    end()
    return files
