"""Which snapshots and processes are meant: what people call them, looked up in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Column, Select, func, or_, select
from sqlalchemy.engine import Connection

from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.model import ProcessIdentity, SnapshotRef
from pmapdiff.store.filter import EVERYTHING, ProcessFilter, hosts_words
from pmapdiff.store.load import snapshot_query, snapshot_ref
from pmapdiff.store.schema import WITH_TABLE, capture, host, process, snapshot, string
from pmapdiff.store.when import ById, ByRank, ByTime, parse_when
from pmapdiff.text import printable
from pmapdiff.units import format_moment_local


def find_hosts(connection: Connection, wanted: ProcessFilter) -> dict[int, str]:
    """The hosts that are looked at: their names by their ids. Raises NotFoundError for one that is not there."""
    known: dict[int, str] = {row.id: row.name for row in connection.execute(select(host.c.id, host.c.name))}
    chosen = wanted.choose_hosts(known.values())
    return {number: name for number, name in known.items() if name in chosen}


def host_names(connection: Connection, since_us: int | None, until_us: int | None) -> list[str]:
    """The hosts that have snapshots between two moments, in the order of their names: one look at an index each."""
    taken = between(select(snapshot.c.id).where(snapshot.c.host_id == host.c.id), since_us, until_us)
    return sorted(connection.execute(select(host.c.name).where(taken.exists())).scalars())


def resolve(connection: Connection, text: str, wanted: ProcessFilter) -> SnapshotRef:
    """The snapshot that a WHEN means. Raises NotFoundError with what there is instead, UsageError."""
    text, wanted = _on_host(connection, text, wanted)
    when = None if _may_be_of_host(text) else parse_when(text)
    if isinstance(when, ById):
        return _numbered(connection, when.id, wanted)
    newest = (snapshot.c.taken_at.desc(), snapshot.c.id.desc())
    query = _holding(connection, snapshot_query(), wanted)
    if when is None:
        query = query.where(snapshot.c.label == text).order_by(*newest)
        what = f"no label {printable(text)!r}, and it is no time either"
    elif isinstance(when, ByRank):
        if when.back is None:
            query = query.order_by(snapshot.c.taken_at, snapshot.c.id)
        else:
            query = query.order_by(*newest).offset(when.back)
        what = f"no snapshot {printable(text)!r}"
    else:
        query = query.where(snapshot.c.taken_at <= when.moment_us).order_by(*newest)
        what = f"no snapshot at or before {format_moment_local(when.moment_us)}"
    row = connection.execute(query.limit(1)).first()
    if row is None and _may_be_of_host(text):
        known = find_hosts(connection, EVERYTHING).values()
        raise NotFoundError(f"there is no label '{printable(text)}', and no host '{printable(text.partition('@')[0])}': {hosts_words(known)}")
    if row is None:
        holding = "" if wanted.everything else f" of {wanted.describe()}"
        raise NotFoundError(f"there is {what}{holding}: {_what_there_is(connection, wanted)}")
    return snapshot_ref(row)


def demand_one_host(connection: Connection, named: Mapping[str, SnapshotRef], wanted: ProcessFilter) -> None:
    """Raise UsageError if snapshots that are set against each other were named by WHENs that could be of several hosts.

    A number, a label and HOST@WHEN say which host is meant. Of a rank or a time that could be any host's that is for nobody to guess.
    """
    vague = [text for text in named if _is_vague(connection, text, wanted)]
    if not vague:
        return
    hosts = recorded_hosts(connection, wanted)
    hosts |= {named[text].host for text in vague if named[text].known_host is not None}
    if len(hosts) > 1:
        raise UsageError(f"'{printable(vague[0])}' could be of {which_of(hosts)}")


def moment_of(connection: Connection, text: str, wanted: ProcessFilter) -> int:
    """The moment that a WHEN means, in µs since the epoch. Raises NotFoundError, UsageError."""
    rest, chosen = _on_host(connection, text, wanted)
    when = None if _may_be_of_host(rest) else parse_when(rest)
    if isinstance(when, ByTime):
        return when.moment_us
    if isinstance(when, ByRank) and when.back and len(hosts := recorded_hosts(connection, chosen)) > 1:
        raise UsageError(f"'{printable(text)}' counts the snapshots of {which_of(hosts)}")
    return resolve(connection, rest, chosen).taken_at_us


def which_of(hosts: Collection[str]) -> str:
    """What to do where several hosts could be meant."""
    return f"{len(hosts):,} hosts: say which with --host NAME, or with HOST@WHEN for each WHEN (`pmapdiff hosts` lists them)"


def recorded_hosts(connection: Connection, wanted: ProcessFilter) -> set[str]:
    """The hosts of which there are recorded snapshots, and processes that are wanted: among those a rank or a time chooses."""
    chosen = find_hosts(connection, wanted)
    if len(chosen) < 2:
        return set(chosen.values())
    recorded = select(snapshot.c.id).where(snapshot.c.host_id == host.c.id, snapshot.c.source == "live").exists()
    query = select(host.c.id).where(recorded)
    if not wanted.every_process:
        running = select(process.c.host_id).where(process.c.id.in_(process_ids(connection, wanted)))
        query = query.where(host.c.id.in_(running))
    return {chosen[number] for number in connection.execute(query).scalars() if number in chosen}


def _on_host(connection: Connection, text: str, wanted: ProcessFilter) -> tuple[str, ProcessFilter]:
    """What stands behind the @ of HOST@WHEN, and the same processes of that host; what names no host that there is stays as it is."""
    name, at, rest = text.strip().partition("@")
    if not at or connection.execute(select(host.c.id).where(host.c.name == name)).first() is None:
        return text, wanted
    if not rest.strip():
        raise UsageError(f"'{printable(text)}' does not say when: write {printable(name)}@latest")
    if wanted.hosts and name not in find_hosts(connection, wanted).values():
        raise UsageError(f"'{printable(text)}' is not of {wanted.of_hosts.describe()}: give one of them")
    return rest, replace(wanted, hosts=frozenset([name]))


def _may_be_of_host(text: str) -> bool:
    """Whether it is written as HOST@WHEN, which no time, number or keyword is; that of a host that is not there may be a label."""
    return "@" in text


def _is_vague(connection: Connection, text: str, wanted: ProcessFilter) -> bool:
    """Whether a WHEN is a rank or a time, which says nothing of the host."""
    rest, chosen = _on_host(connection, text, wanted)
    return chosen == wanted and not _may_be_of_host(rest) and isinstance(parse_when(rest), ByRank | ByTime)


def _numbered(connection: Connection, number: int, wanted: ProcessFilter) -> SnapshotRef:
    """The snapshot of this number, which is one of the whole store's."""
    row = connection.execute(snapshot_query().where(snapshot.c.id == number)).first()
    if row is None:
        raise NotFoundError(f"there is no snapshot {number}: {_what_there_is(connection, wanted)}")
    found = snapshot_ref(row)
    if wanted.hosts and found.host not in find_hosts(connection, wanted).values():
        raise NotFoundError(f"snapshot {number} is of host {printable(found.host)}, not of {printable(', '.join(sorted(wanted.hosts)))}")
    return found


