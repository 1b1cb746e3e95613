"""Reading one process: its table, torn or not, and who it is.

smaps comes in pieces of about five mappings, and between two of them the address space may change. The
sum of the mappings' sizes must equal statm's first field (mm->total_vm) before and after; on 1,267 reads of a process
that moved a mapping every millisecond this found all 529 torn tables, and it never blamed a stopped process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

from pmapdiff.capture.budget import NO_LIMIT, Budget, LastRead, refusal
from pmapdiff.capture.procfs import (
    PAGE_KIB,
    PROC,
    CgroupMemory,
    MemoryStatus,
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
    read_piece,
    read_status,
    read_table,
    started_at_us,
    statm_size_kib,
    unit_of,
)
from pmapdiff.capture.watch import Checkpoint
from pmapdiff.errors import FormatError
from pmapdiff.formats.maps import parse_live_maps, sizes_of_maps
from pmapdiff.formats.smaps import SmapsParser
from pmapdiff.model import FIGURE_INDEX, FIGURES, Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Status, Totals
from pmapdiff.model.mapping import VSYSCALL
from pmapdiff.text import decode, digest_of

# A busy process is torn now and then; three more tries got a whole table of all but those that never stop moving.
ATTEMPTS = 4
# A table that fits, of an address space that changed its size meanwhile, is only read again while that is cheap.
_RETRY_BUDGET_US = 50_000
# And a torn one of a process that takes this long is kept as it is: reading it again would only hold it up again.
_MOST_REPEATED_US = 250_000


class KnownText(LastRead, Protocol):
    """What the sink knows of a process: the digest of its last text, and how long its last read took."""

    @property
    def digest(self) -> bytes | None:
        """Digest of the text, as `digest_of` makes it."""

    @property
    def has_info(self) -> bool:
        """Whether the sink knows who it is: its program and command line."""


class _Text(NamedTuple):
    """What was read of a process: smaps, or maps and what the kernel has counted, and why (`reduced`)."""

    data: bytes
    read_us: int | None
    reduced: str | None = None
    counted: MemoryStatus | None = None

    def with_maps(self, maps: bytes) -> _Text:
        """The same with another maps text."""
        return self._replace(data=maps)

    @property
    def beside(self) -> tuple[bytes, ...]:
        """What tells a text without counters from another beside itself: what was counted."""
        return () if self.counted is None else (repr(tuple(self.counted)).encode(),)

    def totals_of(self, table: MappingTable) -> Totals | None:
        """The totals of a table without counters, from what the kernel has counted; None for one that has them."""
        if self.counted is None:
            return None
        figures: list[int | None] = [None] * len(FIGURES)
        counted = self.counted
        known = {
            "size_kib": table.totals.get("size_kib"),
            "rss_kib": counted.rss_kib,
            "anonymous_kib": counted.anonymous_kib,
            # VmSwap leaves out what is paged out of shared memory, which smaps counts.
            "swap_kib": counted.swap_kib if counted.shmem_kib == 0 else None,
        }
        if counted.anonymous_kib is not None and counted.shmem_kib == 0:
            # Of shared memory only its Pss would count.
            known["footprint_kib"] = counted.anonymous_kib + counted.swap_kib + (counted.hugetlb_kib or 0)
        for name, value in known.items():
            figures[FIGURE_INDEX[name]] = value
        return Totals(len(table.mappings), tuple(figures))


@dataclass(slots=True)
class ProcessReader:
    """Reads processes one after the other; keeps the parser's memory and the limits of cgroups for the snapshot."""

    budget: Budget = NO_LIMIT
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
        given_up: _Text | None = None
        for attempt in range(1, ATTEMPTS + 1):
            info = ProcessInfo(identity_of(stat), stat.comm, ppid=stat.ppid)
            memory = memory_directory(stat)
            if memory is None:
                return Capture(info, Status.VANISHED, note="it has exited"), stat
            before = _settled_size_kib(memory)
            # A read that was given up is not made again, whatever becomes of the table that stands in for it.
            text = self._read_text(memory, known) if given_up is None else given_up.with_maps(read_table(f"{memory}/maps").data)
            given_up = text if text.reduced is not None else None
            spent_us += text.read_us or 0
            after = _settled_size_kib(memory)
            again = identify(stat.pid)
            if again.start_ticks != stat.start_ticks:
                # The pid has changed hands: whoever has it now is another process, and in the next snapshot.
                return Capture(info, Status.VANISHED, note="it ended while it was read, and its pid was used again"), stat
            if again.exec_key != stat.exec_key:
                # Another program runs here now: it is a process of its own, and this text may be half of each.
                stat, known = again, None
                continue
            if not text.data or not after:
                return Capture(info, Status.VANISHED, note="it exited while it was read"), stat
            digest = digest_of(text.data, *text.beside)
            last = attempt == ATTEMPTS or spent_us > self._most_to_repeat_us
            moved = before != after and not last and spent_us < _RETRY_BUDGET_US
            status = Status.COMPLETE if text.reduced is None else Status.MAPS_ONLY
            capture = Capture(info, status, None, digest, read_us=text.read_us, note=text.reduced)
            if known is not None and known.digest == digest and not moved:
                # Only whole tables are stored with a digest, and this is the same text.
                return capture, stat
            try:
                table = self._parse(text, memory)
            except FormatError as error:
                table, reason = None, error.reason
            else:
                reason = torn_reason(table, before, after)
                if not last and is_between_programs(table):
                    continue
            if reason is None and moved:
                continue
            if table is not None and reason is None:
                return capture._replace(table=table, totals=text.totals_of(table)), stat
            if table is not None and last:
                # That there are no counters is the status, whatever else there is to say: what it cost to learn that hangs on it.
                torn = Status.TORN if text.reduced is None else Status.MAPS_ONLY
                note = reason if text.reduced is None else f"{text.reduced}; torn: {reason}"
                return capture._replace(status=torn, table=table, totals=text.totals_of(table), digest=None, note=note), stat
            if last:
                break
        # Only a text that cannot be read, or one exec after the other, comes here.
        note = reason or "it became another program each time it was read"
        return Capture(ProcessInfo(identity_of(stat), stat.comm, ppid=stat.ppid), Status.VANISHED, note=note), stat

    @property
    def _most_to_repeat_us(self) -> int:
        """After so many µs of reading a table that is torn is not read again."""
        most = self.budget.max_read_us
        return _MOST_REPEATED_US if most is None else min(most // 2, _MOST_REPEATED_US)

    def _read_text(self, memory: str, known: KnownText | None) -> _Text:
        """smaps, or maps and what the kernel has counted if smaps is not within the budget."""
        if not self.budget.says_anything:
            text = read_table(f"{memory}/smaps")
            return _Text(text.data, text.read_us)
        counted = read_status(memory).memory
        if counted is None:
            return _Text(b"", None)
        maps: bytes | None = None
        if known is None or not known.mappings:
            maps = read_table(f"{memory}/maps").data
        mappings = known.mappings if maps is None and known is not None else (maps or b"").count(b"\n")
        reduced = refusal(self.budget, counted, None, mappings, known)
        if reduced is not None:
            # Not all of it can be in one mapping: that much the sizes tell, at a fraction of the price.
            maps = maps or read_table(f"{memory}/maps").data
            reduced = refusal(self.budget, counted, sizes_of_maps(maps), mappings, known)
        read_us = None
        if reduced is None:
            text = read_table(f"{memory}/smaps", *self.budget)
            read_us = text.read_us
            if text.given_up is None:
                return _Text(text.data, read_us)
            reduced = f"reading its smaps was given up: {text.given_up}"
        return _Text(maps or read_table(f"{memory}/maps").data, read_us, reduced, counted)

    def _parse(self, text: _Text, memory: str) -> MappingTable:
        if text.reduced is None:
            return MappingTable(self.parser.parse(text.data, f"{memory}/smaps"))
        return parse_live_maps(text.data, f"{memory}/maps")

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
    says more than there ever is, and a table that has the mapping twice would seem right. A process that lost its processor at
    that very place stays there; reading a piece of maps in between waits for the lock that it holds.
    """
    size = statm_size_kib(memory)
    read_piece(f"{memory}/maps")
    return min(size, statm_size_kib(memory))


def _is_last(mapping: Mapping) -> bool:
    """Whether a table may end here: with [vsyscall], or, where there is none (32-bit programs have none), with [stack]."""
    return mapping.name == VSYSCALL or (mapping.name == b"[stack]" and (mapping.end <= 1 << 32 or not has_vsyscall()))


def is_between_programs(table: MappingTable) -> bool:
    """Whether there is nothing that could run: an exec has made the new address space and not yet mapped the program."""
    return not any(mapping.perms[2] == "x" and not mapping.is_kernel for mapping in table.mappings)


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
