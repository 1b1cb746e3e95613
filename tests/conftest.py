"""Fixed surroundings for every test, and the command line to run in them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import URL, Dialect, Engine, create_engine

import pmapdiff.store.engine
from pmapdiff.store import Store

sys.path.insert(0, str(Path(__file__).parent))

from backends import Backend, Cluster, Files, running_cluster
from programs import Runner, Target
from programs.kept import Kept
from programs.schedulers import CronDaemon, missing

# For property tests that do not say how many examples they want: the same ones each time, and however busy the machine is.
settings.register_profile("suite", max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

pytest.register_assert_rewrite("laws", "ground_truth")

SURROUNDINGS = {"COLUMNS": "80", "NO_COLOR": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
# What a developer's own shell may bring along. Bytecode is for speed: pmapdiff is started some hundred times.
UNWANTED = ("PMAPDIFF_DB", "PMAPDIFF_BUCKETS", "XDG_STATE_HOME", "PYTHONDONTWRITEBYTECODE", "FORCE_COLOR", "PYTHONSAFEPATH")


@pytest.fixture(scope="session", autouse=True)
def statements_compiled_once() -> Iterator[None]:
    """Every store has an engine of its own, and every engine would compile the same statements anew: most of what a short test does."""
    dialects: dict[str, Dialect] = {}
    compiled: dict[object, object] = {}

    def engine(url: str | URL, **options: Any) -> Engine:
        made = create_engine(url, execution_options={"compiled_cache": compiled}, **options)
        known = dialects.get(made.url.drivername)
        # One that was never connected knows nothing of its server, and an engine only tells its own.
        if known is not None and known.server_version_info is not None:
            made.dialect = known
        else:
            dialects[made.url.drivername] = made.dialect
        return made

    with mock.patch.object(pmapdiff.store.engine, "create_engine", engine):
        yield


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {**SURROUNDINGS, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    for name in UNWANTED:
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def bare(tmp_path: Path) -> Runner:
    """The command line, where there is no store yet."""
    return Runner(tmp_path / "store" / "test.db")


@pytest.fixture
def run(bare: Runner, files: Files) -> Runner:
    """The command line, on an empty store of this test alone: to have it made takes longer than most of what a test does with it."""
    bare.db.parent.mkdir(mode=0o700)
    files.copy(bare.db)
    return bare


@pytest.fixture
def target() -> Iterator[Target]:
    """A process that does what it is told."""
    with Target() as program:
        yield program


@pytest.fixture
def other() -> Iterator[Target]:
    """Another one."""
    with Target() as program:
        yield program


@pytest.fixture
def kept(run: Runner, target: Target) -> Kept:
    """A store with one labelled snapshot of the target."""
    return Kept(run, target)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """PostgreSQL, started when the first test asks for it."""
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """What makes fresh stores: a test that asks for it runs on both databases."""
    found: Backend = request.getfixturevalue("files" if request.param == "sqlite" else "cluster")
    return found


@pytest.fixture
def location(backend: Backend) -> Iterator[str]:
    """An empty store of this test alone."""
    with backend.fresh() as fresh:
        yield fresh


@pytest.fixture
def store(location: str) -> Store:
    """The same, open to be written."""
    return Store.open(location, write=True)


@pytest.fixture(scope="session", autouse=True)
def no_left_overs() -> Iterator[None]:
    """Whatever a test starts, it also ends: at the end of the run this process has no children."""
    yield
    try:
        left = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        return
    raise AssertionError(f"a child process was left behind: {left}")


_CRON_DAEMON = pytest.StashKey[CronDaemon | str]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for the cron daemon comes last: until then it has done most of its two minutes."""
    items.sort(key=_waits_for_cron)


def _waits_for_cron(item: pytest.Item) -> bool:
    return "cron_daemon" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session", autouse=True)
def early_cron_daemon(request: pytest.FixtureRequest, no_left_overs: None) -> Iterator[None]:  # noqa: ARG001 - it looks after this one, too
    """Start the cron daemon before everything else, if any test of this run is about it."""
    stash = request.session.stash
    if not any(map(_waits_for_cron, request.session.items)):
        yield
        return
    reason = missing("cron", "crontab", "/usr/sbin/cron")
    if reason is not None:
        stash[_CRON_DAEMON] = reason
        yield
        return
    daemon = stash[_CRON_DAEMON] = CronDaemon()
    yield
    daemon.close()


@pytest.fixture
def cron_daemon(request: pytest.FixtureRequest) -> CronDaemon:
    """A cron daemon that has run since the start of the session."""
    daemon = request.session.stash[_CRON_DAEMON]
    if isinstance(daemon, str):
        pytest.skip(daemon)
    return daemon
