"""Who imports whom, what is loaded when, and that the registries are whole (design.md §3)."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Runner, Target

from pmapdiff.formats import all_forms
from pmapdiff.report import forms_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pmapdiff"
FROZEN = ROOT / "tests" / "data" / "redis-frozen"

BASE = {"errors", "units", "text"}
ALLOWED = {
    "errors": set(),
    "text": set(),
    "units": {"errors"},
    "model": BASE,
    "formats": BASE | {"model"},
    "store": BASE | {"model"},
    "lake": BASE | {"model"},
    "align": BASE | {"model"},
    "capture": BASE | {"model", "formats.smaps", "formats.maps"},
    "compare": BASE | {"model", "align"},
    "analyse": BASE | {"model", "align"},
    "report": BASE | {"model", "align", "compare", "analyse", "store", "formats.smaps"},
    "schedule": BASE,
    "api": BASE | {"model", "align", "compare", "analyse", "store", "formats", "report"},
    "browse": BASE | {"model", "align", "compare", "analyse", "store", "report"},
    "fleet": BASE | {"model", "align", "compare", "analyse", "store", "lake", "__init__"},
    "cli": (
        BASE | {"api", "browse", "fleet", "model", "align", "compare", "analyse", "store", "formats", "capture", "report", "schedule", "lake", "cli"}
    ),
    "__init__": {"api", "errors"},
    "__main__": {"cli"},
}
# numpy is pandas' own; ctypes and friends are the standard library's.
# Where only types are imported, under TYPE_CHECKING: api.
THIRD_PARTY = {
    "api": {"pandas"},
    "formats": {"elftools", "zstandard"},
    "store": {"sqlalchemy", "alembic"},
    "lake": {"fsspec", "numpy", "pyarrow"},
    "analyse": {"numpy", "scipy"},
    "report": {"rich", "pandas", "pyarrow", "prometheus_client", "vl_convert", "jinja2", "markupsafe"},
    "schedule": {"crontab"},
    "browse": {"rich", "textual"},
    "fleet": {"dask", "distributed"},
    "cli": {"typer"},
}


def modules() -> Iterator[tuple[str, str, ast.Module]]:
    """The part, the dotted name and the syntax tree of every module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield parts[0], ".".join(parts), ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported, anywhere in the file, under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            if node.module == "pmapdiff":
                yield from (f"pmapdiff.{alias.name}" for alias in node.names if alias.name != "__version__")
            else:
                yield node.module


def test_dependencies_point_one_way() -> None:
    wrong = []
    for part, name, tree in modules():
        assert part in ALLOWED, f"{name}: a new part needs a rule here and in design.md"
        for imported in imports(tree):
            if imported.partition(".")[0] == "pmapdiff":
                inner = imported.removeprefix("pmapdiff.")
                if inner != "pmapdiff" and inner.split(".")[0] != part and not ({inner, inner.split(".")[0]} & ALLOWED[part]):
                    wrong.append(f"{name} imports {inner}")
    assert wrong == []


def test_third_parties_stay_in_their_place() -> None:
    wrong = []
    for part, name, tree in modules():
        for imported in imports(tree):
            top = imported.partition(".")[0]
            if top != "pmapdiff" and top not in sys.stdlib_module_names and top not in THIRD_PARTY.get(part, set()):
                wrong.append(f"{name} imports {top}")
    assert wrong == []


def test_only_the_store_knows_sql() -> None:
    for part, name, tree in modules():
        if part != "store":
            assert not {"sqlalchemy", "sqlite3", "alembic"} & {imported.partition(".")[0] for imported in imports(tree)}, name


def test_what_browse_knows_can_be_had_without_a_screen() -> None:
    screens = {name for part, name, tree in modules() if part == "browse" and any(imported.startswith("textual") for imported in imports(tree))}
    assert screens == {"browse.app", "browse.page", "browse.process", "browse.rows"}
    for part, name, tree in modules():
        if part == "browse" and name.removeprefix("browse.") in ("child", "course", "drawing", "entries", "keys", "ledger", "source"):
            assert not {f"pmapdiff.{screen}" for screen in screens} & set(imports(tree)), name


