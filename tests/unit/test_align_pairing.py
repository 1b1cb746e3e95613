"""Which process is which."""

from __future__ import annotations

import pytest
from strategies import PAGE, file, in_form, make

from pmapdiff.align import Match, looks_same, pair_processes
from pmapdiff.model import Mapping, ProcessIdentity, ProcessInfo


def process(
    pid: int, start: int = 1, key: str = "k", boot: str = "b", exe: bytes = b"/bin/x", command: bytes = b"x\0", unit: str | None = None
) -> ProcessInfo:
    return ProcessInfo(ProcessIdentity(boot, pid, start, key), exe.rsplit(b"/", 1)[-1], command, exe, unit=unit)


def test_the_same_process() -> None:
    before, after = [process(1), process(2)], [process(2), process(1)]
    assert sorted(pair_processes(before, after), key=str) == [(0, 1, Match.SAME), (1, 0, Match.SAME)]


def test_exec_keeps_pid_and_start() -> None:
    assert pair_processes([process(1)], [process(1, key="other", exe=b"/bin/y")]) == [(0, 0, Match.EXEC)]


def test_a_reused_pid_is_another_process() -> None:
    found = pair_processes([process(1, exe=b"/bin/a")], [process(1, start=9, exe=b"/bin/b")])
    assert found == [(0, None, Match.GONE), (None, 0, Match.NEW)]


@pytest.mark.parametrize("changes", [{"boot": "after reboot"}, {"start": 50}, {"pid": 99, "start": 50}, {"exe": b"/bin/x (deleted)", "pid": 5}])
def test_a_restarted_service(changes: dict[str, object]) -> None:
    fields: dict[str, object] = {"pid": 1, "key": "new", **changes}
    assert pair_processes([process(1)], [process(**fields)]) == [(0, 0, Match.RESTARTED)]  # type: ignore[arg-type]


def test_the_same_command_line_goes_first() -> None:
    before = [process(1, command=b"x\0-a\0"), process(2, command=b"x\0-b\0")]
    after = [process(11, start=5, command=b"x\0-b\0"), process(12, start=5, command=b"x\0-c\0")]
    assert sorted(pair_processes(before, after), key=str) == [(0, 1, Match.RESTARTED), (1, 0, Match.RESTARTED)]


def test_another_unit_is_another_service() -> None:
    found = pair_processes([process(1, unit="a.service")], [process(2, start=5, unit="b.service")])
    assert [match for _, _, match in found] == [Match.GONE, Match.NEW]


def test_workers_pair_in_the_order_of_their_start() -> None:
    before = [process(30, 3), process(10, 1), process(20, 2)]
    after = [process(200, 20), process(100, 10)]
    assert sorted(pair_processes(before, after), key=str) == [(0, None, Match.GONE), (1, 1, Match.RESTARTED), (2, 0, Match.RESTARTED)]


def test_what_stayed_is_not_taken_for_a_restart() -> None:
    """One of two workers was restarted."""
    before, after = [process(1, 1), process(2, 2)], [process(2, 2), process(3, 9)]
    assert sorted(pair_processes(before, after), key=str) == [(0, 1, Match.RESTARTED), (1, 0, Match.SAME)]


def test_nothing_at_all() -> None:
    assert pair_processes([], []) == []


A = 0x7F0000000000


def table(shift: int) -> list[Mapping]:
    return [
        file(A + shift, A + shift + PAGE, "r-xp", 0, b"/bin/x"),
        file(A + shift + 9 * PAGE, A + shift + 10 * PAGE, "r-xp", 0, b"/lib/libc.so.6", 5),
        make(A + shift + 20 * PAGE, A + shift + 30 * PAGE, name=b"[stack]"),
        make(A + shift + 40 * PAGE, A + shift + 42 * PAGE, "r-xp", b"[vdso]"),
    ]


def test_tables_without_identity() -> None:
    assert looks_same(table(0), table(0))
    assert not looks_same(table(0), table(1 << 30))
    grown = [m._replace(start=m.start - PAGE) if m.name == b"[stack]" else m for m in table(0)]
    assert looks_same(table(0), [*grown, file(A + (1 << 40), A + (1 << 40) + PAGE, "r--p", 0, b"/new")])
    assert looks_same(table(0), list(in_form(table(0), "pmap-x")))
    assert not looks_same(table(0), list(in_form(table(1 << 30), "pmap-x")))
    assert looks_same([], table(0))
    assert looks_same([make(A, A + PAGE)], [make(A + PAGE, A + 3 * PAGE)])
