"""`import pmapdiff`: the same answers as the commands, typed, light to import, harmless in a notebook."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, assert_type

import leak_results
import odd_store
import pytest
from pandas import DataFrame
from programs import Runner

import pmapdiff
from pmapdiff.model import Mapping, SnapshotRef
from pmapdiff.report import View, forms_of
from pmapdiff.report.page import html_of

ROOT = Path(__file__).resolve().parents[2]
REDIS = ROOT / "sample_snapshots" / "redis.db"
ORDERS = ROOT / "sample_snapshots" / "orders.db"
SERIES = ROOT / "sample_snapshots" / "redis-series"
START, LOADED = SERIES / "01-start.smaps", SERIES / "05-loaded.smaps"


@pytest.fixture
def store() -> Iterator[pmapdiff.Store]:
    with pmapdiff.open(REDIS) as opened:
        yield opened


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> str:
    return odd_store.write(tmp_path_factory.mktemp("odd") / "odd.db")


def printed(monkeypatch: pytest.MonkeyPatch, *arguments: object, width: int | None = None) -> str:
    """What a command prints into a pipe."""
    monkeypatch.setenv("COLUMNS", "" if width is None else str(width))
    return Runner(Path("/nowhere")).here(*arguments, store=False).ok().out


Ask = Callable[[pmapdiff.Store], Any]
# A command, and the same in Python.
SAME: dict[str, tuple[list[str], Ask]] = {
    "snapshots": (["snapshots", "--top", "0"], lambda s: s.snapshots()),
    "processes": (["processes", "--top", "0"], lambda s: s.processes()),
    "snapshots of a host": (["snapshots", "--top", "0", "--host", "*"], lambda s: s.snapshots(host="*")),
    "processes of hosts": (["processes", "--top", "0", "--host", "?*", "--host", "*"], lambda s: s.processes(host=["?*", "*"])),
    "compare on a host": (["compare", "first", "latest", "--host", "*"], lambda s: s.compare("first", "latest", host="*")),
    "show": (["show", "latest"], lambda s: s.tables("latest")),
    "show by family": (["show", "latest", "--by", "family"], lambda s: s.tables()),
    "compare": (["compare", "first", "latest"], lambda s: s.compare("first", "latest")),
    "compare by family": (["compare", "1", "latest", "--by", "family"], lambda s: s.compare(1, "latest")),
    "compare by process": (["compare", "1", "latest", "--by", "process", "--sort", "size"], lambda s: s.compare(1, "latest")),
    "compare, some": (["compare", "first", "latest", "--threshold", "64K", "--top", "2"], lambda s: s.compare("first", "latest")),
    "compare three": (["compare", "first", "latest~1", "latest", "--sort", "rss"], lambda s: s.compare("first", "latest~1", "latest")),
    "history": (["history", "--family", "anon"], lambda s: s.history(family="anon")),
    "history by family": (["history", "--since", "first", "--by", "family"], lambda s: s.history(since="first")),
    "leaks": (["leaks", "--within", "5h"], lambda s: s.leaks(within="5h")),
    "leaks of one": (["leaks", "--until", "latest", "--name", "."], lambda s: s.leaks(until="latest", name=".")),
}


def look_of(words: list[str]) -> dict[str, Any]:
    """The options that say how to look at a result, as words of Python."""
    known = {"--by": str, "--sort": str, "--threshold": str, "--top": int}
    found = {word[2:]: known[word](words[place + 1]) for place, word in enumerate(words) if word in known}
    return {} if words[0] in ("snapshots", "processes") else found


@pytest.mark.parametrize("db", [REDIS, ORDERS], ids=["redis", "orders"])
@pytest.mark.parametrize("name", SAME)
def test_every_form_is_what_the_command_prints(db: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, ask = SAME[name]
    look = look_of(words)
    with pmapdiff.open(db) as opened:
        found = ask(opened)
        subject = found._subject
        for form in {"json", "csv", "markdown"} & set(forms_of(subject)):
            assert getattr(found, form)(**look) == printed(monkeypatch, "--db", db, *words, "--format", form)
        for width in (None, 80, 160):
            assert found.text(width=width, **look) == printed(monkeypatch, "--db", db, *words, width=width)
        frame = found.frame(**look)
        assert list(frame.columns) == found.csv(**look).split("\n", 1)[0].split(",")
        assert len(frame) == found.csv(**look).count("\n") - 1
        assert found.data(**look)["schema"].startswith("pmapdiff.")


def test_a_table_is_its_mappings(store: pmapdiff.Store) -> None:
    table = store.table("loaded", name="redis")
    assert_type(table[0], Mapping)
    assert len(table) == len(list(table)) == len(table.families()) == 117
    assert [mapping.start for mapping in table] == sorted(mapping.start for mapping in table)
    assert (table.snapshot.label, table.process.name, table.capture.status) == ("loaded", "redis-server", "complete")
    frame = table.frame()
    assert_type(frame, DataFrame)
    assert table.totals is not None
    for figure in ("size_kib", "rss_kib", "footprint_kib"):
        assert sum(mapping.get(figure) or 0 for mapping in table) == frame[figure].sum() == table.totals.get(figure)
    assert list(frame["family"]) == table.families()
    assert str(frame["rss_kib"].dtype) == "Int64"
    assert list(table[:2]) == [table[0], table[1]]
    assert table.frame(by="family")["rss_kib"].sum() == frame["rss_kib"].sum()


def test_what_is_missing_is_missing() -> None:
    table = pmapdiff.table(ROOT / "sample_snapshots" / "redis-1100.pmap-x.txt")
    assert table[0].get("pss_kib") is None
    assert table.frame()["pss_kib"].isna().all()


def test_a_comparison_is_the_frozen_result(store: pmapdiff.Store) -> None:
    diff = store.compare("start", "loaded")
    assert_type(diff, pmapdiff.Diff)
    assert (diff.before.label, diff.after.label) == ("start", "loaded")
    (process,) = diff.processes
    assert diff.frame()["rss_kib"].sum() == process.get("rss_kib") == diff.data()["processes"][0]["totals"]["delta"]["rss_kib"]
    assert diff.changed()
    assert diff.changed("8M")
    assert not diff.changed("1G")
    assert not store.compare("start", "start").changed()


def test_a_series_is_of_more_than_two(store: pmapdiff.Store) -> None:
    series = store.compare("start", "loading-50", "loaded")
    assert_type(series, pmapdiff.Series)
    assert [ref.label for ref in series.snapshots] == ["start", "loading-50", "loaded"]
    assert {*series.frame()["snapshot_id"]} == {1, 3, 5}
    assert series.markdown().startswith("|") or "|" in series.markdown()


def test_leaks_of_the_sample() -> None:
    with pmapdiff.open(ORDERS) as opened:
        leaks = opened.leaks()
        assert [suspect.process.name for suspect in leaks.growing] == ["orders"]
        assert leaks.urgent == leaks.growing
        assert leaks[0].findings[0].name == "[heap]"
        assert leaks.frame()["verdict"].tolist() == [row["verdict"] for row in leaks.data()["processes"]]
        log = ROOT / "sample_snapshots" / "orders"
        killed = opened.leaks(oom_log=next(path for path in sorted(log.iterdir()) if "kern" in path.name or "oom" in path.name))
        assert killed[0].end is not None


@pytest.mark.parametrize(
    "when",
    [
        5,
        "5",
        "#5",
        "loaded",
        "latest~2",
        datetime(2026, 11, 23, 3, 8, 14, 500_000, tzinfo=UTC),
        datetime(2026, 11, 23, 3, 8, 14, 500_000),
        SnapshotRef(5, 0, "vm"),
        LOADED,
        str(LOADED),
    ],
    ids=str,
)
def test_every_way_to_say_when(store: pmapdiff.Store, when: Any) -> None:
    assert store.compare("start", when, same=True).processes[0].get("rss_kib") == 18528


def test_a_path_is_a_file_whatever_it_is_called(store: pmapdiff.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "latest").write_bytes(START.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert store.table(Path("latest")).snapshot.id is None
    assert store.table("latest").snapshot.id == 7


def test_saved_files_need_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMAPDIFF_DB", str(tmp_path / "none.db"))
    diff = pmapdiff.compare(START, LOADED)
    assert diff.processes[0].get("rss_kib") == 18528
    assert len(pmapdiff.tables(START)) == 1
    assert pmapdiff.compare(START, LOADED, START).frame()["rss_kib"].notna().any()
    with pytest.raises(pmapdiff.NotFoundError, match=r"none\.db"):
        pmapdiff.compare("start", "loaded")
    assert not (tmp_path / "none.db").exists()


def test_without_a_location_it_is_the_store_of_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMAPDIFF_DB", str(REDIS))
    assert pmapdiff.open().location == str(REDIS)
    assert len(pmapdiff.table("loaded")) == 117


def test_a_store_that_was_closed_opens_again(store: pmapdiff.Store) -> None:
    store.close()
    store.close()
    assert len(store.snapshots(2)) == 2


def test_errors_say_what_to_do(store: pmapdiff.Store, odd: str, tmp_path: Path) -> None:
    for wrong, kind, words in (
        (lambda: pmapdiff.open(tmp_path / "none.db"), pmapdiff.NotFoundError, "none.db"),
        (lambda: store.compare("nope", "latest"), pmapdiff.NotFoundError, "no label 'nope'"),
        (lambda: store.table(1, name="nope"), pmapdiff.NotFoundError, "snapshot 1 has no process that matches --name nope"),
        (lambda: store.table(name="("), pmapdiff.UsageError, "no regular expression"),
        (lambda: pmapdiff.open(odd).table(), pmapdiff.UsageError, "say which by pid"),
        (lambda: pmapdiff.open(odd).table(8, pid=4_194_300), pmapdiff.NotFoundError, "denied"),
        (lambda: pmapdiff.table(REDIS), pmapdiff.FormatError, "redis.db"),
        (lambda: store.compare("start", "loaded").text(by="nothing"), pmapdiff.UsageError, "one of region, family, process"),
        (lambda: store.compare("start", "loaded").text(threshold="much"), pmapdiff.UsageError, "no size"),
        (lambda: store.table().text(sort="nothing"), pmapdiff.UsageError, "--sort"),
        (lambda: store.history("nothing"), pmapdiff.NotFoundError, "no region nothing"),
        (lambda: store.leaks(family="nothing"), pmapdiff.UsageError, "one of heap"),
        (lambda: store.snapshots().text(by="family"), TypeError, "takes no 'by': one of none"),
        (lambda: store.compare(pmapdiff.table(START).snapshot, "latest"), pmapdiff.UsageError, "give its path"),
    ):
        with pytest.raises(kind, match=re.escape(words)) as caught:
            wrong()
        assert kind is TypeError or isinstance(caught.value, pmapdiff.PmapdiffError)


def test_what_is_wrong_with_a_file_is_a_warning_at_the_line_that_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "two.txt"
    moment = b"Mon Nov 23 03:00:%02d UTC 2026\n"
    file.write_bytes(b"".join(moment % n + START.read_bytes() for n in (1, 2)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pmapdiff.tables(file)
    assert [(w.category, w.filename) for w in caught] == [(pmapdiff.PmapdiffWarning, __file__)] * len(caught)
    assert any("it holds 2 moments" in str(w.message) for w in caught)


class Tags(HTMLParser):
    """What a browser would see: the elements and their attributes, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, frozenset[str]]] = []
        self.open: list[str] = []
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, frozenset(name for name, _ in attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def inert(html: str) -> str:
    """The text of HTML that can do nothing."""
    tags = Tags()
    tags.feed(html)
    tags.close()
    assert not tags.open
    assert {tag for tag, _ in tags.elements} <= {"div", "table", "thead", "tbody", "tr", "th", "td"}
    assert {name for _, names in tags.elements for name in names} <= {"style", "class", "colspan"}
    assert "url(" not in html
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e]", html)
    return " ".join(tags.said)


