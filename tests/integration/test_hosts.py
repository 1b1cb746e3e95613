"""The command line on a store of several hosts, in a file and on PostgreSQL: tables of real processes, as if taken on several machines."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from programs import Result, Runner

import pmapdiff
from pmapdiff.model import Snapshot
from pmapdiff.store import Store

ROOT = Path(__file__).resolve().parent.parent.parent
HOUR_US = 3_600_000_000
HOSTS = ("db1", "web1", "web2")

Asked = Callable[..., Result]


def machines() -> list[Snapshot]:
    """The sample's redis on three hosts that are copies of one machine: snapshots 1, 2, 3 are the first of each, and so on, an hour apart."""
    source = Store.open(str(ROOT / "sample_snapshots" / "redis.db"))
    first = source.refs()[0].taken_at_us
    found = []
    for number, taken in enumerate(source.walk(source.refs()[:6])):
        for place, host in enumerate(HOSTS):
            ref = taken.ref._replace(id=None, host=host, origin=None, label=None, taken_at_us=first + number * HOUR_US + place * 1000)
            if host == "web2":
                # It has grown longer than the others.
                taken = taken._replace(captures=next(iter(source.walk(source.refs()[-1:]))).captures)
            found.append(Snapshot(ref, tuple(capture._replace(digest=None) for capture in taken.captures)))
    return found


@pytest.fixture(scope="module")
def fleet() -> list[Snapshot]:
    return machines()


@pytest.fixture
def ask(run: Runner, store: Store, location: str, fleet: Sequence[Snapshot]) -> Asked:
    """The command line on such a store."""
    store.write_all(fleet)

    def asked(*arguments: object) -> Result:
        return run.here("--db", location, *arguments, store=False)

    return asked


def rows(result: Result) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(result.ok().out)))


def test_every_command_looks_at_one_host_alone(ask: Asked) -> None:
    assert [row["host"] for row in rows(ask("snapshots", "--host", "web1", "--format", "csv"))] == ["web1"] * 6
    assert [(row["host"], row["snapshots"]) for row in rows(ask("processes", "--host", "web*", "--format", "csv"))] == [("web1", "6"), ("web2", "6")]
    assert ask("show", "latest~1", "--host", "db1", "--format", "json").json["snapshot"]["id"] == 13
    compared = ask("compare", "first", "latest", "--host", "web1", "--format", "json").json
    assert [compared[side]["id"] for side in ("before", "after")] == [2, 17]
    assert [process["match"] for process in compared["processes"]] == ["same"]
    assert {row["host"] for row in rows(ask("history", "--host", "web2", "--format", "csv"))} == {"web2"}
    leaks = ask("leaks", "--host", "db1", "--format", "json").json
    assert (leaks["hosts"], [process["snapshots"] for process in leaks["processes"]]) == (["db1"], [6])
    assert ask("check", "--host", "db1", "--max-growth", "1K/h").out.startswith("PMAPDIFF OK: 1 service, 6 snapshots ")
    assert {row["host"] for row in rows(ask("export", "--host", "web1", "--table", "processes"))} == {"web1"}
    assert len(rows(ask("export", "--host", "web1", "--host", "db1", "--table", "snapshots"))) == 12
    facts = json.loads(ask("db", "info", "--json", "--host", "web1").ok().out)
    assert (facts["hosts"], facts["snapshots"], facts["processes"]) == (1, 6, 1)
    assert [row["host"] for row in rows(ask("hosts", "--host", "db1", "--format", "csv"))] == ["db1"]


