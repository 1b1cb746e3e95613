"""The documents cannot lie: help, queries, sessions, links, columns and fields are checked against the tool."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from programs import Runner

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"


def _load_embed() -> Any:
    spec = importlib.util.spec_from_file_location("embed_help", DOCS / "embed_help.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


embed = _load_embed()
PAGES: tuple[Path, ...] = embed.PAGES
COMMANDS: list[str] = embed.commands()
REFRESH = "out of date: run `python docs/embed_help.py`"


@cache
def help_of(command: str) -> str:
    text: str = embed.help_of(command)
    return text


@pytest.fixture(scope="module")
def samples() -> Iterator[Path]:
    with embed.session_folder() as folder:
        yield folder


def page_id(value: object) -> str | None:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else None


def blocks(pattern: re.Pattern[str]) -> list[Any]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(pytest.param(match, id=f"{page.relative_to(ROOT)}:{line}"))
    return found


def page_of(command: str) -> Path:
    """Where a command is documented: a page for each, on which its subcommands stand too."""
    return DOCS / "commands" / f"{command.split()[0] if command else 'index'}.md"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_page(command: str) -> None:
    page = page_of(command)
    assert page.exists(), f"write {page.relative_to(ROOT)}, with <!-- help: {command} -->, an empty text block and <!-- end -->: docs/extending.md"
    assert command in [match["command"] for match in embed.HELP.finditer(page.read_text())]


def test_no_command_is_documented_that_is_not_there() -> None:
    documented = [match["command"] for page in PAGES for match in embed.HELP.finditer(page.read_text())]
    assert sorted(documented) == COMMANDS
    assert {page.name for page in (DOCS / "commands").glob("*.md")} == {page_of(command).name for command in COMMANDS}


@pytest.mark.parametrize("match", blocks(embed.HELP))
def test_embedded_help_is_the_real_help(match: re.Match[str]) -> None:
    assert match["text"] == help_of(match["command"]), REFRESH


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command: str) -> None:
    assert re.search(r"^ *Examples?:\n +pmapdiff ", help_of(command), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_its_columns(command: str) -> None:
    assert max(map(len, help_of(command).splitlines())) <= 80


@pytest.mark.parametrize("match", blocks(embed.RESULT))
def test_query_gives_the_result_that_is_shown(match: re.Match[str], samples: Path) -> None:
    assert embed.RESULT.fullmatch(embed.refreshed(match[0], samples))["text"] == match["text"], REFRESH


@pytest.mark.parametrize("match", blocks(re.compile(r"^```sql\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)))
def test_every_query_runs(match: re.Match[str], samples: Path) -> None:
    assert embed.sql_table(match["code"], samples)


@pytest.mark.parametrize("match", [param for param in blocks(embed.CONSOLE) if embed.is_session(param.values[0]["text"])])
def test_session_prints_what_is_shown(match: re.Match[str], samples: Path) -> None:
    assert embed.run_session(match["text"], samples) == match["text"], REFRESH


def test_there_is_something_to_check() -> None:
    assert len(blocks(embed.RESULT)) >= 6
    readme = (ROOT / "README.md").read_text()
    assert len([match for match in embed.CONSOLE.finditer(readme) if embed.is_session(match["text"])]) >= 3


def mentioned_commands() -> list[Any]:
    """The pmapdiff command lines in all code blocks of all pages."""
    found = []
    for page in PAGES:
        fenced = False
        for number, line in enumerate(page.read_text().splitlines(), 1):
            fenced ^= line.startswith("```")
            match = re.match(r" *(?:\$ )?(pmapdiff .*)", line) if fenced else None
            if match is not None:
                found.append(pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{number}"))
    return found


@pytest.mark.parametrize("line", [param for param in mentioned_commands() if "..." not in str(param.values[0])])
def test_commands_in_code_blocks_exist(line: str) -> None:
    words = shlex.split(line.split("|")[0], comments=True)[1:]
    if words[:1] == ["--db"]:
        words = words[2:]
    if not words or words[0].startswith("-"):
        command = ""
    else:
        command = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    assert command in COMMANDS
    own = words[: words.index("--")] if "--" in words else words
    options = {word.split("=")[0] for word in own if re.fullmatch(r"--[a-z-]+(=.*)?", word)}
    known = set(re.findall(r"--[a-z-]+", help_of(command)))
    assert options <= known


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or not file.is_relative_to(ROOT) or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def test_every_page_is_linked_from_the_index() -> None:
    """For who reads them on a Git host; the navigation of the site is checked where it is built."""
    for folder in {page.parent for page in DOCS.rglob("*.md")}:
        index = (folder / "index.md").read_text()
        assert not [page.name for page in folder.glob("*.md") if page.name != "index.md" and f"({page.name})" not in index]
        assert folder == DOCS or f"({folder.relative_to(DOCS)}/index.md)" in (DOCS / "index.md").read_text()


def code_words(page: Path) -> set[str]:
    return set(re.findall(r"`([^`\s]+)`", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)))


@pytest.mark.parametrize("view", ["mapping_table", "process_table"])
def test_every_column_of_a_view_is_documented(view: str, samples: Path) -> None:
    with closing(sqlite3.connect(samples / "sample_snapshots" / "redis.db")) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({view})")]
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    words = code_words(DOCS / "sql.md")
    assert len(columns) > 20
    assert not [name for name in columns + tables if name not in words]


def property_names(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties":
                yield from value
            yield from property_names(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from property_names(item)


def test_every_field_of_the_json_is_documented() -> None:
    words = code_words(DOCS / "json.md")
    for path in (ROOT / "pmapdiff" / "report" / "schemas").glob("*.json"):
        assert f"../pmapdiff/report/schemas/{path.name}" in (DOCS / "json.md").read_text()
        assert not sorted({name for name in property_names(json.loads(path.read_text())) if name not in words})


def test_every_form_family_status_and_word_is_documented() -> None:
    from pmapdiff.align import FAMILIES, Match
    from pmapdiff.compare import KINDS
    from pmapdiff.formats import all_forms
    from pmapdiff.model import Status

    assert set(all_forms()) <= code_words(DOCS / "formats.md")
    assert {*FAMILIES, *KINDS, *(match.value for match in Match), *(status.value for status in Status)} <= code_words(DOCS / "concepts.md")


def test_every_verdict_and_figure_of_leaks_is_documented() -> None:
    from pmapdiff.analyse.result import Figure, Verdict

    assert {verdict.value for verdict in Verdict} <= code_words(DOCS / "commands" / "leaks.md")
    assert {*(verdict.value for verdict in Verdict), *(figure.value for figure in Figure)} <= code_words(DOCS / "json.md")


def test_every_column_and_metric_of_an_export_is_documented(samples: Path) -> None:
    from pmapdiff.model import COUNTERS, FIGURES
    from pmapdiff.report import View, forms_of
    from pmapdiff.report.flat import TABLES

    words = code_words(DOCS / "export.md")
    columns = {name for table in TABLES.values() for name in table.columns(View())}
    # Those are described with the view.
    figures = {*FIGURES, *(counter.attribute for counter in COUNTERS)}
    assert not sorted(columns - figures - words)
    assert figures <= code_words(DOCS / "sql.md")
    assert {*TABLES} <= words
    text = (DOCS / "export.md").read_text()
    assert all(f"--format {form}" in text or f".{form}" in text for form in forms_of("export"))
    metrics = embed.run_session("$ pmapdiff --db sample_snapshots/redis.db export loaded --openmetrics -\n", samples)
    names = set(re.findall(r"^# TYPE (\w+) gauge$", metrics, re.MULTILINE))
    assert len(names) > 15
    assert not sorted(names - words)


def test_every_column_of_a_lake_is_documented() -> None:
    from pmapdiff.lake.schema import SCHEMAS
    from pmapdiff.model import COUNTERS, FIGURES

    sections = re.split(r"^### ", (DOCS / "lake.md").read_text(), flags=re.MULTILINE)
    figures = {*FIGURES, *(counter.attribute for counter in COUNTERS)}
    for dataset, schema in SCHEMAS.items():
        (section,) = (text for text in sections if text.startswith(f"{dataset}\n"))
        words = set(re.findall(r"`([^`\s]+)`", section))
        assert not sorted(set(schema.names) - figures - words)


def test_the_page_on_families_has_every_family() -> None:
    from pmapdiff.align import FAMILIES

    assert set(FAMILIES) <= code_words(DOCS / "families.md")


def test_form_in_the_guide_works() -> None:
    text = (DOCS / "extending.md").read_text()
    code = next(code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "register(Form(" in code)
    from pmapdiff.errors import FormatError
    from pmapdiff.formats import base

    known = dict(base.all_forms())
    try:
        exec(compile(code, "extending.md", "exec"), {})
        (table,) = base.parse_saved(b"numbers 1\n1000 3000\n5000 6000\n", "example")
        assert (table.form, [mapping.size_kib for mapping in table.table.mappings]) == ("numbers", [8, 4])
        with pytest.raises(FormatError, match="example:2: not two addresses"):
            base.parse_saved(b"numbers 1\noops\n", "example")
    finally:
        base._FORMS.clear()
        base._FORMS.update(known)


def test_report_in_the_guide_works(run: Runner) -> None:
    text = (DOCS / "extending.md").read_text()
    code = next(code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if '@register("compare"' in code)
    from pmapdiff.report import base

    try:
        exec(compile(code, "extending.md", "exec"), {})
        store = ["--db", ROOT / "sample_snapshots/redis.db"]
        result = run.here(*store, "compare", "first", "loaded", "--format", "headline", store=False)
        assert re.fullmatch(r"\d+ \d+\n", result.out), result
    finally:
        base._REPORTS.pop(("compare", "headline"), None)


def test_series_is_what_the_database_holds() -> None:
    from pmapdiff.formats.smaps import render_smaps
    from pmapdiff.store import Store

    folder = ROOT / "sample_snapshots"
    store = Store.open(str(folder / "redis.db"))
    labels = []
    for path in sorted(folder.glob("redis-series/*.smaps")):
        label = path.stem.partition("-")[2]
        (capture,) = store.load(store.resolve(label)).captures
        assert capture.table is not None
        assert render_smaps(capture.table.mappings) == path.read_bytes()
        labels.append(label)
    assert labels == [summary.ref.label for summary in store.snapshots()]
    assert all(f"`{label}`" in (folder / "README.md").read_text() for label in labels)


def test_reading_the_sample_database_leaves_it_alone() -> None:
    path = ROOT / "sample_snapshots" / "redis.db"
    before = path.read_bytes()
    embed.run_session(f"$ pmapdiff --db {path} compare first latest\n", ROOT)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("redis.db?*"))
    assert len(before) < 300_000


def test_documents_name_no_machine() -> None:
    for page in (*PAGES, ROOT / "CHANGELOG.md"):
        assert not re.search(r"/(home|root)/[a-z]", page.read_text()), page


def test_json_schema_snippet_works() -> None:
    code = re.search(r"```python\n(.*?)```", (DOCS / "json.md").read_text(), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)
    assert names["schema"]["properties"]["schema"] == {"const": "pmapdiff.compare/1"}


def pmap_table() -> list[Any]:
    """The commands in the second column of the tables for users of pmap."""
    rows = re.findall(r"^\| `.*?` \| `(pmapdiff .*?)` \|", (DOCS / "pmap.md").read_text(), re.MULTILINE)
    return [pytest.param(command, id=command) for command in rows]


@pytest.mark.parametrize("command", pmap_table())
def test_what_users_of_pmap_should_type_works(command: str, samples: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = samples / "sample_snapshots"
    monkeypatch.chdir(run.db.parent.parent)
    for name, sample in (("before", "redis-1100.pmap-x.txt"), ("after", "redis-1100.pmap-d.txt"), ("log", "redis-1100.pmap-x.txt")):
        Path(f"{name}.txt").write_bytes((folder / sample).read_bytes())
    if command.split()[1] in {"record", "import"}:
        command = command.replace("--every 2s", "--every 10ms").replace("1100", str(os.getpid()))
    else:
        run.db = folder / "redis.db"
        # The second process of a pair is not in the samples.
        command = command.replace(" --pid 1200", "").replace("1100", "14378")
    assert run.here(*shlex.split(command)[1:]).ok().out


def test_every_option_of_pmap_has_a_row() -> None:
    """Those of procps 4.0.2, and -k, which came later."""
    text = (DOCS / "pmap.md").read_text()
    assert not [option for option in "xXdpqAkcCnNV" if not re.search(rf"`(pmap )?-{option}\b", text)]
    assert "`pmap -XX " in text
    assert len(pmap_table()) >= 20
