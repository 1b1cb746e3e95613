"""Which process is which."""

from __future__ import annotations

from typing import Any

import pytest
from strategies import PAGE, file, in_form, make

from pmapdiff.align import Match, looks_same, pair_processes
from pmapdiff.model import Mapping, ProcessIdentity, ProcessInfo


def process(
    pid: int,
    start: int = 1,
    key: str = "k",
    boot: str = "b",
    exe: bytes = b"/bin/x",
    command: bytes = b"x\0",
    unit: str | None = None,
    cgroup: bytes | None = None,
    ppid: int | None = None,
) -> ProcessInfo:
    return ProcessInfo(ProcessIdentity(boot, pid, start, key), exe.rsplit(b"/", 1)[-1], command, exe, unit=unit, cgroup=cgroup, ppid=ppid)


def restarted(before: list[ProcessInfo], after: list[ProcessInfo]) -> set[tuple[int, int]]:
    """The pids of those that are called restarted."""
    found = pair_processes(before, after)
    back = pair_processes(after, before)
    assert {(j, i) for i, j, match in found if match is Match.RESTARTED} == {(i, j) for i, j, match in back if match is Match.RESTARTED}
    return {(before[i].pid, after[j].pid) for i, j, match in found if match is Match.RESTARTED and i is not None and j is not None}


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


def test_workers_follow_their_parents() -> None:
    """Two instances of one program with equal command lines: the workers of each stay with it, whatever started first."""
    before = [process(10, 1, command=b"m\0a\0"), process(20, 2, command=b"m\0b\0")]
    before += [process(11, 5, ppid=20), process(12, 6, ppid=10), process(13, 7, ppid=20)]
    after = [process(110, 101, command=b"m\0a\0"), process(120, 102, command=b"m\0b\0")]
    after += [process(111, 105, ppid=110), process(112, 106, ppid=120), process(113, 107, ppid=120)]
    assert restarted(before, after) == {(10, 110), (20, 120), (12, 111), (11, 112), (13, 113)}


def test_a_worker_that_its_parent_replaced() -> None:
    before = [process(10, 1, command=b"m\0"), process(11, 2, ppid=10), process(12, 3, ppid=10)]
    after = [process(10, 1, command=b"m\0"), process(12, 3, ppid=10), process(15, 9, ppid=10)]
    assert restarted(before, after) == {(11, 15)}


def test_titles_tell_workers_apart() -> None:
    """PostgreSQL: each process says what it does; a backend by user and database, not by its client's port."""

    def backend(pid: int, title: bytes, start: int = 1) -> ProcessInfo:
        return process(pid, start, exe=b"/usr/lib/postgresql/15/bin/postgres", command=title + b"\0\0\0")

    before = [
        backend(1, b"postgres: checkpointer "),
        backend(2, b"postgres: alice shop 10.0.0.7(51122) idle"),
        backend(3, b"postgres: bob crm [local] idle"),
    ]
    after = [backend(11, b"postgres: bob crm [local] SELECT"), backend(12, b"postgres: alice shop 10.0.0.9(40001) idle in transaction")]
    assert restarted(before, after) == {(2, 12), (3, 11)}


def test_containers_and_sessions_have_numbers_of_their_own() -> None:
    one, other = b"/system.slice/docker-" + b"a1" * 32 + b".scope", b"/system.slice/docker-" + b"b2" * 32 + b".scope"
    assert restarted([process(1, cgroup=one)], [process(2, 9, cgroup=other)]) == {(1, 2)}
    pods = [
        b"/kubepods/burstable/pod%s/%s" % (uid, b"0f" * 32)
        for uid in (b"3f2c7a10-6f0e-4a7b-9f1f-0123456789ab", b"99887766-5544-3322-1100-aabbccddeeff")
    ]
    assert restarted([process(1, cgroup=pods[0])], [process(2, 9, cgroup=pods[1])]) == {(1, 2)}
    assert restarted([process(1, unit="session-3.scope")], [process(2, 9, unit="session-14.scope")]) == {(1, 2)}
    assert restarted([process(1, unit="redis@6379.service")], [process(2, 9, unit="redis@6380.service")]) == set()
    assert restarted([process(1, cgroup=b"/web")], [process(2, 9, cgroup=b"/batch")]) == set()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"java\0-Xmx1g\0-jar\0/opt/a.jar\0", b"java\0-Xmx2g\0-jar\0/opt/a.jar\0-v\0", True),
        (b"java\0-jar\0/opt/a.jar\0", b"java\0-jar\0/opt/b.jar\0", False),
        (b"java\0-cp\0x.jar\0org.A\0", b"java\0-Xss1m\0-cp\0y.jar\0org.A\0", True),
        (b"java\0-cp\0x.jar\0org.A\0", b"java\0-cp\0x.jar\0org.B\0", False),
        (b"java\0-jar\0/opt/a-1.9.jar\0", b"java\0-jar\0/opt/a-1.10.jar\0", True),
    ],
)
def test_which_program_java_runs(one: bytes, other: bytes, same: bool) -> None:
    found = restarted([process(1, exe=b"/usr/bin/java", command=one)], [process(2, 9, exe=b"/usr/bin/java", command=other)])
    assert found == ({(1, 2)} if same else set())


