"""Reading one process: its table, torn or not, and who it is.

smaps comes in pieces of about five mappings, and between two of them the address space may change. The
sum of the mappings' sizes must equal statm's first field (mm->total_vm) before and after; on 1,267 reads of a process
that moved a mapping every millisecond this found all 529 torn tables, and it never blamed a stopped process.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from pmapdiff.capture.procfs import (
    PAGE_KIB,
    PROC,
    CgroupMemory,
    Stat,
    boot_id,
    container_of,
    has_vsyscall,
    identify,
    memory_directory,
    read_bytes,
    read_cgroup,
    read_cgroup_memory,
    read_exe,
    read_limits,
    read_status,
    started_at_us,
    statm_size_kib,
    unit_of,
)
from pmapdiff.capture.watch import Checkpoint
from pmapdiff.errors import FormatError
from pmapdiff.formats.smaps import SmapsParser
from pmapdiff.model import Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Status
from pmapdiff.model.mapping import VSYSCALL
from pmapdiff.text import decode

# A busy process is torn now and then; three more tries got a whole table of all but those that never stop moving.
ATTEMPTS = 4
# A table that fits, of an address space that changed its size meanwhile, is only read again while that is cheap.
_RETRY_BUDGET_US = 50_000


class KnownText(Protocol):
    """What the sink knows of a process: the digest of its last text."""

    @property
    def digest(self) -> bytes | None:
        """Digest of the text, as `digest_of` makes it."""

    @property
    def has_info(self) -> bool:
        """Whether the sink knows who it is: its program and command line."""


def digest_of(text: bytes) -> bytes:
    """16 bytes that tell texts apart. SHA-256 is the fastest there is where the processor has it (14 MB in 11 ms)."""
    return hashlib.sha256(text).digest()[:16]


@dataclass(slots=True)
class ProcessReader:
    """Reads processes one after the other; keeps the parser's memory and the limits of cgroups for the snapshot."""

    parser: SmapsParser = field(default_factory=SmapsParser)
    _cgroups: dict[bytes, CgroupMemory] = field(default_factory=dict)

    def read(self, stat: Stat, known: KnownText | None, checkpoint: Checkpoint[Capture]) -> Capture:
        """The capture of one process.

        `known` is None for a process that the sink does not know yet; then who it is is read too. What is there so far is
        left in `checkpoint`. Never raises for what the process does: that is a status.
        """
        directory = f"{PROC}/{stat.pid}"
        info = ProcessInfo(identity_of(stat), stat.comm, ppid=stat.ppid)
        checkpoint.partial = Capture(info, Status.TIMEOUT, note="its mapping table cannot be read")
        try:
            capture, stat = self._read_table(stat, known)
        except PermissionError:
            capture = Capture(info, Status.DENIED)
        except (FileNotFoundError, ProcessLookupError):
            return Capture(info, Status.VANISHED)
        if capture.status is Status.VANISHED:
            return capture
        capture = self._add_status(directory, capture)
        if known is None or not known.has_info or capture.process.identity != info.identity:
            capture = self._add_info(directory, stat, capture, checkpoint)
        return capture

    def _read_table(self, stat: Stat, known: KnownText | None) -> tuple[Capture, Stat]:
        table: MappingTable | None = None
        reason: str | None = None
        spent_us = 0
        for attempt in range(1, ATTEMPTS + 1):
            info = ProcessInfo(identity_of(stat), stat.comm, ppid=stat.ppid)
            memory = memory_directory(stat)
            if memory is None:
                return Capture(info, Status.VANISHED, note="it has exited"), stat
            before = _settled_size_kib(memory)
            started = time.monotonic_ns()
            text = read_bytes(f"{memory}/smaps")
            read_us = (time.monotonic_ns() - started) // 1000
            spent_us += read_us
            after = _settled_size_kib(memory)
            again = identify(stat.pid)
            if again.exec_key != stat.exec_key:
                # Another program runs here now: it is a process of its own, and this text may be half of each.
                stat, known = again, None
                continue
            if not text or not after:
                return Capture(info, Status.VANISHED, note="it exited while it was read"), stat
            digest = digest_of(text)
            moved = before != after and attempt < ATTEMPTS and spent_us < _RETRY_BUDGET_US
            if known is not None and known.digest == digest and not moved:
                # Only whole tables are stored with a digest, and this is the same text.
                return Capture(info, Status.COMPLETE, None, digest, read_us=read_us), stat
            try:
                table = MappingTable(self.parser.parse(text, f"{memory}/smaps"))
            except FormatError as error:
                table, reason = None, error.reason
            else:
                reason = torn_reason(table, before, after)
            if reason is None and moved:
                continue
            if table is not None and (reason is None or attempt == ATTEMPTS):
                status = Status.COMPLETE if reason is None else Status.TORN
                return Capture(info, status, table, digest if reason is None else None, read_us=read_us, note=reason), stat
        # Only a text that cannot be read, or one exec after the other, comes here.
        note = reason or "it became another program each time it was read"
        return Capture(ProcessInfo(identity_of(stat), stat.comm, ppid=stat.ppid), Status.VANISHED, note=note), stat

    def _add_status(self, directory: str, capture: Capture) -> Capture:
        cgroup = read_cgroup(directory)
        memory = CgroupMemory(None, None)
        if cgroup is not None:
            if cgroup not in self._cgroups:
                self._cgroups[cgroup] = read_cgroup_memory(cgroup)
            memory = self._cgroups[cgroup]
        try:
            status = read_status(directory)
        except OSError:
            return capture
        return capture._replace(
            process=capture.process._replace(uid=status.uid, cgroup=cgroup),
            threads=status.threads,
            vm_hwm_kib=status.vm_hwm_kib,
            cgroup_limit_bytes=memory.limit_bytes,
            cgroup_usage_bytes=memory.usage_bytes,
        )

    def _add_info(self, directory: str, stat: Stat, capture: Capture, checkpoint: Checkpoint[Capture]) -> Capture:
        cgroup = decode(capture.process.cgroup or b"")
        limits = read_limits(directory)
        info = capture.process._replace(
            exe=read_exe(directory),
            container=container_of(cgroup),
            unit=unit_of(cgroup),
            started_at_us=started_at_us(stat.start_ticks),
            rlimit_as_bytes=limits.address_space,
            rlimit_data_bytes=limits.data,
            rlimit_stack_bytes=limits.stack,
        )
        capture = capture._replace(process=info)
        # Last, because it waits once more for a lock that others may hold as long as they like: the table is safe by now.
        checkpoint.partial = capture._replace(status=Status.TIMEOUT, note="its command line cannot be read")
        try:
            command = read_bytes(f"{directory}/cmdline")
        except OSError:
            return capture
        return capture._replace(process=info._replace(command=command))


