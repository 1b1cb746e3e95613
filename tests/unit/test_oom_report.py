"""Out-of-memory reports in logs: the samples of tests/data/oom, and what is made of them by other programs."""

from __future__ import annotations

import gzip
import lzma
from io import BytesIO
from pathlib import Path

import pytest

from pmapdiff.errors import FormatError, NotFoundError
from pmapdiff.formats.base import Parse
from pmapdiff.formats.oom_report import read_oom_log, read_oom_stream
from pmapdiff.formats.unpack import unpack
from pmapdiff.model.oom import OomKill
from pmapdiff.units import format_moment_utc

SAMPLES = Path(__file__).parents[1] / "data" / "oom"
# 2026-11-24T00:00:00Z: behind all of them.
LATER_US = 1_795_478_400_000_000


def read(data: bytes, reference_us: int = LATER_US) -> list[OomKill]:
    return read_oom_stream(Parse(unpack(BytesIO(data), "log", partial=True), "log"), reference_us)


def sample(name: str) -> list[OomKill]:
    return read((SAMPLES / f"{name}").read_bytes())


# pid, name, when, seconds since boot; total-vm, anon, file, shmem, swap, page tables, uid, oom_score_adj.
# Then constraint, who invoked it, usage and limit, RAM, and the number of tasks.
Expected = tuple[tuple[object, ...], tuple[object, ...]]
EXPECTED: dict[str, list[Expected]] = {
    "2.6.24-syslog.log": [
        (
            (5790, b"SABnzbd.py", "2026-08-06T18:26:52.000000Z", 2685.752, None, None, None, None, None, None, None, None),
            ("system", b"SABnzbd.py", None, None, 522688, 0),
        )
    ],
    "2.6.32-rhel6-child.log": [
        ((16944, b"mingetty", None, None, 4064, 4, 56, None, None, None, 0, 0), ("memcg", None, None, None, None, 5)),
    ],
    "2.6.32-rhel6-grep.log": [
        ((215701, b"java", None, 6710784.707978, 11017300, 7152432, 1232, None, None, None, 679, None), ("memcg", b"java", None, None, None, 0)),
    ],
    "2.6.35-vsz.log": [
        ((15575, b"apache2", None, 505667.755667, 308116, 8568, 60, None, None, None, None, None), ("system", None, None, None, None, 0)),
        ((15573, b"apache2", None, 505687.233163, 308112, 20612, 292, None, None, None, None, None), ("system", None, None, None, None, 0)),
        ((15599, b"apache2", None, 505687.298980, 306940, 46432, 80, None, None, None, None, None), ("system", None, None, None, None, 0)),
        ((15506, b"apache2", None, 505742.637117, 306800, 11972, 68, None, None, None, None, None), ("system", None, None, None, None, 0)),
        ((15595, b"apache2", None, 505756.811190, None, None, None, None, None, None, None, None), ("system", None, None, None, None, 0)),
    ],
    "3.2-mail-quoted.txt": [
        ((11341, b"xfs_db", None, 283.475112, 40125984, 3927736, 8, None, None, None, 0, 0), ("system", None, None, None, 4194240, 5)),
    ],
    "3.2-memcg-syslog.log": [
        (
            (12021, b"apache2", "2026-07-14T01:11:39.000000Z", 593.591370, 688108, 255472, 3420, None, None, None, 1333, 0),
            ("memcg", None, None, None, None, 3),
        )
    ],
    "3.10-rhel7-messages.log": [
        (
            (5424, b"java", "2026-06-04T17:19:10.000000Z", None, 147654756, 6151080, 0, None, 0, 265628, 1000, 0),
            ("system", b"AliYunDun", None, None, 8388604, 5),
        )
    ],
    "3.10-rhel7-thread.dmesg-T.log": [
        (
            (28438, b"java", "2017-12-07T00:05:15.000000Z", None, 20255636, 466160, 13684, None, 545636, 6644, 0, -998),
            ("memcg", None, None, None, None, 1),
        )
    ],
    "3.10-rhel7-uid.log": [
        ((799153, b"node", "2025-11-30T10:16:57.000000Z", None, 606096, 68308, 13648, 0, None, None, 1000, None), (None, None, None, None, None, 0)),
        ((799402, b"node", "2025-11-30T10:16:58.000000Z", None, 642596, 102060, 13664, 0, None, None, 1000, None), (None, None, None, None, None, 0)),
        ((799889, b"node", "2025-11-30T10:16:59.000000Z", None, 650784, 110296, 13516, 0, None, None, 1000, None), (None, None, None, None, None, 0)),
    ],
    "4.14-mlocked.log": [
        ((4578, b"oom02", None, 365.255581, 151104120, 131562528, 1300, 0, 0, 257580, 0, 0), ("system", b"oom02:4583", None, None, None, 4)),
    ],
    "4.14-openwrt-logread.log": [
        (
            (1350, b"udhcpc", "2020-01-25T09:40:15.000000Z", 22042.602270, 1204, 36, 4, 0, None, None, None, None),
            (None, None, None, None, None, 0),
        )
    ],
    "4.15-two-kills.log": [
        ((86854, b"postgres", None, 669522.007945, 308932, 8396, 9808, 21140, None, None, None, None), ("memcg", None, None, None, None, 0)),
    ],
    "5.0-group-callers.log": [
        ((9188, b"a.out", None, 37.128158, 14456, 10324, 504, 0, None, None, 0, None), ("memcg", None, 51200, 51200, None, 0)),
        ((1, b"systemd", None, 37.135498, 43400, 1228, 3992, 0, None, None, None, None), ("memcg", None, 51200, 51200, None, 0)),
        ((9182, b"a.out", None, 37.143434, 14456, 76, 588, 0, None, None, None, None), ("memcg", None, 51200, 51200, None, 0)),
        ((9183, b"a.out", None, 37.147585, 14456, 6228, 512, 0, None, None, None, None), ("memcg", None, 51200, 51200, None, 0)),
    ],
    "5.8-commit.txt": [
        ((19289, b"memcg_process", None, None, 2676, 84, 1468, 4, 0, 40, 0, 0), ("memcg", b"memcg_process", 132, 132, None, 1)),
    ],
    "5.10-console-parentheses.log": [
        ((161, b"systemd-udevd", None, 27.841660, 12276, 556, 0, 0, None, 64, 0, 0), ("system", None, None, None, None, 0)),
        ((167, b"(agetty)", None, 236.927354, 8260, 1488, 0, 0, None, 48, 0, 0), ("system", None, None, None, None, 0)),
        ((166, b"systemd-udevd", None, 437.781132, 13548, 1500, 0, 0, None, 64, 0, 0), ("system", None, None, None, None, 0)),
    ],
    "5.15-aks-syslog.log": [
        (
            (183960, b"stress-ng-vm", "2026-10-12T19:00:20.000000Z", 8523.347333, 299192, 93176, 316, 12, 0, 476, 0, 1000),
            ("memcg", b"stress-ng-vm", 102400, 102400, None, 4),
        )
    ],
    "6.9-orbstack.dmesg-T.log": [
        (
            (5071, b"a.out", "2024-08-11T20:21:28.000000Z", None, 11165614668, 9845504, 128, 0, 33767424, 21850556, 0, 0),
            ("system", b"kswapd0", None, None, 33554432, 3),
        )
    ],
    "6.12-raspberry-cat.log": [
        ((996, b"python", None, None, 2991716, 122228, 0, 0, 127744, 1156, 1000, 0), ("system", b"cron", None, None, 458752, 4)),
    ],
    "localised.dmesg-T.log": [
        ((43056, b"colmap", None, None, 30044644, 13553456, 57484, 2432, 2072628, 31820, 1000, 200), ("system", None, None, None, None, 2)),
    ],
    "kubectl-events.txt": [
        ((2179068, b"bundle", None, None, 3752480, 1626408, 19828, 0, None, 3856, 1011, 476), ("memcg", None, None, None, None, 0)),
        ((2177766, b"supervisord", None, None, 37040, 17552, 10504, 0, None, 116, 1000, 476), ("memcg", None, None, None, None, 0)),
        ((470521, b"stress", None, None, None, None, None, None, None, None, None, None), ("memcg", None, None, None, None, 0)),
    ],
    "systemd-oomd.log": [
        ((None, None, "2026-04-12T18:04:42.000000Z", None, None, None, None, None, None, None, None, None), (None, None, None, None, None, 0)),
    ],
}