def test_a_report_of_one_host(ask: Asked, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ask("report", "first", "latest", "--host", "web1", "-o", page).ok()
    assert "web1" in page.read_text()
    assert "web2" not in page.read_text()
    ask("report", "first", "latest", "-o", page).refused("could be of 3 hosts")
    ask("report", "web1@first", "17", "-o", page).ok()
    assert ("6 snapshots" in page.read_text(), "web2" in page.read_text()) == (True, False), "between two of a host lie those of that host"


def test_a_report_of_two_hosts(ask: Asked, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ask("report", "web1@latest", "db1@first", "-o", page).ok()
    text = page.read_text()
    assert ("2 snapshots" in text, "web1" in text, "db1" in text, "web2" in text) == (True, True, True, False)


@pytest.mark.parametrize("command", ["snapshots", "processes", "show", "compare 1 2", "history", "leaks", "check", "export", "hosts", "db info"])
def test_a_host_that_is_not_there(ask: Asked, command: str) -> None:
    ask(*command.split(), "--host", "web9").refused("there is no host 'web9': the store has db1, web1, web2")


def test_pruning_one_host(ask: Asked) -> None:
    assert ask("prune", "--host", "web1", "--keep-last", 2, "--dry-run").out == "would remove 4 snapshots of --host web1: 2, 5, 8, 11\n"
    assert "removed 4 snapshots" in ask("prune", "--host", "web1", "--keep-last", 2).ok().out
    assert [(row["host"], row["snapshots"]) for row in rows(ask("hosts", "--format", "csv"))] == [("db1", "6"), ("web1", "2"), ("web2", "6")]
    ask("prune", "--host", "web9", "--keep-last", 2).refused("there is no host 'web9'")
    assert ask("db", "check").ok().out == "the store is sound\n"


def test_two_hosts_are_compared_as_incarnations(ask: Asked) -> None:
    value: dict[str, Any] = ask("compare", "web1@latest~4", "web2@latest", "--name", "redis", "--format", "json").json
    assert (value["before"]["host"], value["after"]["host"]) == ("web1", "web2")
    (process,) = value["processes"]
    assert (process["match"], process["complete"], process["pid"], process["pid_before"]) == ("restarted", True, 14378, 14378)
    figures = ("size_kib", "rss_kib", "footprint_kib")
    assert [sum(change["delta"][name] for change in process["changes"]) for name in figures] == [process["totals"]["delta"][name] for name in figures]
    back = ask("compare", "web2@latest", "web1@latest~4", "--name", "redis", "--format", "json").json["processes"][0]
    assert back["totals"]["delta"]["rss_kib"] == -process["totals"]["delta"]["rss_kib"] < 0
    text = ask("compare", "web1@latest~4", "web2@latest").ok().out
    assert "redis-server 14378 on web2: Rss +13.6 MiB against 14378 on web1" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_three_hosts_side_by_side(ask: Asked) -> None:
    value = ask("compare", "db1@latest", "web1@latest", "web2@latest", "--format", "json").json
    assert [snapshot["host"] for snapshot in value["snapshots"]] == list(HOSTS)
    (service,) = value["services"]
    assert service["host"] == "web2"
    assert [known["match"] for known in service["incarnations"]][1:] == ["restarted", "restarted"]


@pytest.mark.parametrize(
    "arguments", [("compare", "latest~1", "latest"), ("compare", "web1@latest", "latest"), ("export", "latest", "--openmetrics", "-")]
)
def test_what_could_be_of_any_host_is_refused(ask: Asked, arguments: tuple[str, ...]) -> None:
    ask(*arguments).refused("could be of 3 hosts: say which with --host NAME, or with HOST@WHEN")


def test_since_when_of_which_host(ask: Asked) -> None:
    ask("leaks", "--since", "latest~3").refused("'latest~3' counts the snapshots of 3 hosts")
    assert len(rows(ask("export", "--since", "web1@latest~1", "--table", "snapshots"))) == 5
    assert len(rows(ask("export", "--since", "latest~1", "--host", "web1", "--table", "snapshots"))) == 2


def test_which_host_is_said(ask: Asked) -> None:
    assert "on web2" in ask("show", "latest", "--by", "family").ok().out
    for command in ("snapshots", "processes"):
        lines = ask(command).ok().out.splitlines()
        assert "Host" in lines[0]
        assert all(any(f" {host} " in line for host in HOSTS) for line in lines[1:])
        assert "Host" not in ask(command, "--host", "web1").ok().out
    assert all(f"on {host}" in ask("history", "--family", "anon").ok().out for host in HOSTS)
    assert all(f"on {host}" in ask("leaks", "--top", 0).ok().out for host in HOSTS)
    assert 'host="web1"' in ask("export", "web1@latest", "--openmetrics", "-").ok().out


def test_a_file_comes_before_a_host(ask: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = ask("show", "1", "--format", "smaps").ok().stdout
    (tmp_path / "web1@latest").write_bytes(text)
    assert ask("show", "web1@latest", "--format", "json").json["snapshot"]["source"] == "web1@latest"
    (tmp_path / "web1@latest").unlink()
    assert ask("show", "web1@latest", "--format", "json").json["snapshot"]["id"] == 17


def test_hosts(ask: Asked) -> None:
    value = ask("hosts", "--format", "json").json
    assert [(row["host"], row["snapshots"], row["processes"], row["last"]["id"]) for row in value["hosts"]] == [
        ("db1", 6, 1, 16),
        ("web1", 6, 1, 17),
        ("web2", 6, 1, 18),
    ]
    assert {row["gap_us"] for row in value["hosts"]} == {HOUR_US}
    lines = ask("hosts").ok().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[-1] for line in lines[:4]] == ["Host", *HOSTS]
    assert [row["host"] for row in rows(ask("hosts", "--sort", "last", "--top", 1, "--format", "csv"))] == ["db1"]
    assert "2 hosts not shown" in ask("hosts", "--top", 1).out
    ask("hosts", "--sort", "age").refused("--sort age: one of name, last, lag")


def test_an_empty_store_has_no_hosts(run: Runner) -> None:
    assert "no host: the store is empty" in run.here("hosts").ok().out
    assert run.here("hosts", "--format", "json").json["hosts"] == []


def test_hostile_names(run: Runner, store: Store, location: str, fleet: Sequence[Snapshot]) -> None:
    """A host may be called anything: nothing of it reaches the terminal, and no cell begins a formula."""
    store.write_all(s._replace(ref=s.ref._replace(host=f"\x1b[31m={s.ref.host}\n")) for s in fleet)
    for command in ("hosts", "snapshots", "processes"):
        shown = run.here("--db", location, command, store=False).ok().out
        assert "\x1b" not in shown
        assert len(shown.splitlines()) < 25
    said = run.here("--db", location, "show", "--host", "x\x1b", store=False)
    said.refused(r"no host 'x\x1b': the store has \x1b[31m=db1\x0a")
    with pmapdiff.open(location) as opened:
        assert "\x1b" not in opened.hosts().html() + repr(opened.hosts())


def test_a_recorder_prunes_its_own_host_alone(run: Runner, store: Store, location: str, fleet: Sequence[Snapshot]) -> None:
    store.write_all(fleet)
    run.here("--db", location, "record", "--pid", os.getpid(), "--keep-last", 1, store=False).ok()
    run.here("--db", location, "record", "--pid", os.getpid(), "--keep-last", 1, store=False).ok()
    own = os.uname().nodename
    assert {row.host: row.snapshots for row in Store.open(location).hosts()} == {own: 1, **dict.fromkeys(HOSTS, 6)}
