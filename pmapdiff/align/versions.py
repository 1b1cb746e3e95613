"""Names without their version: what stays the same when a program, a library or a release folder is upgraded."""

from __future__ import annotations

import re
from functools import lru_cache

from pmapdiff.align.labels import object_name

# A number between separators (`libfoo.so.1.2`, `app-1.3b2.jar`, `/opt/app/v42/`), also a commit or content hash in its place.
_NUMBER = re.compile(rb"(?<=[-._+~/@#:])(?:[vVrR]?[0-9]+(?:\.[0-9]+)*(?:[a-z]{1,5}[0-9]*)?|(?=[a-f]*[0-9])[0-9a-f]{7,64})(?=[-._+~/@:]|$)")
# A number at the end of a word counts only where it has a dot: python3.11, but not x264 or sha512.
_TAIL = re.compile(rb"(?<=[A-Za-z])[0-9]+\.[0-9]+(?:\.[0-9]+)*(?=[-._+~/]|$)")
# A shared object's name with and without its version: libfoo.so, libfoo.so.1.
# Before 2.34 glibc wrote it as libc-2.31.so.
_SONAME = re.compile(rb"(?:-#)?\.so(?:\.#)*$")
# The hash of a store path (/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37), and what is drawn by lot for each run: a UUID, or the many
# digits in the name of a library that java has unpacked (/tmp/libnetty_tcnative1234567890123.so).
_LOT = re.compile(rb"(?<=/)[0-9a-z]{32}(?=-)|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{9,}")
_PARTS = re.compile(rb"[0-9]+|[^0-9]+")


@lru_cache(maxsize=4096)
def fold_version(name: bytes) -> bytes:
    """The name without ` (deleted)` and with every version, release number or hash in it as `#`."""
    folded = _LOT.sub(b"#", object_name(name))
    folded = _NUMBER.sub(b"#", _TAIL.sub(b"#", folded))
    return _SONAME.sub(b".so", re.sub(rb"#(?:[-._+~@:]#)+", b"#", folded))


@lru_cache(maxsize=4096)
def versions_in(name: bytes) -> tuple[bytes, ...]:
    """What `fold_version` takes out of a name, in its order: `1.10` of /opt/app-1.10/bin/app. A UUID is drawn by lot for each run, and no version."""
    found: list[tuple[int, bytes]] = []

    def note(match: re.Match[bytes]) -> bytes:
        found.append((match.start(), match[0]))
        return blank(match)

    def blank(match: re.Match[bytes]) -> bytes:
        return b"#" * len(match[0])

    known = _LOT.sub(lambda lot: blank(lot) if b"-" in lot[0] else note(lot), object_name(name))
    _NUMBER.sub(note, _TAIL.sub(note, known))
    return tuple(version for _, version in sorted(found))


def version_key(name: bytes) -> tuple[tuple[int, int, bytes], ...]:
    """What sorts names by their versions: 1.9 before 1.10."""
    return tuple((1, int(part[:18]), b"") if part[:1].isdigit() else (0, 0, part) for part in _PARTS.findall(object_name(name)))