def test_a_notebook_shows_the_report_and_nothing_can_break_out_of_it(odd: str) -> None:
    with pmapdiff.open(odd) as opened:
        results = (
            *(opened, opened.snapshots(), opened.processes(), opened.tables(), opened.tables()[0], opened.leaks(), opened.history(pid=4_194_304)),
            *(opened.compare("first", "latest"), opened.compare(1, 2, 3), opened.history(), opened.leaks(pid=4_194_303)),
        )
        said = []
        for result in results:
            bundle = result._repr_mimebundle_()
            assert bundle["text/html"] == result._repr_html_()
            said.append(inert(bundle["text/html"]))
            assert "\x1b" not in bundle["text/plain"]
            assert "\n" not in repr(result)
            assert "\x1b" not in repr(result)
            assert len(repr(result)) > 10
        assert sum("<script>alert(1)</script>" in text for text in said) >= 2
        for form in (opened.compare(1, 2).html(by="family"), opened.tables().html(explain=True, top=3), opened.compare(1, 2, 3).html(by="process")):
            inert(form)


def test_html_of_leaks_says_what_the_text_says() -> None:
    for leaks in (leak_results.one(), leak_results.many()):
        said = inert(html_of("leaks", leaks, View()))
        assert "+57.0 " in said
        assert leak_results.heap().evidence[0] in said