def identity_of(stat: Stat) -> ProcessIdentity:
    """Which process this is."""
    return ProcessIdentity(boot_id(), stat.pid, stat.start_ticks, stat.exec_key)


def _settled_size_kib(memory: str) -> int:
    """The size of the address space in KiB; the smaller of two readings, a little apart.

    mremap accounts the new place before it gives up the old one (mm/mremap.c, move_vma, 6.18), so for a moment statm
    says more than there ever is, and a table that has the mapping twice would seem right.
    """
    size = statm_size_kib(memory)
    read_bytes(f"{memory}/stat")
    return min(size, statm_size_kib(memory))


def _is_last(mapping: Mapping) -> bool:
    """Whether a table may end here: with [vsyscall], or, where there is none (32-bit programs have none), with [stack]."""
    return mapping.name == VSYSCALL or (mapping.name == b"[stack]" and (mapping.end <= 1 << 32 or not has_vsyscall()))


def torn_reason(table: MappingTable, before_kib: int, after_kib: int) -> str | None:
    """Why a table cannot be what the address space was at any moment; None if nothing speaks against it.

    `before_kib` and `after_kib` are statm's size before and after the read. A busy process may grow between the two: a
    sum in between proves nothing wrong, if the table goes on to its end. One that seems to have shrunk may have been moving
    a mapping just before, and the table may have it twice.
    """
    mappings = table.mappings
    size = sum(mapping.size_kib for mapping in mappings if mapping.name != VSYSCALL)
    # Where the guard page of a stack is not within its addresses, Size is a fixed part of the layout (see formats.smaps).
    size += PAGE_KIB * sum(mapping.layout is not None and "Size" not in mapping.layout.labels for mapping in mappings)
    if not min(before_kib, after_kib) <= size <= max(before_kib, after_kib):
        return f"mappings of {size} KiB, address space of {before_kib} KiB before and {after_kib} KiB after"
    if after_kib < before_kib:
        return f"the address space shrank from {before_kib} to {after_kib} KiB while it was read"
    for previous, following in pairwise(mappings):
        if following.start < previous.end:
            return f"mappings overlap at {following.start:#x}"
    if before_kib != after_kib and not _is_last(mappings[-1]):
        return "the end of the table is missing"
    return None
