"""The wheel holds everything: installed by itself it makes a database, and its data files are there."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import sysconfig
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout. Building it needs hatchling, which pip fetches unless it is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run([*PIP, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], capture_output=True, text=True, check=False)
    if built.returncode != 0 and re.search("Could not find a version|connection|network|resolve", built.stderr, re.IGNORECASE):
        pytest.skip(f"pip cannot fetch what a build needs: {built.stderr[-300:]}")
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("pmapdiff-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel, and this one's other packages but not its pmapdiff."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    bin_folder = folder / "bin"
    (site,) = folder.glob("lib/python*/site-packages")
    subprocess.run([*PIP, "--python", str(bin_folder / "python"), "install", "--no-deps", "--no-index", str(wheel)], check=True)
    # A folder that a .pth file names is searched, but its own .pth files (an editable install of this checkout) are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return bin_folder


def run(*argv: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PMAPDIFF", "VIRTUAL_ENV"))}
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False, cwd=cwd, env={**clean, "COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_holds_package_migrations_schemas_and_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"pmapdiff", next(top for top in tops if top.endswith(".dist-info"))}
    for wanted in ("pmapdiff/_migrations/env.py", "pmapdiff/_migrations/versions/0001_interval_form.py"):
        assert wanted in names
    assert "pmapdiff/py.typed" in names
    schemas = {f"pmapdiff/report/schemas/{path.name}" for path in ROOT.glob("pmapdiff/report/schemas/*.json")}
    assert schemas
    assert schemas <= set(names)
    assert any(name.endswith("/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name]


def test_installed_tool_is_the_wheel(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import pmapdiff; print(pmapdiff.__file__)", cwd=tmp_path)
    assert where.startswith(str(installed.parent))


def test_installed_package_is_imported(installed: Path, tmp_path: Path) -> None:
    code = f"import pmapdiff; print(len(pmapdiff.open({str(ROOT / 'sample_snapshots' / 'redis.db')!r}).table('loaded').frame()))"
    assert run(installed / "python", "-c", code, cwd=tmp_path) == "117\n"


def test_installed_tool_makes_its_database(installed: Path, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    assert "up to date" in run(installed / "pmapdiff", "--db", store, "db", "upgrade", cwd=tmp_path)
    with closing(sqlite3.connect(store)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
    assert {"capture", "mapping", "usage", "mapping_table", "process_table"} <= names


def test_installed_tool_records_and_compares(installed: Path, tmp_path: Path) -> None:
    tool = (installed / "pmapdiff", "--db", tmp_path / "store.db")
    for _ in range(2):
        assert "1 process," in run(*tool, "record", "--pid", str(os.getpid()), cwd=tmp_path)
    value = json.loads(run(*tool, "compare", "first", "latest", "--format", "json", cwd=tmp_path))
    assert [process["pid"] for process in value["processes"]] == [os.getpid()]
