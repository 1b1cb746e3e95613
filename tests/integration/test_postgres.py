"""The command line on PostgreSQL: what the store's own tests, which run there too, do not see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from backends import Cluster
from programs import Runner, Target

from pmapdiff.store import Store


@pytest.fixture
def url(cluster: Cluster) -> Iterator[str]:
    """A database of this test alone, with nothing in it yet."""
    with cluster.fresh("template1") as fresh:
        yield fresh


def on(run: Runner, url: str, *args: object) -> bytes:
    return run("--db", url, *args, store=False).ok().stdout


def test_recorded_compared_and_pruned(run: Runner, target: Target, url: str) -> None:
    pid = target.pid
    postgres = url
    for label in ("one", "two"):
        on(run, postgres, "record", "--pid", pid, "--label", label)
    on(run, postgres, "record", "--pid", pid)
    on(run, postgres, "record", "--pid", pid)
    text = on(run, postgres, "show", "one", "--format", "smaps")
    assert text.count(b"VmFlags:") > 10
    assert on(run, postgres, "db", "check") == b"the store is sound\n"
    assert b"no change" in on(run, postgres, "compare", "two", "two")
    assert b"removed 1 snapshot" in on(run, postgres, "prune", "--keep-last", 1)
    assert on(run, postgres, "show", "one", "--format", "smaps") == text
    assert on(run, postgres, "db", "check") == b"the store is sound\n"


def test_recorders_wait_for_each_other(run: Runner, target: Target, url: str) -> None:
    on(run, url, "db", "upgrade")
    with (
        run.started("--db", url, "record", "--pid", target.pid, "--every", "10ms", "--count", "8") as one,
        run.started("--db", url, "record", "--pid", target.pid, "--every", "10ms", "--count", "8") as other,
    ):
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert Store.open(url).count_snapshots() == 16
    assert on(run, url, "db", "check") == b"the store is sound\n"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("?host=", "?host=/nowhere"), "No such file or directory"),
        (("pmapdiff@", "stranger@"), 'role "stranger" does not exist'),
        (("@/", "@/no_"), "does not exist"),
        (("", ""), "run `pmapdiff db upgrade`"),
    ],
    ids=["no server", "no user", "no database", "no store"],
)
def test_what_a_server_refuses_is_one_line(run: Runner, url: str, wrong: tuple[str, str], said: str) -> None:
    run.here("--db", url.replace(*wrong), "snapshots", store=False).refused(said)


def test_a_size_is_refused_before_anything_is_removed(run: Runner, target: Target, url: str) -> None:
    on(run, url, "record", "--pid", target.pid)
    run.here("--db", url, "prune", "--keep-last", 1, "--max-size", "1M", store=False).refused("--max-size is for SQLite")
