"""pmap's own words for memory without a file, in any language, and the kernel's names for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

# procps writes `  [ anon ]` and `  [ stack ]`, or what its translation has between the brackets; toybox and busybox the kernel's own names, and
# toybox `  [anon]`.
_WORD = re.compile(rb"\[ (\S(?:.*\S)?) +\]")
_SHMID = re.compile(rb"shmid=0x[0-9a-f]{1,16}")
_KERNELS = re.compile(rb" *(\[[^ ].*\])")
_ANON, _STACK = b"anon", b"stack"
_KERNEL_HALF = 1 << 63


class Shown(NamedTuple):
    """A row, as far as its name depends on it: `device` is None where the form has none, `text` all that stands behind the other columns."""

    start: int
    perms: str
    device: str | None
    text: bytes


def kernel_names(rows: Sequence[Shown]) -> list[bytes]:
    """The kernel's names for what pmap shows.

    A file of the same name as pmap's own words is taken for memory: nothing but the device of -d tells them apart, and pasted tables often lost
    the spaces that might.
    """
    # Versions differ in how many blanks stand before a name; what a name has more of is its own.
    margin = min((len(row.text) - len(row.text.lstrip(b" \t")) for row in rows if row.text.strip(b" \t")), default=0)
    words = [_word(row) for row in rows]
    stack = _translated_stack(rows, words)
    names: list[bytes] = []
    for row, word in zip(rows, words, strict=True):
        if word is not None:
            names.append(b"[stack]" if word in (_STACK, stack) else b"[%b]" % word if _SHMID.fullmatch(word) else b"")
        else:
            name = row.text[margin:] if row.text.strip(b" \t") else b""
            special = _KERNELS.fullmatch(name)
            names.append(name if special is None else b"" if special[1] == b"[anon]" else special[1])
    return names


def _word(row: Shown) -> bytes | None:
    """Which of its own words pmap shows, if it does."""
    match = _WORD.fullmatch(row.text.lstrip(b" \t"))
    return match[1] if match and (row.device in (None, "00:00") or _SHMID.fullmatch(match[1])) else None


def _translated_stack(rows: Sequence[Shown], words: Sequence[bytes | None]) -> bytes | None:
    """The word that means the stack in a language that nobody knows here.

    It stands once, at the highest of the addresses that a process can write to, and is not the word for all other memory.
    """
    counts = Counter(word for word in words if word is not None and not _SHMID.fullmatch(word))
    if len(counts) != 2 or _STACK in counts:
        return None
    highest = max((i for i, word in enumerate(words) if word in counts and rows[i].start < _KERNEL_HALF), key=lambda i: rows[i].start, default=None)
    if highest is None or not rows[highest].perms.startswith("rw"):
        return None
    word = words[highest]
    return word if word != _ANON and word is not None and counts[word] == 1 else None
