"""Refreshes what the documents show: the help of every command, SQL results, and the sessions on the samples.

    python docs/embed_help.py            rewrite the documents where they are out of date
    python docs/embed_help.py --check    change nothing; exit 1 and name them

Three kinds of block are kept up to date in README.md, docs/ and sample_snapshots/: the text between
`<!-- help: COMMAND -->` and `<!-- end -->`; the text between `<!-- result -->` and `<!-- end -->`, which is what the SQL or
Python block before it gives on the samples; and ```console blocks whose every command names
sample_snapshots. Everything runs at 80 columns in UTC, on a copy of the samples whose times of modification are fixed.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "sample_snapshots" / "README.md")
HELP = re.compile(r"(?P<head><!-- help: ?(?P<command>.*?) ?-->\n```text\n)(?P<text>.*?)(?P<tail>```\n<!-- end -->)", re.DOTALL)
RESULT = re.compile(
    r"(?P<head>```(?P<language>sql|python)\n(?P<code>[^`]*)```\n\n<!-- result -->\n```text\n)(?P<text>.*?)(?P<tail>```\n<!-- end -->)", re.DOTALL
)
CONSOLE = re.compile(r"(?P<head>```console\n)(?P<text>.*?)(?P<tail>```)", re.DOTALL)
# When the saved files were taken, as far as the documents are concerned: a checkout gives them any time.
SAVED_AT = 1795341600  # 2026-11-22T10:00:00Z


def environment() -> dict[str, str]:
    """Fixed surroundings, with the pmapdiff of this interpreter first on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PMAPDIFF", "_TYPER", "LC_"))}
    return {**kept, "PATH": path, "COLUMNS": "80", "LINES": "50", "TZ": "UTC", "NO_COLOR": "1", "LANG": "C.UTF-8", "TERM": "dumb"}


def commands() -> list[str]:
    """Every command (`record`, `db info`, …; "" for pmapdiff itself), found by walking the application."""
    import typer

    from pmapdiff.cli import load_app

    def walk(command: Any, name: str) -> Iterator[str]:
        yield name
        for child_name, child in getattr(command, "commands", {}).items():
            yield from walk(child, f"{name} {child_name}".strip())

    return sorted(walk(typer.main.get_command(load_app()), ""))


def help_of(command: str) -> str:
    """The help of a command as a user at 80 columns sees it."""
    argv = [sys.executable, "-m", "pmapdiff", *command.split(), "--help"]
    return subprocess.run(argv, env=environment(), check=True, capture_output=True, text=True).stdout


@contextmanager
def session_folder() -> Iterator[Path]:
    """A folder that holds a copy of sample_snapshots, each saved file as old as the table in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = folder / "sample_snapshots"
        shutil.copytree(ROOT / "sample_snapshots", samples)
        with closing(sqlite3.connect(samples / "redis.db")) as connection:
            taken = {
                f"{number:02}-{label}.smaps": at // 1_000_000 for number, label, at in connection.execute("SELECT id, label, taken_at FROM snapshot")
            }
        for path in (*samples.glob("*.txt"), *samples.glob("redis-series/*")):
            path.chmod(0o644)
            moment = taken.get(path.name, SAVED_AT)
            os.utime(path, (moment, moment))
        yield folder


def sql_table(code: str, folder: Path) -> str:
    """What `sqlite3 -header -column` prints for a query on the database that its first line names in a comment, else redis.db."""
    if code.startswith("-- lake\n"):
        return lake_table(code, folder)
    named = re.match(r"-- (\S+)\n", code)
    with closing(sqlite3.connect(f"file:{folder}/{named[1] if named else 'sample_snapshots/redis.db'}?mode=ro", uri=True)) as connection:
        cursor = connection.execute(code)
        return _aligned(cursor)


def lake_table(code: str, folder: Path) -> str:
    """Likewise what DuckDB says, of a lake of the samples, with the views that docs/lake.md makes first."""
    import duckdb

    lake = folder / "lake"
    if not lake.exists():
        for sample in ("orders", "redis"):
            store = folder / "sample_snapshots" / f"{sample}.db"
            subprocess.run([sys.executable, "-m", "pmapdiff", "--db", store, "lake", "write", lake, "--quiet"], env=environment(), check=True)
    views = re.search(r"^```sql\n(-- lake\nCREATE VIEW.*?)^```$", (ROOT / "docs" / "lake.md").read_text(), re.DOTALL | re.MULTILINE)
    assert views is not None
    with closing(duckdb.connect()) as connection:
        connection.execute("SET file_search_path = $1", [str(folder)])
        connection.execute(views[1])
        return _aligned(connection.execute("SHOW TABLES" if code == views[1] else code))


def _aligned(cursor: Any) -> str:
    rows = [[column[0] for column in cursor.description]]
    rows += [["" if value is None else str(value) for value in row] for row in cursor.fetchall()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows)


def run_session(text: str, folder: Path) -> str:
    """A console block with the output that its commands give now."""
    parts = []
    for command in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", command], env=environment(), cwd=folder, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        parts.append(f"$ {command}\n{done.stdout}")
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def is_session(text: str) -> bool:
    """Whether a console block can be run again: every command is on the samples."""
    found = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    return bool(found) and all("sample_snapshots" in command for command in found)


def refreshed(text: str, folder: Path) -> str:
    """A document with everything that it embeds as it is now."""

    def put_help(match: re.Match[str]) -> str:
        return match["head"] + help_of(match["command"]) + match["tail"]

    def put_result(match: re.Match[str]) -> str:
        if match["language"] == "sql":
            output = sql_table(match["code"], folder)
        else:
            argv = [sys.executable, "-c", match["code"]]
            printed = subprocess.run(argv, env=environment(), cwd=folder, check=True, capture_output=True, text=True).stdout
            output = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
        return match["head"] + output + match["tail"]

    def put_session(match: re.Match[str]) -> str:
        return match["head"] + run_session(match["text"], folder) + match["tail"] if is_session(match["text"]) else match[0]

    return CONSOLE.sub(put_session, RESULT.sub(put_result, HELP.sub(put_help, text)))


def main() -> int:
    """Refresh the documents; with --check only say which are out of date."""
    stale = []
    with session_folder() as folder:
        for page in PAGES:
            text = page.read_text()
            new = refreshed(text, folder)
            if new != text:
                stale.append(page)
                if "--check" not in sys.argv:
                    page.write_text(new)
    for page in stale:
        sys.stdout.write(f"{page.relative_to(ROOT)}: {'out of date' if '--check' in sys.argv else 'refreshed'}\n")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
