"""`pmapdiff db`: care for the store."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import Global, HostOption, app, chosen, command
from pmapdiff.errors import StoreError
from pmapdiff.text import printable
from pmapdiff.units import format_kib, format_moment_local, plural

group = typer.Typer(
    rich_markup_mode=None, help="Look after the store: what it is, whether it is sound, its schema.", short_help="Look after the store."
)
app.add_typer(group, name="db", epilog="\b\nExample:\n  pmapdiff db info")


@command("info", "pmapdiff --db sample_snapshots/redis.db db info", group)
def info(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False, host: HostOption = None) -> None:
    """Say where the store is, how large it is and what it spans."""
    options: Global = context.obj
    facts = options.open_store().info(chosen(host))
    if as_json:
        import json

        json.dump(facts, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    span = "nothing yet" if facts["first_us"] is None else f"{format_moment_local(facts['first_us'])} to {format_moment_local(facts['last_us'])}"
    samples, size = facts["mapping_samples"], facts["bytes"]
    per_sample = f" ({size / samples:.1f} bytes a mapping sample)" if size and samples else ""
    rows = (
        ("store", printable(facts["location"])),
        ("schema", facts["schema"]),
        ("size", f"{format_kib(size // 1024)}{per_sample}" if size is not None else "-"),
        ("hosts", f"{facts['hosts']:,}"),
        ("snapshots", f"{facts['snapshots']:,}, {span}"),
        ("processes", f"{facts['processes']:,}"),
        ("captures", f"{facts['captures']:,}, {samples:,} mapping samples in {facts['usage_rows']:,} usage rows"),
    )
    for name, value in rows:
        sys.stdout.write(f"{name:<10} {value}\n")


@command("upgrade", "pmapdiff db upgrade", group)
def upgrade(context: typer.Context) -> None:
    """Make the store, or bring its schema to this version's."""
    options: Global = context.obj
    store = options.open_store(write=True)
    sys.stdout.write(f"{printable(store.location)}: schema {store.info()['schema']}, up to date\n")


@command("check", "pmapdiff db check", group, short_help="Check that the store is sound.")
def check(context: typer.Context, quick: Annotated[bool, typer.Option("--quick", help="Do not read every table.")] = False) -> None:
    """Check that the store keeps its promises: sound file, whole snapshots, tables that are what was read. Exit 2 if not."""
    options: Global = context.obj
    from pmapdiff.formats.smaps import render_smaps

    problems = options.open_store().check(tables=not quick, text_of=render_smaps)
    for problem in problems:
        sys.stdout.write(f"{printable(problem)}\n")
    if problems:
        raise StoreError(f"the store has {plural(len(problems), 'problem')}: restore it from a backup, or keep it and start another with --db")
    sys.stdout.write("the store is sound\n")
