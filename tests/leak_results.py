"""Results of `leaks` made by hand: what reports are tested with, whatever judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pmapdiff.analyse.result import End, Figure, Finding, Leaks, Sibling, Suspect, TimeToLimit, Trend, Verdict
from pmapdiff.model import ProcessIdentity, ProcessInfo

MIB, GIB = 1024, 1024 * 1024
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
# 2026-11-22 10:00:00 UTC, and a day and an hour later.
SINCE_US = 1_795_341_600_000_000
UNTIL_US = SINCE_US + 25 * HOUR_US
ONSET_US = SINCE_US + 4 * HOUR_US
# Whatever drives a terminal, a spreadsheet, Markdown or a line of Nagios, in one name.
HOSTILE = b'=a|b\x1b[31m\n\'`<i>`*x* @all, "q" ;rm $(x) \xff \xe2\x80\xae'


def process(name: bytes = b"worker", pid: int = 1100, unit: str | None = None) -> ProcessInfo:
    identity = ProcessIdentity("boot", pid, pid, "key")
    return ProcessInfo(identity, name, b"/usr/bin/" + name + b"\0--queue\0mail\0", b"/usr/bin/" + name, 1, 1000, unit=unit, started_at_us=SINCE_US)


def moments(number: int = 300) -> tuple[int, ...]:
    """So many moments, evenly from the first to the last."""
    return tuple(SINCE_US + (UNTIL_US - SINCE_US) * n // max(number - 1, 1) for n in range(number))


def rising(number: int = 300, first: int = 210 * MIB, last: int = 1434 * MIB) -> tuple[int, ...]:
    """Flat until the onset, then up."""
    flat = number * 4 // 25
    return tuple(first if n < flat else first + (last - first) * (n - flat) // max(number - 1 - flat, 1) for n in range(number))


def trend(verdict: Verdict = Verdict.GROWING, slope: float = 12.0 * MIB, delta: float = 1224.0 * MIB, onset_us: int | None = ONSET_US) -> Trend:
    return Trend(verdict, slope, slope * 0.93, slope * 1.07, delta, onset_us)


def heap(rank: int = 1) -> Finding:
    return Finding(
        rank,
        "heap",
        "[heap]",
        Figure.FOOTPRINT,
        trend(slope=57.0 * MIB, delta=1138.0 * MIB),
        0.93,
        (
            TimeToLimit("cgroup limit", 2 * GIB, 1434 * MIB, 10.1, 11.6),
            TimeToLimit("MemTotal", 64 * GIB, 31 * GIB, 540.0, 630.0),
        ),
        ("[heap] grows at its end, in 281 of 299 steps", "Threads stable at 8; no new arena"),
        "consistent with a leak through brk; `heaptrack --pid 1100` names the code that allocates, "
        "`gdb -p 1100 -ex 'call malloc_trim(0)'` tells a leak from memory that malloc keeps",
        ("55d0c0000000@1",),
        urgent=True,
    )


def mapping_count(rank: int = 2, number: float = 412.0) -> Finding:
    return Finding(
        rank,
        "mapping-count",
        "the number of mappings",
        Figure.MAPPINGS,
        trend(slope=number, delta=number * 21),
        None,
        (TimeToLimit("vm.max_map_count", 65_530, 9_120, 128.0, None),),
        ("8,652 new rw-p mappings of 4 KiB; their Rss is 33.8 MiB",),
        "find who calls mmap: `bpftrace -e 'tracepoint:syscalls:sys_enter_mmap /pid == 1100/ { @[ustack] = count(); }'`",
        ("7f1200000000@3", "7f1200002000@3", "7f1200004000@4", "7f1200006000@5"),
    )


def suspect(
    name: bytes = b"worker",
    pid: int = 1100,
    verdict: Verdict = Verdict.GROWING,
    findings: Sequence[Finding] = (),
    series: Sequence[int | None] | None = None,
    host: str = "web1",
    **more: object,
) -> Suspect:
    """A service; `more` are the other fields of Suspect."""
    values = tuple(rising() if series is None else series)
    quiet = verdict in (Verdict.STABLE, Verdict.TOO_SHORT)
    whole = Trend(verdict) if quiet else trend(verdict, 61.0 * MIB, 1224.0 * MIB)
    urgent = any(finding.urgent for finding in findings)
    made = Suspect(
        process(name, pid), host, len(values), verdict, whole, tuple(findings), Figure.FOOTPRINT, moments(len(values)), values, urgent=urgent
    )
    return replace(made, **more)  # type: ignore[arg-type]


def other(verdict: Verdict, family: str, name: str, pid: int, figure: Figure = Figure.FOOTPRINT, service: bytes = b"web") -> Suspect:
    """A service that did something, but does not keep growing."""
    found = Finding(1, family, name, figure, trend(verdict, 0.4 * MIB, 300.0 * MIB), 1.0, (), (f"{family}: 300 MiB at 14:00",), "")
    return suspect(service, pid, verdict, [found])


def in_depth() -> Suspect:
    """A process that was killed, with all that can be said of one."""
    siblings = (
        Sibling(process(pid=1101), "web1", Verdict.STABLE, 3.0, 205 * MIB, 12 * MIB, 1229 * MIB, 900 * MIB),
        Sibling(process(pid=1102), "web2", Verdict.PLATEAU, 20.5, 410 * MIB, -4 * MIB, 1400 * MIB, 1100 * MIB),
    )
    end = End(
        UNTIL_US,
        1434 * MIB,
        1440 * MIB,
        (
            "the kernel killed it at 2026-11-23 11:02:13, 2.2 min after this snapshot: anon-rss 2.0 GiB, file-rss 4 KiB, shmem-rss 0 KiB",
            "+620 MiB of anonymous memory in 2.2 min: faster than before, so the last part was no slow leak",
        ),
    )
    return suspect(
        findings=[heap(), mapping_count()],
        series=[None if n == 40 else value for n, value in enumerate(rising())],
        restarts=2,
        end=end,
        siblings=siblings,
        notes=("3 captures are torn, and were left out",),
    )


def leaks(*processes: Suspect, hosts: tuple[str, ...] = ("web1",), **more: object) -> Leaks:
    snapshots = max((suspect.snapshots for suspect in processes), default=0)
    return replace(Leaks(SINCE_US, UNTIL_US, snapshots, hosts, processes, 2160.0), **more)  # type: ignore[arg-type]


def one() -> Leaks:
    """What is found of one service."""
    return leaks(in_depth(), hosts=("web1", "web2"))


def many() -> Leaks:
    """A host: what grows, what did something else, and what is stable."""
    slow = Finding(
        1, "malloc-arena", "8 × [anon]", Figure.FOOTPRINT, trend(slope=133.0, delta=3.1 * MIB), 0.6, (), ("8 arenas, all of them grow",), ""
    )
    return leaks(
        suspect(findings=[heap(), mapping_count()]),
        suspect(b"mapper", 1200, findings=[replace(mapping_count(1), urgent=True)], series=rising(last=240 * MIB)),
        suspect(b"indexer", 1300, findings=[slow], series=rising(first=60 * MIB, last=63 * MIB)),
        other(Verdict.STEP, "anon", "[anon]", 1400),
        other(Verdict.PLATEAU, "managed-heap", "2 × [anon]", 1500, service=b"java"),
        *(other(Verdict.CACHE, "file", "/srv/data/index.db", 1600 + n, Figure.CACHE, b"postgres") for n in range(12)),
        *(suspect(b"idle", 2000 + n, Verdict.STABLE, series=[4 * MIB] * 300) for n in range(130)),
        suspect(b"new", 3000, Verdict.TOO_SHORT, series=[4 * MIB] * 2),
    )