def facts(kill: OomKill) -> Expected:
    when = None if kill.time_us is None else format_moment_utc(kill.time_us)
    report = kill.report
    return (
        (kill.pid, kill.name, when, kill.since_boot_s, *kill[4:12]),
        (report.constraint, report.invoked_by, report.usage_kib, report.limit_kib, report.ram_kib, len(report.tasks)),
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_published_reports(name: str) -> None:
    assert [facts(kill) for kill in sample(name)] == EXPECTED[name]


def test_every_sample_is_judged() -> None:
    known = {*EXPECTED, "4.19-photon-vmware.log", "README.md"}
    assert {path.name for path in SAMPLES.iterdir() if not path.name.startswith("6.18-")} == known


def test_what_was_killed_has_its_row_where_a_table_has_it() -> None:
    for name in EXPECTED:
        for kill in sample(name):
            rows = [task for task in kill.report.tasks if task.pid == kill.pid]
            if kill.report.tasks:
                (row,) = rows
                assert row.name == kill.name
                # Of the page size that both have: 4 KiB here. The process ran on between the two lines.
                assert kill.total_vm_kib == pytest.approx(row.total_vm_kib, rel=0.001)
                assert row.rss_kib == pytest.approx((kill.anon_rss_kib or 0) + (kill.file_rss_kib or 0) + (kill.shmem_rss_kib or 0), rel=0.02, abs=64)


WORKER: tuple[object, ...] = (22985, b"worker (2), b", 51944, 37092, 6400, 3072, 0, 144, 0, 0, b"/demo.slice/web.service", "kernel")
ODD: tuple[object, ...] = (50668, 40576, 6448, 0, 0, 132, 0, 0, b"/demo.slice/web.service", "kernel")
FORMS = sorted(path.name for path in SAMPLES.glob("6.18-*.log"))
# With seconds since boot; the journal was begun a second after the kills.
WITH_BOOT = ("dmesg.", "dmesg-J.", "dmesg-color", "dmesg-d.", "dmesg-r", "dmesg-x", "kmsg", "export", "json", "monotonic")
WITH_TIME = {
    "2026-11-23T13:29:36.000000Z": ("dmesg-T",),
    "2026-11-23T13:29:36.481812Z": ("dmesg-iso",),
    "2026-11-23T13:29:37.000000Z": ("blob", "short.", "short-full", "short-iso"),
    "2026-11-23T13:29:37.714658Z": ("short-precise", "short-unix", "verbose", "export", "json"),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_dmesg_and_journalctl_gives_the_same(name: str) -> None:
    kills = sample(name)
    worker = kills[0]
    assert (worker.pid, worker.name, *worker[4:14]) == WORKER
    report = worker.report
    assert (report.constraint, report.invoked_by, report.cgroup, report.usage_kib, report.limit_kib) == (
        "memcg",
        b"worker (2), b",
        b"/demo.slice",
        40960,
        40960,
    )
    assert [(task.name, task.rss_kib, task.anon_rss_kib, task.file_rss_kib, task.shmem_rss_kib) for task in report.tasks] == [
        (b"bash", 1820, 172, 1648, 0),
        (b"sleep", 1676, 0, 1676, 0),
        (b"worker (2), b", 46564, 37092, 6400, 3072),
    ]
    assert worker.since_boot_s == (45713.481812 if any(word in name for word in WITH_BOOT) else None)
    expected = next((when for when, words in WITH_TIME.items() if any(word in name for word in words)), None)
    assert worker.time_us is None if expected is None else format_moment_utc(worker.time_us or 0) == expected
    if "blob" in name:
        # journalctl without -a does not show what is not printable.
        assert len(kills) == 1
        return
    odd = kills[1]
    assert (odd.pid, *odd[4:14]) == (23027, *ODD)
    # With its colours a text loses what a name has of them; raw bytes are the journal's.
    is_raw = name.startswith("6.18-journalctl-") and not any(word in name for word in ("export", "json"))
    assert odd.name == (b"x\ny\\q\xe4" if is_raw else b"x\ny\x1b[31m\\q\xe4")


def test_forms_of_other_systems_give_the_same() -> None:
    data = (SAMPLES / "6.18-dmesg.log").read_bytes()
    plain = read(data)
    worker = plain[0]
    assert read(data.replace(b"\n", b"\r\n")) == plain
    assert read(b"\xef\xbb\xbf" + data) == plain
    assert read(gzip.compress(data)) == read(lzma.compress(data)) == plain
    assert read(data.decode().encode("utf-16")) == plain
    assert read(b"".join(b"> " + line for line in data.splitlines(keepends=True)))[0] == worker
    assert read(b"\0" * 5000 + data) == plain
    # Docker's files, a collector with its own time, and klog of Kubernetes.
    import json

    lines = data.decode().splitlines()
    docker = "".join(json.dumps({"log": line + "\n", "stream": "stdout", "time": "2026-11-23T13:29:36.5Z"}) + "\n" for line in lines)
    assert read(docker.encode())[0]._replace(time_us=None) == worker
    assert format_moment_utc(read(docker.encode())[0].time_us or 0) == "2026-11-23T13:29:36.500000Z"
    cloud = json.dumps({"events": [{"timestamp": 1795440576500, "message": line} for line in lines]}, indent=4)
    assert read(cloud.encode())[0]._replace(time_us=None) == worker
    assert format_moment_utc(read(cloud.encode())[0].time_us or 0) == "2026-11-23T13:29:36.500000Z"
    whole = json.dumps({"reason": "OOMKilling", "lastTimestamp": "2026-11-23T13:29:36Z", "message": data.decode()})
    assert read(whole.encode())[0]._replace(time_us=None) == worker
    klog = "".join(f"E1123 13:29:36.500000    1234 oom_watcher_linux.go:80] {line}\n" for line in lines)
    assert format_moment_utc(read(klog.encode())[0].time_us or 0) == "2026-11-23T13:29:36.500000Z"


def test_a_date_without_a_year_is_the_last_one_that_was() -> None:
    line = b"Feb 29 10:00:00 host kernel: Out of memory: Killed process 5 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB\n"
    (kill,) = read(line)
    assert format_moment_utc(kill.time_us or 0) == "2024-02-29T10:00:00.000000Z"
    (kill,) = read(line.replace(b"Feb 29", b"Dec 31"), reference_us=1_767_225_600_000_000 + 3_600_000_000)
    assert format_moment_utc(kill.time_us or 0) == "2025-12-31T10:00:00.000000Z"
    (kill,) = read(line.replace(b"Feb 29", b"Feb 31"))
    assert kill.time_us is None


def test_two_reports_at_once_are_told_apart_by_what_they_kill() -> None:
    first = [
        b"a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        b"memory: usage 100kB, limit 100kB, failcnt 1",
        b"[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        b"[     11]     0    11      100       20     4096        0             0 a",
        b"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/x,task_memcg=/x/1,task=a,pid=11,uid=0",
        b"Memory cgroup out of memory: Killed process 11 (a) total-vm:400kB, anon-rss:80kB, file-rss:0kB, shmem-rss:0kB",
    ]
    changes = [(b"a invoked", b"b invoked"), (b"11", b"22"), (b"100kB", b"200kB"), (b" a", b" b"), (b"(a)", b"(b)"), (b"=/x", b"=/y")]
    second = first
    for old, new in changes:
        second = [line.replace(old, new) for line in second]
    for caller in (True, False):
        mixed = b"".join(
            b"[   10.%06d]%s %s\n" % (number, tag if caller else b"", line)
            for number, pair in enumerate(zip(first, second, strict=True))
            for tag, line in zip((b"[  T11]", b"[  T22]"), pair, strict=True)
        )
        a, b = read(mixed)
        assert (a.pid, a.cgroup, b.pid, b.cgroup) == (11, b"/x/1", 22, b"/y/1")
        if caller:
            assert (a.report.limit_kib, b.report.limit_kib, a.report.invoked_by, b.report.invoked_by) == (100, 200, b"a", b"b")
            assert [task.pid for task in a.report.tasks] == [11]


def test_a_later_kill_without_a_report_has_not_that_of_an_earlier_one() -> None:
    data = (SAMPLES / "5.15-aks-syslog.log").read_bytes()
    later = (
        b"Oct 12 19:45:00 host kernel: [11203.000001] Memory cgroup out of memory: Killed process 181537 (nginx) total-vm:11400kB, anon-rss:7000kB\n"
    )
    kills = read(data + later)
    assert [kill.pid for kill in kills] == [183960, 181537]
    assert kills[1].report == kills[1].report._replace(usage_kib=None, limit_kib=None, tasks=(), invoked_by=None)


def test_a_report_that_was_cut_gives_what_is_there() -> None:
    lines = (SAMPLES / "6.18-dmesg.log").read_bytes().splitlines(keepends=True)
    killed = next(number for number, line in enumerate(lines) if b"Killed process" in line)
    (kill,) = read(b"".join(lines[:killed]))
    # Of the table, since the line that counts is missing.
    assert (kill.pid, kill.name, kill.total_vm_kib, kill.anon_rss_kib, kill.shmem_rss_kib) == (22985, b"worker (2), b", 51944, 37092, 3072)
    with pytest.raises(FormatError, match="begins here, but not what was killed"):
        read(b"".join(lines[: killed - 1]))
    with pytest.raises(FormatError, match="begins here, but not what was killed"):
        sample("4.19-photon-vmware.log")


def test_the_size_of_a_page_is_that_of_the_process_that_is_known_in_kib() -> None:
    table = (
        b"[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n"
        b"[    700]     0   700      100       20    65536        1             0 init\n"
        b"[    800]     0   800    %d      300   131072       10             0 big\n"
        b"Out of memory: Killed process 800 (big) total-vm:64000kB, anon-rss:%dkB, file-rss:0kB, shmem-rss:0kB\n"
    )
    for page in (4, 8, 16, 64):
        (kill,) = read(table % (64000 // page, 300 * page))
        init, big = kill.report.tasks
        assert (init.total_vm_kib, init.rss_kib, init.swap_kib, big.rss_kib, kill.swap_kib) == (100 * page, 20 * page, page, 300 * page, 10 * page)
        assert (init.pgtables_kib, kill.pgtables_kib) == (64, 128)


def test_page_tables_that_are_called_kib_and_are_bytes() -> None:
    # Up to 5.4.
    line = b"Out of memory: Killed process 1 (a) total-vm:102400kB, anon-rss:90000kB, file-rss:0kB, UID:0 pgtables:229376kB oom_score_adj:0\n"
    (kill,) = read(line)
    assert kill.pgtables_kib == 224
    (kill,) = read(line.replace(b"229376", b"224"))
    assert kill.pgtables_kib == 224


def test_a_kill_that_is_told_twice_is_one() -> None:
    data = (SAMPLES / "6.18-dmesg.log").read_bytes()
    journal = (SAMPLES / "6.18-journalctl-short-precise.log").read_bytes()
    kills = read(journal + data)
    assert [(kill.pid, kill.since_boot_s, kill.time_us is not None) for kill in kills[:1]] == [(22985, 45713.481812, True)]
    assert len({kill.pid for kill in kills}) == 2


def test_newest_last() -> None:
    lines = (SAMPLES / "3.10-rhel7-uid.log").read_bytes().splitlines(keepends=True)
    assert read(b"".join(reversed(lines))) == read(b"".join(lines))


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"nothing to see here\n", bytes(range(256)) * 100, b'{"MESSAGE": "nothing"}\n', b"Killed process x (y)\n", b"131072 pages RAM\n"],
)
def test_what_has_no_report_is_an_error_that_says_what_to_save(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"no out-of-memory report .* save what 'journalctl -k' or dmesg says"):
        read(data)


def test_from_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kern.log.1.gz"
    data = (SAMPLES / "6.18-journalctl-short.log").read_bytes()
    path.write_bytes(gzip.compress(data))
    from_file = read_oom_log(str(path))
    assert from_file[0].pid == 22985
    with open(SAMPLES / "6.18-dmesg.log") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert read_oom_log("-")[0].pid == 22985
    for missing in (tmp_path / "none.log", tmp_path):
        with pytest.raises(NotFoundError, match="cannot read"):
            read_oom_log(str(missing))
