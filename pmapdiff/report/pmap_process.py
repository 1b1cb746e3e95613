"""The first line of all of pmap's forms: pid and command line, as procps-ng 4.0.2 prints them.

The facts are from library/readproc.c (`read_unvectored`, `fill_cmdline_cvt`) and library/escape.c of 4.0.2.
"""

from __future__ import annotations

import locale
import re

from pmapdiff.model import ProcessInfo

# MAX_BUFSZ, 128 KiB, with its last byte for the NUL.
_LONGEST = (128 << 10) - 1
_SEPARATORS = bytes.maketrans(b"\0\n", b"  ")
_CONTROLS = bytes(ord("?") if byte < 0x20 or byte == 0x7F else byte for byte in range(256))
_NO_ASCII = bytes(ord("?") if byte > 0x7F else ord(".") if byte < 0x20 or byte == 0x7F else byte for byte in range(256))
# procps goes by the leading byte alone: whatever follows it is taken for the rest of the character.
_CHARACTER = re.compile(rb"[\x00-\x7f]|[\xc2-\xdf].|[\xe0-\xef]..|[\xf0-\xf4]...", re.DOTALL)


def process_line(process: ProcessInfo) -> bytes:
    """`1100:   redis-server *:6379`, with its newline.

    A process without a command line, and one of a saved table that has none, is `[comm]`; the pid is 0 where a saved table
    does not say. As with pmap, what is no ASCII is only left as it is in a locale of UTF-8.
    """
    return b"%d:   %b\n" % (process.pid, _command_line(process))


def _command_line(process: ProcessInfo) -> bytes:
    utf_8 = locale.nl_langinfo(locale.CODESET).upper() == "UTF-8"
    if not process.command:
        return b"[%b]" % _escape(process.comm, utf_8)
    raw = process.command[:_LONGEST]
    words = raw.rstrip(b"\0")
    line = words.translate(_SEPARATORS)
    if len(words) == len(raw):
        # No NUL at the end, so the process wrote its own line (setproctitle): of that one last space is cut off.
        line = line.removesuffix(b" ")
    return _escape(line, utf_8) or b"?"


def _escape(text: bytes, utf_8: bool) -> bytes:
    if not utf_8:
        return text.translate(_NO_ASCII)
    if text.isascii():
        return text.translate(_CONTROLS)
    parts: list[bytes] = []
    position = 0
    while match := _CHARACTER.match(text, position):
        parts.append(match[0].translate(_CONTROLS) if match.end() == position + 1 else match[0])
        position = match.end()
    # From the first byte that begins no character on, all of it is replaced.
    return b"".join(parts) + text[position:].translate(_NO_ASCII)


def start_of_stack(process: ProcessInfo) -> int | None:
    """Where the stack of a recorded process began; None if it was not recorded, or the kernel did not tell.

    It is the first part of the exec key; pmap and the kernel both call the mapping around it the stack, but the kernel only if it
    has no other name (fs/proc/task_mmu.c, get_vma_name, 6.18).
    """
    first = process.identity.exec_key.partition("-")[0]
    return (int(first) or None) if process.identity.is_known and first.isdigit() else None