def test_html_says_what_the_text_says(store: pmapdiff.Store) -> None:
    for result in (store.compare("start", "loaded"), store.snapshots(), store.history(), store.compare(1, 2, 3), store.table(), store.leaks()):
        said = " ".join(inert(result.html()).split())
        for word in result.text().split():
            assert word in said or not word.strip("─▁▂▃▄▅▆▇█"), word


def test_a_long_table_is_cut_in_a_notebook(store: pmapdiff.Store) -> None:
    assert store.table()._repr_html_().count("<tr>") < 40
    assert store.table().html().count("<tr>") > 117


NAMES = [name for name in pmapdiff.__all__ if name != "__version__"]
FRESH = """
import sys
before = set(sys.modules)
import pmapdiff
assert "open" in dir(pmapdiff) and "Store" in dir(pmapdiff)
light = {name.partition(".")[0] for name in set(sys.modules) - before} - {"pmapdiff", "__future__", "importlib", "types", "typing"}
print(sorted(light - set(sys.stdlib_module_names)), sorted(name for name in sys.modules if name.startswith("pmapdiff.")))
"""


def fresh(code: str) -> str:
    """What a new Python prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_loads_nothing() -> None:
    assert fresh(FRESH) == "[] []\n"


def test_objects_need_neither_pandas_nor_scipy() -> None:
    code = f"""