def find_refs(connection: Connection, since_us: int | None, until_us: int | None, wanted: ProcessFilter) -> list[SnapshotRef]:
    """The snapshots between two moments (µs since the epoch, both included) that hold a wanted process, the oldest first."""
    query = between(snapshot_query().order_by(snapshot.c.taken_at, snapshot.c.id), since_us, until_us)
    query = of_hosts(connection, query, wanted)
    if not wanted.every_process:
        query = query.where(snapshot.c.id.in_(_captures(connection, wanted)))
    return [snapshot_ref(row) for row in connection.execute(query)]


def has_process(connection: Connection, wanted: ProcessFilter) -> bool:
    """Whether any snapshot holds a wanted process."""
    return connection.execute(_captures(connection, wanted).limit(1)).first() is not None


def last_seen(connection: Connection, wanted: ProcessFilter) -> dict[ProcessIdentity, int]:
    """When each process was captured for the last time, in µs since the epoch."""
    identity = (process.c.boot_id, process.c.pid, process.c.start_ticks, process.c.exec_key)
    query = (
        select(*identity, func.max(snapshot.c.taken_at))
        .join_from(process, capture, capture.c.process_id == process.c.id)
        .join(snapshot, snapshot.c.id == capture.c.snapshot_id)
        .group_by(process.c.id, *identity)
    )
    if not wanted.everything:
        query = of_hosts(connection, query.where(process.c.id.in_(process_ids(connection, wanted))), wanted)
    return {ProcessIdentity(*fields): int(taken_at) for *fields, taken_at in connection.execute(query)}


