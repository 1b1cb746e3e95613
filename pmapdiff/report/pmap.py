"""pmap's plain form, -x and -d, as procps-ng 4.0.2 prints them.

The facts are from src/pmap.c, `one_proc` and `mapping_name`, of 4.0.2 (the output of 4.0.4 is the same).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from pmapdiff.model import Mapping, Snapshot
from pmapdiff.model.counters import RSS, dirty_kib
from pmapdiff.report.base import View, register
from pmapdiff.report.exact import Shown, tables, write_exact
from pmapdiff.report.pmap_process import process_line, start_of_stack

_Row = Callable[[Mapping, bytes, bytes], bytes]
_Footer = Callable[[Sequence[Mapping]], bytes]

# isprint() of every byte of a line, in the C locale and in those of UTF-8: what is no ASCII is not printed, whole characters or not.
_UNPRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in range(256))
# What the kernel calls an object that no file system has: `socket:[4711]`, `anon_inode:[io_uring]`, `anon_inode:kvm-vcpu:0`.
_OBJECT = re.compile(rb"anon_inode:|\w+:\[")
_SYSV_NAME = re.compile(rb"/SYSV[0-9a-f]{8}(?: \(deleted\))?")


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the forms: the line of headings, a row (of a mapping, its mode and its name) and what is below the rows."""

    headings: bytes
    row: _Row
    footer: _Footer


@dataclass(frozen=True, slots=True)
class _Names:
    """What mapping_name() goes by: where the stack began, and the device of SysV shared memory."""

    show_path: bool
    start_of_stack: int | None
    sysv_device: str | None

    def __call__(self, mapping: Mapping) -> bytes:
        name = mapping.name.translate(_UNPRINTABLE)
        if b"/SYSV" in name and mapping.device is not None and mapping.device == self.sysv_device:
            return b"  [ shmid=0x%x ]" % (mapping.inode or 0)
        if b"/" in name:
            if self.show_path:
                return name[name.index(b"/") :]
            return name.rpartition(b"/")[2] or b"/"
        if name.startswith(b"[shmid="):
            # A saved table of pmap's own.
            return b"  [ %b ]" % name[1:-1]
        if name and not name.startswith(b"[") and not _OBJECT.match(name):
            # A basename, which is all that a table of pmap's has without -p.
            return name
        return b"  [ stack ]" if self._is_stack(mapping) else b"  [ anon ]"

    def _is_stack(self, mapping: Mapping) -> bool:
        if self.start_of_stack is None:
            return mapping.name == b"[stack]"
        return mapping.start <= self.start_of_stack <= mapping.end


def _sysv_device(mappings: Sequence[Mapping]) -> str | None:
    """The device of the kernel's own tmpfs, which holds SysV shared memory; None if nothing of it is mapped.

    pmap makes a segment and looks; of a recorded table it shows in what else lives there (mm/shmem.c, shm_mnt), and in the segments
    themselves. Those of huge pages, memfd or SysV, are on another device (fs/hugetlbfs/inode.c), and pmap does not know them.
    """
    kernels = [m for m in mappings if m.device is not None and m.device.startswith("00:") and m.inode and b"ht" not in (m.flags or b"").split()]
    tests: tuple[Callable[[Mapping], bool], ...] = (
        lambda m: m.name == b"/dev/zero (deleted)" and m.perms[3] == "s",
        lambda m: m.name.startswith(b"/memfd:"),
        lambda m: _SYSV_NAME.fullmatch(m.name) is not None,
    )
    return next((m.device for test in tests for m in kernels if test(m)), None)


def _mode(perms: str) -> bytes:
    return (perms[:3] + ("s-" if perms[3] == "s" else "--")).encode()


def _size(mappings: Sequence[Mapping]) -> int:
    return sum(mapping.size_kib for mapping in mappings)


def _plain_row(mapping: Mapping, mode: bytes, name: bytes) -> bytes:
    return b"%016x %6dK %b %b\n" % (mapping.start, mapping.size_kib, mode, name)


def _plain_footer(mappings: Sequence[Mapping]) -> bytes:
    return b" total %16dK\n" % _size(mappings)


def _extended_row(mapping: Mapping, mode: bytes, name: bytes) -> bytes:
    return b"%016x %7d %7d %7d %b %b\n" % (mapping.start, mapping.size_kib, *_rss_and_dirty(mapping), mode, name)


def _extended_footer(mappings: Sequence[Mapping]) -> bytes:
    # pmap adds up Rss and dirty of the mappings below the range of -A, too; here the rows add up.
    rss, dirty = (sum(column) for column in zip((0, 0), *map(_rss_and_dirty, mappings), strict=True))
    return b"---------------- ------- ------- ------- \ntotal kB         %7d %7d %7d\n" % (_size(mappings), rss, dirty)


def _rss_and_dirty(mapping: Mapping) -> tuple[int, int]:
    return mapping.counters[RSS] or 0, dirty_kib(mapping.counters) or 0


def _device_row(mapping: Mapping, mode: bytes, name: bytes) -> bytes:
    assert mapping.offset is not None
    assert mapping.device is not None
    major, _, minor = mapping.device.partition(":")
    return b"%016x %7d %b %016x %03x:%05x %b\n" % (mapping.start, mapping.size_kib, mode, mapping.offset, int(major, 16), int(minor, 16), name)


def _device_footer(mappings: Sequence[Mapping]) -> bytes:
    shared = _size([m for m in mappings if m.perms[3] == "s"])
    writeable = _size([m for m in mappings if m.perms[3] != "s" and m.perms[1] == "w"])
    return b"mapped: %dK    writeable/private: %dK    shared: %dK\n" % (_size(mappings), writeable, shared)


_KINDS = {
    "pmap": _Kind(b"", _plain_row, _plain_footer),
    "pmap-x": _Kind(b"Address           Kbytes     RSS   Dirty Mode  Mapping\n", _extended_row, _extended_footer),
    "pmap-d": _Kind(b"Address           Kbytes Mode  Offset           Device    Mapping\n", _device_row, _device_footer),
}


def _render(kind: _Kind, shown: Shown, view: View) -> bytes:
    parts = [process_line(shown.process)]
    # Of a process that it may not read pmap prints the first line alone.
    if shown.table is not None:
        mappings = [mapping for mapping in shown.table.mappings if view.shows(mapping)]
        name = _Names(view.show_path, start_of_stack(shown.process), _sysv_device(shown.table.mappings))
        if not view.quiet:
            parts.append(kind.headings)
        parts += [kind.row(mapping, _mode(mapping.perms), name(mapping)) for mapping in mappings]
        if not view.quiet:
            parts.append(kind.footer(mappings))
    return b"".join(parts)


def _register(form: str, kind: _Kind) -> None:
    def write_snapshot(result: Snapshot, view: View, out: TextIO) -> None:
        write_exact(out, b"".join([_render(kind, shown, view) for shown in tables(result, view, form)]))

    register("show", form)(write_snapshot)


for _form, _kind in _KINDS.items():
    _register(_form, _kind)
