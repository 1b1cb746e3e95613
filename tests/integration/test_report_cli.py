"""`report` as it is typed: what it writes where, what it refuses, and how large it gets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from busy import REGIONS, SNAPSHOTS, busy_store
from page_data import packed_in, series_of, snapshots_in
from programs import Runner

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "sample_snapshots"


@pytest.fixture
def orders(run: Runner) -> Runner:
    run.db.parent.mkdir(exist_ok=True)
    shutil.copy(SAMPLES / "orders.db", run.db)
    return run


def test_it_says_what_is_missing(orders: Runner, tmp_path: Path) -> None:
    orders.here("report").refused("--output report.html")
    page = tmp_path / "page.html"
    orders.here("report", "--picture", "pie", "-o", page).refused("timeline, space, treemap")
    orders.here("report", "--picture", "space", "-o", page).refused("give --svg or --png")
    orders.here("report", "-o", page, "--svg", page).refused("another output")
    orders.here("report", "-o", orders.db).refused("is a database")
    table = tmp_path / "table"
    shutil.copy(SAMPLES / "redis-1100.pmap-x.txt", table)
    orders.here("report", table, "-o", table).refused("a file that is read")
    orders.here("report", "--pid", 1 << 70, "-o", page).refused("no process has such a number")
    orders.here("report", "--figure", "uss", "-o", page).refused("footprint, rss, dirty, swap, size, mappings")
    orders.here("report", "first", "latest", "--since", "first", "-o", page).refused("not both")
    orders.here("report", "--name", "no-such-thing", "-o", page).refused("no-such-thing")
    orders.here("report", "--redact-rule", "(", "-o", page).refused("--redact-rule")
    orders.here("report", "first", "-o", page, "--png", tmp_path / "x.png").refused("timeline")
    orders.here("report", "--picture", "space", "--png", tmp_path / "x.png", "--until", "first").refused("choose one process")
    orders.here("report", "-o", tmp_path / "no" / "such" / "folder.html").refused("cannot write")
    assert not list(tmp_path.glob("*.*"))

    assert orders.snapshots()


def test_what_is_asked_for_is_shown_first(orders: Runner, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    orders.here("report", "--figure", "mappings", "-o", page).ok()
    assert [scope["figure"] for scope in packed_in(page)["scopes"]] == ["mappings"] * 4


def test_a_range_a_pair_and_a_process(orders: Runner, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    orders.here("report", "10", "20", "--pid", "18833", "-o", page).ok()
    data = packed_in(page)
    assert data["moments"]["ids"] == list(range(10, 21))
    assert data["pair"] == [0, 10]
    assert [scope["title"] for scope in data["scopes"]] == ["orders 18833"]
    # The later first is the same story.
    orders.here("report", "20", "10", "--process", "18833", "-o", page).ok()
    assert packed_in(page)["moments"]["ids"] == list(range(10, 21))
    # Through its restarts, as elsewhere.
    orders.here("report", "--pid", "18833", "-o", page).ok()
    found = packed_in(page)
    assert [scope["title"] for scope in found["scopes"]] == ["orders 19775"]
    assert len(found["scopes"][0]["starts"]) == 3
    orders.here("report", "--process", "orders", "--process", "nothing else", "--until", "3", "-o", page).ok()
    assert len(packed_in(page)["scopes"]) == 4
    orders.here("report", "5", "-o", page).ok()
    assert packed_in(page)["moments"]["ids"] == [5]


def test_pictures_alone(orders: Runner, tmp_path: Path) -> None:
    for name in ("timeline", "space", "treemap"):
        svg, png = tmp_path / f"{name}.svg", tmp_path / f"{name}.png"
        orders.here("report", "--pid", "18831", "--picture", name, "--svg", svg, "--png", png).ok()
        text = svg.read_text()
        assert text.startswith("<svg")
        # By itself a picture has its colours in it, and says whose it is.
        assert "var(" not in text
        assert "orders 18831" in text
        assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    done = orders.here("report", "--pid", "18831", "--svg", "-").ok()
    assert done.out == (tmp_path / "timeline.svg").read_text()


def test_without_the_extra_it_says_what_to_install(orders: Runner, tmp_path: Path) -> None:
    (tmp_path / "vl_convert.py").write_text("raise ImportError('not here')\n")
    orders.fresh("report", "-o", tmp_path / "page.html", env={"PYTHONPATH": str(tmp_path)}).refused("pip install 'pmapdiff[report]'")


def test_a_page_has_at_most_two_megabytes(run: Runner, tmp_path: Path) -> None:
    run.db.parent.mkdir(exist_ok=True)
    busy_store(str(run.db))
    page = tmp_path / "page.html"
    run.here("report", "-o", page).ok()
    assert page.stat().st_size < 2_000_000
    data = packed_in(page)
    (scope,) = data["scopes"]
    assert snapshots_in(data) == SNAPSHOTS
    assert scope["left_out"] == REGIONS - len(scope["rows"])
    assert len(scope["rows"]) > 50
    # What is left out of the regions is in the sums all the same.
    rss = data["figures"].index("rss")
    sums = [series_of(series, rss, SNAPSHOTS) for _, series in scope["families"]]
    assert [sum(v for v in column if v is not None) for column in zip(*sums, strict=True)] == series_of(scope["totals"], rss, SNAPSHOTS)