def process_ids(connection: Connection, wanted: ProcessFilter) -> Select[Any]:
    """A query for the ids of the wanted processes.

    A name is looked for in the distinct names, of which there are few, not in the processes, of which months have many.
    """
    query = select(process.c.id)
    if wanted.hosts:
        query = query.where(process.c.host_id.in_(find_hosts(connection, wanted)))
    if wanted.pids:
        query = query.where(process.c.pid.in_(wanted.pids))
    if wanted.name is not None:
        comms = _strings(connection, process.c.comm_id, wanted.finds_comm)
        exes = _strings(connection, process.c.exe_id, wanted.finds_exe)
        query = query.where(or_(process.c.comm_id.in_(comms), process.c.exe_id.in_(exes)))
    return query


def between(query: Select[Any], since_us: int | None, until_us: int | None) -> Select[Any]:
    """A query for snapshots, of those between two moments alone."""
    if since_us is not None:
        query = query.where(snapshot.c.taken_at >= since_us)
    return query if until_us is None else query.where(snapshot.c.taken_at <= until_us)


def of_hosts(connection: Connection, query: Select[Any], wanted: ProcessFilter) -> Select[Any]:
    """A query for snapshots, of those of the wanted hosts alone."""
    return query.where(snapshot.c.host_id.in_(find_hosts(connection, wanted))) if wanted.hosts else query


def _holding(connection: Connection, query: Select[Any], wanted: ProcessFilter) -> Select[Any]:
    query = of_hosts(connection, query, wanted)
    if wanted.every_process:
        return query
    return query.where(snapshot.c.id.in_(_captures(connection, wanted).where(capture.c.status.in_(WITH_TABLE))))


def _captures(connection: Connection, wanted: ProcessFilter) -> Select[Any]:
    """A query for the captures of the wanted processes: the numbers of their snapshots.

    Captures are found by their snapshots, not by their processes: of one host among hundreds, by the snapshots of that host.
    """
    query = select(capture.c.snapshot_id).where(capture.c.process_id.in_(process_ids(connection, wanted)))
    if not wanted.hosts:
        return query
    ours = select(snapshot.c.id).where(snapshot.c.host_id.in_(find_hosts(connection, wanted)))
    return query.where(capture.c.snapshot_id.in_(ours))


def _strings(connection: Connection, column: Column[Any], accepts: Callable[[bytes], bool]) -> list[int]:
    """The ids of the strings that this column of `process` refers to and that are accepted."""
    rows = connection.execute(select(string.c.id, string.c.raw).where(string.c.id.in_(select(column).distinct())))
    return [number for number, raw in rows if accepts(bytes(raw))]


def _what_there_is(connection: Connection, wanted: ProcessFilter) -> str:
    query = of_hosts(connection, snapshot_query(), wanted)
    ends = [connection.execute(query.order_by(order).limit(1)).first() for order in (snapshot.c.taken_at, snapshot.c.taken_at.desc())]
    if ends[0] is None or ends[1] is None:
        if wanted.hosts:
            return f"there is no snapshot of {wanted.of_hosts.describe()} any more; see `pmapdiff hosts`"
        return "the store is empty: make a snapshot with `pmapdiff record`"
    first, last = (f"#{row.id} of {format_moment_local(row.taken_at)}" for row in ends if row is not None)
    span = f"only {first}" if first == last else f"snapshots from {first} to {last}"
    where = " of these hosts" if wanted.hosts else ""
    return f"the store has {span}{where}; see `pmapdiff snapshots`"
