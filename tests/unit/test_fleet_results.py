"""What results of hosts come to: which processes are one service, what hosts have in common, what may be chance, and how it is shown."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from itertools import pairwise
from random import Random

import leak_results as made
import pytest

from pmapdiff.align.lineage import Lineage, in_order, lineage_of, release_of
from pmapdiff.align.versions import fold_version, versions_in
from pmapdiff.analyse.fleet import WORST, Gathering
from pmapdiff.analyse.fleet_host import curve_of, keep_of
from pmapdiff.analyse.fleet_result import FleetLeaks, HostLeaks, ServiceLeaks
from pmapdiff.analyse.onsets import Dated, shared_onset
from pmapdiff.analyse.result import Leaks, Suspect, Verdict
from pmapdiff.compare.fleet import FleetComparison, HostComparison
from pmapdiff.compare.fleet import Gathering as Comparing
from pmapdiff.model import ProcessIdentity, ProcessInfo
from pmapdiff.model.fleet import Failure
from pmapdiff.report import View, write_report

WITHIN_HOURS = 2160.0
MINUTE_US, HOUR_US = made.MINUTE_US, made.HOUR_US


def info(exe: bytes, *arguments: bytes, cgroup: bytes | None = None, unit: str | None = None) -> ProcessInfo:
    name = exe.rsplit(b"/", 1)[-1][:15]
    return ProcessInfo(ProcessIdentity("boot", 7, 7, "key"), name, b"\0".join([exe, *arguments, b""]), exe, 300, 1000, cgroup, unit=unit)


# One service on many hosts.

DOCKER = b"3f2a9c1d77aa4b5cc6d7e8f90123456789abcdef0123456789abcdef01234567"
OTHER = b"aa0b1c2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f5061728394a5b6c7d8e9"


@pytest.mark.parametrize(
    "cgroups",
    [
        (b"/docker/" + DOCKER, b"/docker/" + OTHER),
        (b"/system.slice/docker-" + DOCKER + b".scope", b"/system.slice/docker-" + OTHER + b".scope"),
        (
            b"/kubepods/burstable/pod1b2c3d4e-0000-4000-8000-00000000000a/" + DOCKER,
            b"/kubepods/burstable/podabcdef12-1111-4abc-9def-123456789abc/" + OTHER,
        ),
        (
            b"/kubepods.slice/kubepods-pod1b2c3d4e_0000_4000_8000_00000000000a.slice/cri-containerd-" + DOCKER + b".scope",
            b"/kubepods.slice/kubepods-podabcdef12_1111_4abc_9def_123456789abc.slice/cri-containerd-" + OTHER + b".scope",
        ),
        (b"/machine.slice/libpod-" + DOCKER + b".scope/container", b"/machine.slice/libpod-" + OTHER + b".scope/container"),
        (b"/user.slice/user-1000.slice/session-3.scope", b"/user.slice/user-1001.slice/session-127.scope"),
        (None, None),
    ],
)
def test_ids_of_containers_and_sessions_make_no_other_service(cgroups: tuple[bytes | None, bytes | None]) -> None:
    one, other = (lineage_of(info(b"/usr/sbin/nginx", cgroup=cgroup), host) for cgroup, host in zip(cgroups, ("web1", "web2"), strict=True))
    assert one == other


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (info(b"/opt/app-1.9/bin/app", unit="app.service"), info(b"/opt/app-1.10/bin/app", unit="app.service"), True),
        (info(b"/usr/bin/python3.11", b"/srv/a.py"), info(b"/usr/bin/python3.12", b"/srv/a.py"), True),
        (info(b"/usr/bin/python3.11", b"/srv/a.py"), info(b"/usr/bin/python3.11", b"/srv/b.py"), False),
        (info(b"/usr/bin/redis-server", unit="redis@6379.service"), info(b"/usr/bin/redis-server", unit="redis@6380.service"), False),
        (info(b"/usr/bin/ceph-mon", unit="ceph-mon@web1.service"), info(b"/usr/bin/ceph-mon", unit="ceph-mon@web2.service"), True),
        (info(b"/usr/bin/ceph-mon", unit="ceph-mon@web1.service"), info(b"/usr/bin/ceph-mon", unit="ceph-mon@web12.service"), False),
        (info(b"/usr/bin/a"), info(b"/usr/bin/b"), False),
        (info(b"/usr/bin/a", unit="a.service"), info(b"/usr/bin/a"), False),
    ],
)
def test_what_makes_a_service(one: ProcessInfo, other: ProcessInfo, alike: bool) -> None:
    assert (lineage_of(one, "web1.example.org") == lineage_of(other, "web2.example.org")) == alike


def test_a_host_that_is_called_like_everything_is_no_word() -> None:
    unit = "a-1-db.service"
    assert {lineage_of(info(b"/usr/bin/a", unit=unit), host).unit for host in ("1", "db", "a", "")} == {unit.encode()}


def test_a_process_of_which_nothing_is_known_has_a_lineage() -> None:
    unknown = ProcessInfo(ProcessIdentity("", 12, 0, "x"))
    assert lineage_of(unknown, "h") == Lineage(b"pid 12", None, b"")


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        (b"/usr/bin/python3.11", (b"3.11",)),
        (b"/opt/app-1.10/bin/app", (b"1.10",)),
        (b"/srv/releases/20261122140000/app.py", (b"20261122140000",)),
        (b"/srv/releases/3f2a9c1d77/app-2.1.jar", (b"3f2a9c1d77", b"2.1")),
        (b"/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37/bin/x", (b"3n58xw4373jp0ljirf06d8077j15pc4j", b"2.37")),
        (b"/run/550e8400-e29b-41d4-a716-446655440000/app", ()),
        (b"/usr/bin/x264 (deleted)", ()),
    ],
)
def test_versions_in_names(name: bytes, versions: tuple[bytes, ...]) -> None:
    assert versions_in(name) == versions
    folded = fold_version(name)
    for version in versions:
        assert version not in folded, "what is shown beside a service is what was left out of it"


def test_the_release_of_a_process() -> None:
    assert release_of(info(b"/usr/bin/python3.11", b"/srv/app-1.9/a.py")) == (b"3.11", b"1.9")


# What onsets have in common.


def dated(*minutes: int, precision: int = 5, span: int = 1440) -> list[Dated]:
    return [Dated(minute * MINUTE_US, precision * MINUTE_US, 0, span * MINUTE_US) for minute in minutes]


def test_onsets_of_a_deploy() -> None:
    found = shared_onset(dated(600, 601, 604, 605, 606, 607, 610, 100))
    assert found is not None
    assert (found.hosts, found.dated, found.since_us, found.until_us) == (7, 8, 600 * MINUTE_US, 610 * MINUTE_US)
    assert found.precision_us == 5 * MINUTE_US


def test_a_deploy_that_takes_hours() -> None:
    found = shared_onset(dated(*range(600, 780, 3)))
    assert found is not None
    assert (found.hosts, found.since_us, found.until_us) == (60, 600 * MINUTE_US, 777 * MINUTE_US)


@pytest.mark.parametrize("minutes", [(), (600,), (600, 615), (600, 1000), (10, 400, 800, 1200), tuple(range(0, 1440, 20))])
def test_onsets_that_have_nothing_in_common(minutes: tuple[int, ...]) -> None:
    assert shared_onset(dated(*minutes)) is None


def test_chance_is_kept_to() -> None:
    """Of onsets that are drawn evenly no more than one in a hundred is called shared."""
    random = Random(5)
    draws = [shared_onset(dated(*(random.randrange(1440) for _ in range(hosts)))) for hosts in (3, 5, 8, 20, 60) for _ in range(200)]
    assert sum(found is not None for found in draws) <= 10


def test_onsets_are_no_closer_than_they_are_known() -> None:
    assert shared_onset(dated(600, 600, 600, precision=5)) is not None
    assert shared_onset(dated(600, 600, 600, precision=500)) is None, "all that is known is that it was within eight hours"


def test_moving_all_onsets_moves_what_they_share() -> None:
    one, other = shared_onset(dated(600, 601, 604, 605)), shared_onset(dated(700, 701, 704, 705))
    assert one is not None
    assert other is not None
    assert (other.since_us - one.since_us, other.until_us - one.until_us, other.chance) == (100 * MINUTE_US, 100 * MINUTE_US, one.chance)


# From hosts to the fleet.


def growing(host: str, p: float = 1e-9, pid: int = 1100, slope: float = 12.0 * made.MIB, **changes: object) -> Suspect:
    finding = replace(made.heap(), trend=replace(made.trend(slope=slope), p=p), **changes)  # type: ignore[arg-type]
    return replace(made.suspect(b"worker", pid, Verdict.GROWING, findings=[finding]), host=host)


def calm(host: str, pid: int = 1100, name: bytes = b"worker") -> Suspect:
    return replace(made.suspect(name, pid, Verdict.STABLE), host=host, findings=(), urgent=False)


def on(host: str, *suspects: Suspect) -> HostLeaks:
    return keep_of(host, replace(made.leaks(*suspects), since_us=made.SINCE_US, until_us=made.UNTIL_US, hosts=(host,)))


def together(*hosts: HostLeaks | Failure) -> FleetLeaks:
    gathering = Gathering(WITHIN_HOURS)
    for host in hosts:
        gathering.add(host)
    return gathering.result()


def only(fleet: FleetLeaks) -> ServiceLeaks:
    (service,) = fleet.services
    return service


def test_one_of_many_must_be_clear_and_many_need_not() -> None:
    def service(grow: int, p: float) -> ServiceLeaks:
        return only(together(*(on(f"h{n:03}", growing(f"h{n:03}", p) if n < grow else calm(f"h{n:03}")) for n in range(500))))

    assert service(1, 1e-9).is_growing
    assert service(400, 0.004).is_growing, "together they are beyond doubt"
    doubtful = service(1, 0.004)
    assert (doubtful.growing, doubtful.is_growing, doubtful.may_be_chance) == (1, False, True)
    assert service(400, 0.004).chance < doubtful.chance


def test_false_alarms_do_not_pile_up() -> None:
    """Each of 400 services that only wander looks like growth on a host with one chance in a hundred, on 50 hosts: hardly any is called growing."""
    random = Random(3)
    hosts = []
    for n in range(50):
        suspects = []
        for number in range(400):
            p = random.random()
            grows = p < 0.01
            known = growing(f"h{n}", p, 1000 + number) if grows else calm(f"h{n}", 1000 + number)
            name = b"service%d" % number
            suspects.append(replace(known, process=made.process(name, 1000 + number)))
        hosts.append(on(f"h{n}", *suspects))
    found = together(*hosts)
    assert sum(service.growing > 0 for service in found.services) > 100
    assert sum(service.is_growing for service in found.services) <= 1


def test_what_is_kept_does_not_grow_with_the_hosts() -> None:
    service = only(together(*(on(f"h{n:03}", growing(f"h{n:03}", slope=float(n + 1))) for n in range(60))))
    assert len(service.worst) == WORST
    assert len(service.growers) == 60
    assert [known.trend.slope for known in service.growers] == [float(n) for n in range(60, 0, -1)]
    assert [suspect.host for suspect in service.worst] == [known.host for known in service.growers[:WORST]]
    assert (service.median_slope, service.worst_slope) == (30.5, 60.0)


def test_a_host_counts_once_however_many_workers_it_has() -> None:
    service = only(together(on("h1", *(growing("h1", pid=1100 + n) for n in range(8))), on("h2", calm("h2"))))
    assert (service.hosts, service.growing, service.processes, len(service.growers)) == (2, 1, 9, 8)


def test_silent_hosts_and_failures_are_told() -> None:
    found = together(on("h2"), Failure("h3", "no"), on("h1", calm("h1")), Failure("h0", "no"))
    assert (found.hosts, found.silent, [failure.host for failure in found.failures]) == (4, ("h2",), ["h0", "h3"])
    assert together().services == ()


def test_an_onset_at_the_beginning_of_the_record_is_older() -> None:
    late = growing("h1")
    moments = late.moments_us
    begin = replace(late, findings=tuple(replace(f, trend=replace(f.trend, onset_us=moments[1])) for f in late.findings))
    (late_grower,) = on("h1", late).services[0].growers
    (begin_grower,) = on("h1", begin).services[0].growers
    assert (late_grower.dated, begin_grower.dated) == (True, False)
    assert only(together(on("h1", begin))).before == 1
    # A process that was started within the record did not grow before.
    started = replace(begin, process=begin.process._replace(started_at_us=moments[0] - 1))
    host = keep_of("h1", replace(made.leaks(started), since_us=moments[0] - 5 * HOUR_US, until_us=made.UNTIL_US))
    assert host.services[0].growers[0].dated


def test_those_that_grow_were_started_later() -> None:
    def started(suspect: Suspect, hours: int | None) -> Suspect:
        return replace(suspect, process=suspect.process._replace(started_at_us=None if hours is None else made.SINCE_US + hours * HOUR_US))

    def restarted(grow: Sequence[int | None], stay: Sequence[int | None]) -> int | None:
        hosts = [on(f"g{n}", started(growing(f"g{n}"), hours)) for n, hours in enumerate(grow)]
        hosts += [on(f"s{n}", started(calm(f"s{n}"), hours)) for n, hours in enumerate(stay)]
        found = only(together(*hosts)).restarted_us
        assert found == only(together(*hosts[::-1])).restarted_us
        return None if found is None else (found - made.SINCE_US) // HOUR_US

    assert restarted([6, 5, 7], [1, 4]) == 5
    assert restarted([6, 3, 7], [1, 4]) is None
    assert restarted([6, None], [1]) is None
    assert restarted([6], [1, None]) is None
    assert restarted([6], []) is None


def test_healthy_ones_of_each_version_beside_the_worst() -> None:
    def of(release: bytes, suspect: Suspect, age_hours: int) -> Suspect:
        exe = b"/opt/worker-" + release + b"/worker"
        process = suspect.process._replace(exe=exe, started_at_us=suspect.moments_us[-1] - age_hours * HOUR_US)
        return replace(suspect, process=process)

    hosts = [on("bad", of(b"2.0", growing("bad"), 30))]
    hosts += [on(f"old{n}", of(b"1.0", calm(f"old{n}"), 40 + n)) for n in range(9)]
    hosts += [on(f"new{n}", of(b"2.0", calm(f"new{n}"), 35)) for n in range(3)]
    service = only(together(*hosts))
    assert [(known.name, known.hosts, known.growing) for known in service.releases] == [("2.0", 4, 1), ("1.0", 9, 0)]
    assert [known.host for known in service.healthy] == ["old8", "new0", "old7", "new1", "old6"]
    assert all(known.ours_kib is not None and known.age_hours == pytest.approx(30, abs=0.01) for known in service.healthy)
    ages = [age for age, _ in curve_of(growing("h"), 12)]
    assert len(ages) == 12
    assert all(earlier < later for earlier, later in pairwise(ages))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_order(seed: int) -> None:
    random = Random(seed)
    hosts: list[HostLeaks | Failure] = [Failure(f"f{n}", "no") for n in range(3)]
    for n in range(40):
        host = f"h{n:02}"
        suspects = [calm(host, 50, b"quiet"), growing(host, 10 ** -random.uniform(1, 9), 60, slope=random.uniform(1, 1e4))]
        if random.random() < 0.5:
            suspects[1] = calm(host, 60)
        hosts.append(on(host, *suspects))
    texts = set()
    for _ in range(4):
        random.shuffle(hosts)
        out = io.StringIO()
        write_report("fleet-leaks", "json", together(*hosts), View(), out)
        texts.add(out.getvalue())
    assert len(texts) == 1


# How it is shown.


def hostile_fleet() -> FleetLeaks:
    hosts = []
    for n in range(12):
        host = f"{made.HOSTILE.decode('utf-8', 'backslashreplace')}{n}"
        one = growing(host, name="<script>alert(1)</script>")
        one = replace(one, findings=tuple(replace(finding, series=one.series) for finding in one.findings))
        process = one.process._replace(comm=made.HOSTILE, exe=b"/opt/" + made.HOSTILE + b"-1.%d/x" % (n % 2), command=made.HOSTILE)
        hosts.append(on(host, replace(one, process=process, host=host)))
    return together(*hosts, Failure("<b>\x1b[31m", "</script>\n\x1b[31m"))


@pytest.mark.parametrize("width", [40, 80, 160, None])
def test_text_of_strangers_is_harmless_on_a_terminal(width: int | None) -> None:
    out = io.StringIO()
    write_report("fleet-leaks", "text", hostile_fleet(), View(width=width), out)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out.getvalue())
    if width is not None and width >= 80:
        from rich.cells import cell_len

        assert max(map(cell_len, out.getvalue().splitlines())) <= width


def test_csv_of_strangers_is_no_formula() -> None:
    out = io.StringIO()
    write_report("fleet-leaks", "csv", hostile_fleet(), View(), out)
    assert not re.search('(^|,)"?[=+@]', out.getvalue(), re.MULTILINE)
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("subject", ["fleet-leaks", "fleet-compare"])
def test_a_page_asks_nobody_and_runs_nothing(subject: str) -> None:
    pytest.importorskip("vl_convert")
    fleet: FleetLeaks | FleetComparison = hostile_fleet()
    if subject == "fleet-compare":
        comparing = Comparing(made.SINCE_US, made.UNTIL_US)
        comparing.add(Failure("<b>\x1b[31m", "</script>\n\x1b[31m"))
        comparing.add(HostComparison("<i>silent", None, None))
        fleet = comparing.result()
    out = io.StringIO()
    write_report(subject, "html", fleet, View(), out)
    page = out.getvalue()
    assert "default-src 'none'" in unescape(page)
    assert not re.search(r"<script|<link|<img|<iframe|javascript:|\son\w+=|<b>|<i>", page, re.IGNORECASE)
    assert not re.search(r"(?:src|href)=\"(?!#)", page)
    assert "\x1b" not in page
    if subject == "fleet-leaks":
        assert page.count("<svg") >= 4
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_service_is_called_after_what_it_runs() -> None:
    from pmapdiff.report.fleet_words import service_title

    def titled(title: str, unit: bytes | None, role: bytes) -> ServiceLeaks:
        service = only(together(on("h1", calm("h1"))))
        return replace(service, title=title, lineage=Lineage(b"/usr/bin/x", unit, role))

    assert service_title(titled("orders", b"orders.service", b"")) == "orders"
    assert service_title(titled("python3", b"api.service", b"/srv/api/app.py")) == "python3 app.py (api.service)"
    assert service_title(titled("python3", None, b"-m\0http.server")) == "python3 http.server"
    assert service_title(titled("python3", None, b"-c\0" + b"x" * 900)) == "python3 -c"
    assert service_title(titled("nginx", b"nginx.service", b"nginx: worker process")) == "nginx: worker process (nginx.service)"
    one, other = titled("a", b"/docker/#", b""), titled("a", b"/lxc/#", b"")
    assert service_title(one, [one, other]) == "a (/docker/#)"


def test_lineages_have_an_order() -> None:
    known = [Lineage(b"b", None, b""), Lineage(b"a", b"u", b""), Lineage(b"a", None, b"r"), Lineage(b"a", None, b"")]
    assert sorted(known, key=in_order) == [*known[::-1][:2], known[1], known[0]]


def test_nothing_grows() -> None:
    out = io.StringIO()
    write_report("fleet-leaks", "text", together(on("h1", calm("h1")), on("h2", calm("h2"))), View(width=80), out)
    assert "none of 1 service grows" in " ".join(out.getvalue().split())
    empty = Leaks(None, None, 0, (), (), WITHIN_HOURS)
    out = io.StringIO()
    write_report("fleet-leaks", "text", together(keep_of("h1", empty)), View(width=80), out)
    assert "no such snapshot of 1 host: h1" in out.getvalue()