import sys, pmapdiff
with pmapdiff.open({str(REDIS)!r}) as store:
    store.snapshots().text(), store.table("latest").json(), store.compare("start", "loaded")._repr_html_(), store.history().text()
print(sorted({{"pandas", "numpy", "scipy", "alembic", "typer"}} & set(sys.modules)))
"""
    assert fresh(code) == "[]\n"


@pytest.mark.parametrize("first", ["import pmapdiff.compare", "from pmapdiff.compare import Comparison", "import pmapdiff; pmapdiff.compare", "pass"])
def test_compare_is_the_function_whoever_came_first(first: str) -> None:
    code = f"{first}\nimport pmapdiff\nfrom pmapdiff.compare import Comparison\nimport pmapdiff.compare.build\nprint(pmapdiff.compare.__qualname__)"
    assert fresh(code) == "compare\n"
    assert fresh(f"{first}\nfrom pmapdiff import compare\nprint(compare.__qualname__)") == "compare\n"


def test_all_names_are_there_and_no_others() -> None:
    assert sorted(pmapdiff.__all__) == list(pmapdiff.__all__) or sorted(pmapdiff.__all__, key=str.lower)
    for name in NAMES:
        assert callable(getattr(pmapdiff, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pmapdiff.nothing  # type: ignore[attr-defined] # noqa: B018


def test_every_name_and_column_is_documented(odd: str) -> None:
    page = (ROOT / "docs" / "python.md").read_text()
    assert all(re.search(rf"\b{name}\b", page) for name in ("open", "compare", "table", "tables", *(name for name in NAMES if "Error" in name)))
    methods = {name for name in vars(pmapdiff.Store) if not name.startswith("_")} - {"location"}
    assert all(f"{name}(" in page for name in methods)
    words = set(re.findall(r"`([^`\s]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL)))
    exported = set(re.findall(r"`([^`\s]+)`", (ROOT / "docs" / "export.md").read_text() + (ROOT / "docs" / "sql.md").read_text()))
    with pmapdiff.open(odd) as opened:
        frames = [
            *(opened.snapshots().frame(), opened.history().frame(), opened.leaks().frame()),
            *(opened.compare(1, 2).frame(by=by, explain=True) for by in ("region", "family", "process")),
            opened.tables().frame(by="family", explain=True),
        ]
        assert all(len(frame) for frame in frames)
        assert {name for frame in frames for name in frame.columns} - words - {name for name in exported if name.endswith("_kib")} == set()
        ends = {re.sub("_kib_(first|last)$", "_kib", name) for name in opened.processes().frame().columns}
        assert ends - words - exported == set()
        assert {*opened.tables().frame().columns} - exported - words == set()


def test_moments_are_aware(store: pmapdiff.Store) -> None:
    taken = store.snapshots().frame()["taken_at"]
    assert str(taken.dtype).endswith("UTC]")
    assert taken.iloc[-1] - taken.iloc[0] > timedelta(seconds=10)


def test_a_report_is_what_the_command_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = ROOT / "sample_snapshots" / "orders" / "oom.log"
    svg, png, page = (tmp_path / name for name in ("a.svg", "a.png", "a.html"))
    printed(monkeypatch, "--db", ORDERS, "report", "--pid", 18958, "--oom-log", log, "--svg", svg, "--png", png, "-o", page, "--redact")
    with pmapdiff.open(ORDERS) as opened:
        report = opened.report(pid=18958, oom_log=log, redact=True)
        assert_type(report, pmapdiff.Report)
        assert report.svg() == svg.read_text().removesuffix("\n") + "\n"
        assert report.png() == png.read_bytes()
        # When it was made, and numbers that the renderer counts on from picture to picture.
        made = re.compile(r"made by pmapdiff [^<]*|clip\d+")
        assert made.sub("", report.page()) == made.sub("", page.read_text())
        assert repr(report).startswith("<Report: orders 18958: growing: [heap]")
        shown = report._repr_mimebundle_()
        assert shown.keys() == {"text/plain", "image/svg+xml"}
        assert shown["image/svg+xml"] == report.svg()
        with pytest.raises(pmapdiff.UsageError, match="one of timeline, space, treemap"):
            report.svg("pie")
        with pytest.raises(pmapdiff.UsageError, match="not both"):
            opened.report("first", "latest", since="first")
    assert pmapdiff.Store("no-such").report(START, LOADED).content.pair == (0, 1)