def test_an_upgraded_interpreter_and_program() -> None:
    old = process(1, exe=b"/usr/bin/python3.11", command=b"python3.11\0/srv/app-1.9/main.py\0")
    new = process(2, 9, exe=b"/usr/bin/python3.12", command=b"python3.12\0/srv/app-1.10/main.py\0--new\0")
    assert restarted([old], [new]) == {(1, 2)}
    assert restarted([old], [process(3, 9, exe=b"/usr/bin/python3.12", command=b"python3.12\0/srv/other/main.py\0")]) == set()


def test_renderers_of_a_browser() -> None:
    before = [process(n, n, exe=b"/opt/b", command=b"b\0--type=%s\0--id=%d\0" % (kind, n)) for n, kind in ((1, b"gpu"), (2, b"renderer"))]
    after = [process(n, n, exe=b"/opt/b", command=b"b\0--type=%s\0--id=%d\0" % (kind, n)) for n, kind in ((11, b"renderer"), (12, b"gpu"))]
    assert restarted(before, after) == {(1, 12), (2, 11)}


def test_a_thousand_workers_are_not_a_million_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the new ones ran already when the old ones did, and none of these is looked at for each of those."""
    calls = 0
    looked_at = ProcessInfo.had_started_by

    def counted(self: ProcessInfo, moment_us: int) -> bool:
        nonlocal calls
        calls += 1
        return looked_at(self, moment_us)

    monkeypatch.setattr(ProcessInfo, "had_started_by", counted)
    before, after = ([process(p + n, p + n)._replace(started_at_us=n * 10**7) for n in range(1000)] for p in (2, 10**5))
    found = pair_processes(before, after, [900 * 10**7] * 1000)
    assert sum(match is Match.RESTARTED for _, _, match in found) == 100
    assert calls < 200_000, "all pairs would be some millions"


def test_children_of_children_are_paired_without_looking_at_all_again() -> None:
    """A chain of processes, each the child of the one before."""
    looked_at = 0
    ppid: Any = ProcessInfo.ppid

    class Counted(ProcessInfo):
        @property
        def ppid(self) -> int | None:
            nonlocal looked_at
            looked_at += 1
            found: int | None = ppid.__get__(self)
            return found

    before, after = ([Counted(*process(p + n, p + n, ppid=p + n - 1)) for n in range(300)] for p in (2, 10**5))
    found = pair_processes(before, after)
    assert sorted(found) == [(n, n, Match.RESTARTED) for n in range(300)]
    assert looked_at < 300 * 2 * 20


def test_what_ran_when_the_other_did_is_no_restart_of_it() -> None:
    """The oldest that started later is."""
    before = [process(1, 1), process(2, 2)]
    after = [process(n, n)._replace(started_at_us=n * 10**7) for n in (11, 12, 13, 14)]
    found = {(i, j) for i, j, match in pair_processes(before, after, [12 * 10**7 + 5 * 10**6, 0]) if match is Match.RESTARTED}
    assert found == {(0, 2), (1, 0)}


SESSION, CRON, DOCKER = "session-3.scope", "cron.service", f"docker-{'0a' * 32}.scope"


@pytest.mark.parametrize(
    ("exe", "one", "other"),
    [
        (b"/usr/bin/python3.11", b"python3\0a.py\0", b"python3\0b.py\0"),
        (b"/usr/bin/dash", b"/bin/sh\0-c\0/opt/a\0", b"/bin/sh\0-c\0/opt/b\0"),
        (b"/usr/bin/php8.2", b"php\0-c\0/etc/php.ini\0a.php\0", b"php\0-c\0/etc/php.ini\0b.php\0"),
        (b"/usr/bin/ruby3.1", b"ruby\0-I\0lib\0a.rb\0", b"ruby\0-I\0lib\0b.rb\0"),
        (b"/usr/bin/java", b"java\0--add-opens\0java.base/x=ALL\0org.A\0", b"java\0--add-opens\0java.base/x=ALL\0org.B\0"),
    ],
)
@pytest.mark.parametrize("unit", [SESSION, CRON, DOCKER, None])
def test_another_script_is_another_service(exe: bytes, one: bytes, other: bytes, unit: str | None) -> None:
    """Also under one unit: what cron, a login session or a container starts is something else each time."""
    here = process(1, exe=exe, command=one, unit=unit, ppid=50)
    assert restarted([here], [process(2, 9, exe=exe, command=other, unit=unit, ppid=50)]) == set()
    assert restarted([here], [process(2, 9, exe=exe, command=one + b"--more\0", unit=unit, ppid=50)]) == {(1, 2)}


def test_a_script_that_gives_the_process_its_name() -> None:
    """Of a file that begins with #! the name is that of the file."""
    one, other = (process(n, n, exe=b"/usr/bin/python3.11", command=b"python3\0/bin/%s\0" % name) for n, name in ((1, b"celery"), (2, b"gunicorn")))
    assert restarted([one._replace(comm=b"celery")], [other._replace(comm=b"gunicorn")]) == set()


def test_the_main_process_of_a_unit_is_what_the_unit_says() -> None:
    old = process(1, exe=b"/usr/bin/python3.11", command=b"python3\0/srv/run.py\0", unit="app.service", ppid=1)
    assert restarted([old], [process(2, 9, exe=b"/usr/bin/python3.11", command=b"python3\0-m\0app\0", unit="app.service", ppid=1)]) == {(1, 2)}