def test_no_module_is_a_book() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


HEAVY = {"pandas", "numpy", "scipy", "alembic", "rich", "matplotlib", "mako", "pyarrow", "prometheus_client", "vl_convert", "jinja2", "textual"} | {
    "fsspec",
    "dask",
    "distributed",
}
SPY = """
import os, sys
really = os._exit
def end(code):
    parts = {'sqlalchemy.dialects.postgresql'} & set(sys.modules)
    loaded = sorted({name.partition('.')[0] for name in sys.modules} | parts)
    os.write(int(os.environ['SPY_FD']), ' '.join(loaded).encode() + b'\\n')
    really(code)
os._exit = end
sys.argv[0] = 'pmapdiff'
from pmapdiff.cli import main
try:
    main()
finally:
    end(0)
"""


def loaded(run: Runner, *args: object) -> set[str]:
    """The top-level modules that a command has loaded when it ends."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as answer:
        with open(write_end, "wb", buffering=0):
            environment = {**os.environ, "SPY_FD": str(write_end)}
            command = [sys.executable, "-c", SPY, *run.arguments(args)]
            done = subprocess.run(command, capture_output=True, pass_fds=[write_end], env=environment, check=False)
        assert done.returncode == 0, done
        # Helpers of the recorder end in their own time and may speak too.
        return set(answer.readline().decode().split())


def test_help_loads_nothing_heavy(run: Runner) -> None:
    for args in (["--help"], ["record", "--help"], ["compare", "--help"], ["schedule", "cron", "--help"], ["--version"]):
        assert not (HEAVY | {"sqlalchemy", "sqlite3", "crontab"}) & loaded(run, *args), args


def test_record_loads_nothing_heavy(run: Runner, target: Target) -> None:
    run.here("record", "--pid", target.pid).ok()
    for args in (["--pid", target.pid], ["--name", "python", "--every", "10ms", "--count", 2], ["--quiet", "--", "true"]):
        modules_loaded = loaded(run, "record", *args)
        assert "sqlalchemy" in modules_loaded
        assert not (HEAVY | {"sqlalchemy.dialects.postgresql"}) & modules_loaded, args


def test_saved_files_need_no_database(run: Runner) -> None:
    smaps = FROZEN / "smaps.txt"
    for args in (["show", smaps], ["compare", smaps, smaps]):
        assert not (HEAVY - {"rich"} | {"sqlalchemy", "sqlite3"}) & loaded(run, *args), args


def test_other_commands_load_only_what_they_need(run: Runner, target: Target) -> None:
    run.here("record", "--pid", target.pid).ok()
    run.here("record", "--pid", target.pid).ok()
    for args in (["show", "--format", "json"], ["show", "--format", "smaps"], ["compare", 1, 2, "--format", "json"], ["snapshots"], ["db", "check"]):
        assert not (HEAVY - {"rich"}) & loaded(run, *args), args


@pytest.mark.parametrize(
    ("subject", "args"),
    [
        ("show", ["show", "latest"]),
        ("compare", ["compare", "first", "latest"]),
        ("snapshots", ["snapshots"]),
        ("processes", ["processes"]),
        ("leaks", ["leaks"]),
    ],
)
def test_every_form_of_report_is_written(run: Runner, target: Target, subject: str, args: list[str]) -> None:
    for _ in range(2):
        run.here("record", "--pid", target.pid).ok()
        target.call("map", size=1 << 20, address=0x100000000000 if _ == 0 else 0x200000000000)
    forms = forms_of(subject)
    assert forms[0] == "text"
    for form in forms:
        result = run.here(*args, "--format", form).ok()
        assert len(result.stdout) > 50
        assert result.stderr == b""
    message = run.here(*args, "--format", "no-such-form").refused().err
    assert all(form in message for form in forms)
    helped = " ".join(run.here(args[0], "--help").ok().out.split())
    assert all(form in helped for form in forms), helped


def test_every_form_of_table_is_in_the_help(run: Runner) -> None:
    message = run.here("import", FROZEN / "smaps.txt", "--format", "no-such-form").refused().err
    assert all(form in message for form in all_forms())
    assert all(form.description for form in all_forms().values())
