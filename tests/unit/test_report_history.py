"""Histories and accounts as people read them: the answer first, nothing cut that says something."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from strategies import PAGE, capture_of, file, make

from pmapdiff.align import Match, trace
from pmapdiff.compare import Effect, Observed, compare_captures, compare_snapshots
from pmapdiff.model import COUNTERS, Capture, Mapping, ProcessIdentity, Snapshot, SnapshotRef
from pmapdiff.report import View, write_report
from pmapdiff.report.words import effect_words

A, M = 0x7F0000000000, 1 << 20


def capture(mappings: list[Mapping], pid: int = 1100, key: str = "k", comm: bytes = b"svc") -> Capture:
    found = capture_of(mappings)
    return found._replace(process=found.process._replace(identity=ProcessIdentity("boot", pid, pid, key), comm=comm, exe=b"/bin/" + comm))


def snapshots(*captures: Capture) -> list[Snapshot]:
    return [Snapshot(SnapshotRef(n + 1, (n + 1) * 60_000_000, "h"), (found,)) for n, found in enumerate(captures)]


def text(subject: str, *captures: Capture, view: View | None = None) -> list[str]:
    out = io.StringIO()
    write_report(subject, "text", trace(snapshots(*captures)), view or View(width=80, sort="rss"), out)
    return out.getvalue().splitlines()


def heap(kib: int) -> Mapping:
    return make(A, A + 64 * M, name=b"[heap]", rss=kib)


def other(kib: int) -> Mapping:
    return make(A + 512 * M, A + 576 * M, name=b"[anon: other]", rss=kib)


def test_what_grew_and_ended_with_a_restart_comes_before_what_hardly_changed() -> None:
    third = make(A + 999 * M, A + 1000 * M, name=b"[stack]", rss=12)
    lines = text(
        "history", capture([heap(12), other(8), third]), capture([heap(20480), other(8), third]), capture([heap(12), other(16), third], 1200)
    )
    assert "1 restart" in lines[0]
    assert [line.rpartition("  ")[2] for line in lines[2:4]] == ["[heap]", "[anon: other]"]
    assert lines[2].split()[:6] == ["12", "KiB", "20.0", "MiB", "12", "KiB"]
    lines = text("history", capture([heap(12)]), capture([heap(20480)]), capture([heap(12)], 1200))
    assert "Rss 0, at most 20.0 MiB" in lines[2]


def test_an_exec_is_no_restart() -> None:
    lines = text("history", capture([heap(1)]), capture([heap(2)], key="other", comm=b"next"), capture([heap(3)], 1200, comm=b"next"))
    assert "1 restart, 1 exec" in lines[0]
    notes = [line.rpartition("  ")[2] for line in lines[-2:]]
    assert notes == ["exec: next", "restarted as 1200"]


@pytest.mark.parametrize("subject", ["history", "series"])
def test_a_thousand_small_regions_are_told_before_the_largest_of_them(subject: str) -> None:
    many = [make(A + n * M, A + n * M + 64 * PAGE, rss=100 + n % 7) for n in range(1000)]
    lines = text(subject, capture([]), capture(many[:500]), capture(many))
    first = next(line for line in lines if " more anon" in line)
    assert lines.index(first) == next(n for n, line in enumerate(lines) if line.endswith("Mapping")) + 1
    rows = [line for line in lines if "anon" in line]
    assert len(rows) <= 21
    total = next(line for line in lines if line.endswith("in all"))
    assert "+101 MiB" in total
    limited = text(subject, capture([]), capture(many), capture(many), view=View(width=80, sort="rss", top=3))
    assert not any("more anon" in line for line in limited)
    assert any("997 more changes" in line for line in limited)


@pytest.mark.parametrize("amount", [-(1023 << 10), -300, 1, 300, 1023 << 10, 65_000])
def test_what_the_kernel_did_has_room_on_a_small_screen(amount: int) -> None:
    process = compare_captures(capture([heap(1)]), capture([heap(2)]), Match.SAME)
    for effect in Effect:
        if effect is Effect.FILES_DELETED and not 0 < amount < 10_000:
            continue
        (sentence,) = effect_words(replace(process, effects=(Observed(effect, amount, 65_530),)))
        assert len(sentence) <= 78, sentence


def test_how_many_mappings_there_are_is_not_cut() -> None:
    many = [make(A + n * M, A + n * M + 64 * PAGE, rss=100 + n % 7) for n in range(2000)]
    out = io.StringIO()
    first, second = snapshots(capture(many[:1500]), capture(many))
    write_report("compare", "text", compare_snapshots(first, second), View(width=80), out)
    assert "before, 1,500 maps" in out.getvalue()
    assert "after, 2,000 maps" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_files_are_told_by_what_they_have() -> None:
    """A file that is only read has no footprint, and a row of zeros tells nothing."""
    mapped = [file(A, A + 64 * M, "r--s", 0, b"/var/data")._replace(counters=make(A, A + M, rss=kib).counters) for kib in (4, 800)]
    clean = [
        m._replace(counters=tuple(0 if COUNTERS[i].attribute in ("anonymous_kib", "swap_kib") else v for i, v in enumerate(m.counters)))
        for m in mapped
    ]
    lines = text("history", *(capture([m]) for m in clean), view=View(width=80))
    assert any(line.startswith("Rss +796 KiB") for line in lines)
    lines = text("series", *(capture([m]) for m in clean), view=View(width=80))
    assert any(line.endswith(": Rss +796 KiB") for line in lines)


def on_host(host: str, number: int, found: Capture) -> Snapshot:
    boot = ProcessIdentity(host, *found.process.identity[1:])
    process = found.process._replace(identity=boot, started_at_us=1)
    return Snapshot(SnapshotRef(number, number * 60_000_000, host), (found._replace(process=process),))


def test_two_hosts_in_one_store() -> None:
    """Each service has the snapshots of its host, and says where it runs."""
    known = trace([on_host(("web1", "web2")[n % 2], n + 1, capture([heap(n)])) for n in range(6)])
    assert [(service.host, service.lifetime) for service in known.services] == [("web1", (0, 2, 4)), ("web2", (1, 3, 5))]
    for form in ("text", "csv"):
        out = io.StringIO()
        write_report("history", form, known, View(width=80, sort="rss"), out)
        assert "not recorded" not in out.getvalue()
        assert len([line for line in out.getvalue().splitlines() if line.split(",")[0].split(" ")[0].isdigit()]) == 6
    assert {"web1", "web2"} <= {line.split(",")[2] for line in out.getvalue().splitlines()[1:]}
    out = io.StringIO()
    write_report("history", "text", known, View(width=80), out)
    assert "svc 1100 on web1: " in out.getvalue()
    assert "svc 1100 on web2: " in out.getvalue()


def test_columns_of_two_hosts_are_of_one_service() -> None:
    """What ran on one host when it was recorded on the other is compared with it all the same."""
    (service,) = trace([on_host(host, n + 1, capture([heap(n)])) for n, host in enumerate(("web1", "web2", "web2"))], across_hosts=True).services
    assert service.lifetime == (0, 1, 2)
    assert [known.match for known in service.incarnations] == [Match.NEW, Match.RESTARTED]


def test_what_grew_in_swap_alone_is_told() -> None:
    """All that was added was paged out: Rss is as before, and Size says little."""

    def paged(kib: int, swap: int) -> Mapping:
        region = make(A, A + kib * 1024, rss=4)
        return region._replace(counters=tuple(swap if COUNTERS[i].attribute == "swap_kib" else v for i, v in enumerate(region.counters)))

    first, second = snapshots(capture([paged(4096, 0)]), capture([paged(8192, 2048)]))
    out = io.StringIO()
    write_report("compare", "text", compare_snapshots(first, second), View(width=80), out)
    assert "svc 1100: Footprint +2.0 MiB in 60 s; 100 % of it [anon]" in out.getvalue()
