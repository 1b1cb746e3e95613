"""Hosts that are made of one that was really recorded: other names, clocks, pids and addresses, the same life."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from pmapdiff.formats.smaps import render_smaps
from pmapdiff.model import Capture, Mapping, MappingTable, Origin, ProcessIdentity, Snapshot
from pmapdiff.store import Store
from pmapdiff.text import digest_of

SAMPLE = Path(__file__).resolve().parent.parent / "sample_snapshots" / "orders.db"
_MINUTE_US = 60_000_000
# Where the kernel puts [vsyscall]; nothing of a program is there.
_HIGH = 1 << 47


@cache
def recorded(number: int = 62) -> tuple[Snapshot, ...]:
    """The first snapshots of a host on which a service leaks."""
    store = Store.open(str(SAMPLE))
    return tuple(store.load_all(store.refs()[:number]))


def hosts_like(snapshots: Sequence[Snapshot], number: int) -> Iterator[tuple[str, list[Snapshot]]]:
    """So many hosts that lived like this one, by name; none of their clocks is right."""
    for host in range(1, number + 1):
        yield f"web{host}", as_host(snapshots, host)


def as_host(snapshots: Iterable[Snapshot], host: int) -> list[Snapshot]:
    """The host of this number."""
    shift = host * 0x10000
    ahead_us = (host * 37 % 120 - 60) * _MINUTE_US // 7
    tables: dict[int, tuple[MappingTable, bytes]] = {}
    moved: dict[int, Mapping] = {}
    found = []
    for snapshot in snapshots:
        captures = []
        for capture in snapshot.captures:
            table, digest = capture.table, capture.digest
            if table is not None:
                if id(table) not in tables:
                    mappings = tuple(moved.setdefault(id(known), _moved(known, shift)) for known in table.mappings)
                    tables[id(table)] = MappingTable(mappings), digest_of(render_smaps(mappings))
                table, digest = tables[id(table)][0], None if digest is None else tables[id(table)][1]
            captures.append(_as_of(capture, host, ahead_us)._replace(table=table, digest=digest))
        ref = snapshot.ref._replace(id=None, host=f"web{host}", taken_at_us=snapshot.ref.taken_at_us + ahead_us, origin=None)
        found.append(Snapshot(ref, tuple(captures)))
    return found


def _moved(known: Mapping, shift: int) -> Mapping:
    return known if known.start >= _HIGH else known._replace(start=known.start + shift, end=known.end + shift)


def _as_of(capture: Capture, host: int, ahead_us: int) -> Capture:
    info = capture.process
    boot, pid, ticks, key = info.identity
    started = None if info.started_at_us is None else info.started_at_us + ahead_us
    return capture._replace(process=info._replace(identity=ProcessIdentity(f"{boot}-{host}", pid + host, ticks + host, key), started_at_us=started))


def told(store: Store, host: str | None = None) -> dict[tuple[str, Origin, int], tuple[object, ...]]:
    """All that a store says of its snapshots, or of one host's, by what each is known by."""
    refs = [ref for ref in store.refs() if host is None or ref.host == host]
    found: dict[tuple[str, Origin, int], tuple[object, ...]] = {}
    for snapshot in store.walk(refs):
        ref = snapshot.ref
        assert ref.origin is not None
        key = (ref.host, ref.origin, ref.taken_at_us)
        assert key not in found, "a snapshot is there twice"
        # In which order the captures of a snapshot come is no part of what was recorded.
        captures = sorted(snapshot.captures, key=lambda known: known.process.identity)
        found[key] = (ref._replace(id=None), tuple(captures))
    return found
