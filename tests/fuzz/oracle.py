"""What must hold of every importer, whatever the bytes: the oracle of `make fuzz`, and of the test that repeats what it found.

An input is one byte of options and the bytes of a file. A target is `file` (what `import` does with a file whose form it has to find out),
`store` (the same, and stored and loaded again), or a form's name (what it does with --format).
"""

from __future__ import annotations

import atexit
import json
import shutil
from functools import cache
from io import BytesIO, StringIO
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Parse, SavedTable, all_forms, parse_file
from pmapdiff.formats.combine import combine
from pmapdiff.formats.saved import moments_of
from pmapdiff.formats.unpack import unpack
from pmapdiff.model import Mapping, Snapshot, SnapshotRef, Totals
from pmapdiff.model.mapping import ADDRESS_LIMIT
from pmapdiff.report import View, write_report
from pmapdiff.store import Store
from pmapdiff.text import printable

FILE, STORE = "file", "store"
SOURCE = "input"
# The options: whether a part of a table is wanted, and whether what was read is also shown, or the store looked through. That takes ten times as
# long, so it is one byte of 16.
PARTIAL, THOROUGH, _THOROUGH_MASK = 0x01, 0x50, 0xF0
# Longer than a message that quotes 60 bytes and the names of all forms, and short enough to be read.
_LONGEST_MESSAGE = 500
_NO_TIME_US = 1_763_000_000_000_000
_INTEGER_LIMIT = 1 << 63


def targets() -> list[str]:
    """Every target: those without a form first."""
    return [FILE, STORE, *all_forms()]


def check(target: str, data: bytes) -> bool:
    """Read an input as a target does, and check all that comes of it; whether a table did. Raises AssertionError, or what the code raises."""
    if not data:
        return False
    options, content = data[0], data[1:]
    try:
        stream = unpack(BytesIO(content), SOURCE, partial=bool(options & PARTIAL)) if target in (FILE, STORE) else BytesIO(content)
        tables = parse_file(Parse(stream, SOURCE, None if target in (FILE, STORE) else target, bool(options & PARTIAL)))
    except FormatError as error:
        _check_message(error)
        return False
    assert tables, "neither a table nor an error"
    for saved in tables:
        _check_table(saved, partial=bool(options & PARTIAL))
    snapshots = _snapshots(combine(tables))
    thoroughly = options & _THOROUGH_MASK == THOROUGH
    if target == STORE:
        _check_stored(snapshots, thoroughly=thoroughly)
    elif thoroughly:
        for snapshot in snapshots:
            _check_reports(snapshot)
    return True


def _check_message(error: FormatError) -> None:
    message = str(error)
    assert message.startswith(SOURCE), message
    assert message == printable(message), f"not harmless: {message!r}"
    assert len(message) < _LONGEST_MESSAGE, f"too long: {message}"
    assert error.line is None or error.line >= 1, message


def _check_table(saved: SavedTable, *, partial: bool) -> None:
    assert saved.source == SOURCE
    mappings = saved.table.mappings
    for mapping in mappings:
        _check_mapping(mapping)
    for one, other in pairwise(mappings):
        assert one.start <= other.start, f"out of order: {one} {other}"
        assert one.is_sum == other.is_sum, f"a sum among mappings: {one} {other}"
    for value in (saved.pid, saved.ppid, saved.uid, saved.threads, saved.vm_hwm_kib, saved.taken_at_us):
        assert value is None or 0 <= value < _INTEGER_LIMIT, saved
    for text in (saved.command, saved.comm, saved.exe, saved.cgroup):
        assert text is None or type(text) is bytes
    for words in (saved.unit, saved.host):
        assert words is None or type(words) is str
    for warning in saved.warnings:
        assert warning, "a warning without words"
    assert saved.partial is None or saved.partial
    _check_totals(saved.table.totals, len(mappings))
    if saved.totals is not None:
        _check_totals(saved.totals, len(mappings))
    assert saved.partial is None or partial or saved.warnings, "a part of a table that nobody wanted, and not a word"


def _check_mapping(mapping: Mapping) -> None:
    assert 0 <= mapping.start <= mapping.end <= ADDRESS_LIMIT, mapping
    assert mapping.start < mapping.end or mapping.is_sum, mapping
    assert len(mapping.perms) == 4, mapping
    assert type(mapping.name) is bytes
    assert b"\n" not in mapping.name, mapping
    assert mapping.flags is None or b"\n" not in mapping.flags, mapping
    assert mapping.offset is None or 0 <= mapping.offset < ADDRESS_LIMIT, mapping
    assert mapping.inode is None or 0 <= mapping.inode < ADDRESS_LIMIT, mapping
    for value in mapping.counters:
        assert value is None or (type(value) is int and value >= 0), mapping


def _check_totals(totals: Totals, mappings: int) -> None:
    assert totals.mappings == mappings
    assert all(value is None or 0 <= value < _INTEGER_LIMIT for value in totals.figures), totals


def _snapshots(tables: list[SavedTable]) -> list[Snapshot]:
    moments = moments_of(tables)
    assert sum(len(moment.captures) for moment in moments) == len(tables)
    return [Snapshot(SnapshotRef(None, moment.taken_at_us or _NO_TIME_US, moment.host or "imported"), moment.captures) for moment in moments]


def _check_reports(snapshot: Snapshot) -> None:
    for form in ("text", "json"):
        for by in ("mapping", "family"):
            out = StringIO()
            write_report("show", form, snapshot, View(by=by, width=None, explain=True, top=0), out)
            for line in out.getvalue().split("\n"):
                assert line == printable(line), f"{form} by {by} is not harmless: {line!r}"
            if form == "json":
                json.loads(out.getvalue())


@cache
def _store() -> tuple[Store, bytes]:
    """A store, and its file while it was empty: to make one, and to compile its statements, takes longer than all the rest."""
    path = Path(mkdtemp(prefix="pmapdiff-fuzz-"), "store.db")
    atexit.register(shutil.rmtree, path.parent)
    store = Store.open(str(path), write=True)
    store.engine.dispose()
    return store, path.read_bytes()


def _check_stored(snapshots: list[Snapshot], *, thoroughly: bool) -> None:
    """Whether the store takes what was read, and gives back the same."""
    store, empty = _store()
    Path(store.location).write_bytes(empty)
    try:
        loaded = [store.load(ref) for ref in store.write_all(snapshots)]
        problems = store.check() if thoroughly else []
    finally:
        store.engine.dispose()
    assert not problems, problems
    for before, after in zip(snapshots, loaded, strict=True):
        assert before.ref._replace(id=after.ref.id, origin=after.ref.origin) == after.ref
        given = {capture.process.identity: capture for capture in before.captures}
        found = {capture.process.identity: capture for capture in after.captures}
        assert given.keys() == found.keys()
        for identity, capture in given.items():
            there = found[identity]
            assert capture.process == there.process
            assert (capture.status, capture.table, capture.note, capture.threads, capture.vm_hwm_kib) == (
                there.status,
                there.table,
                there.note,
                there.threads,
                there.vm_hwm_kib,
            )
            assert capture.sums == there.sums
