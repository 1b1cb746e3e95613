"""`pmapdiff lake`: the store as a data set of Parquet files, and back."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pmapdiff.cli._app import Global, HostOption, app, command
from pmapdiff.cli._progress import ProgressLine
from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.text import argument_text, printable
from pmapdiff.units import format_kib, plural

if TYPE_CHECKING:
    from pmapdiff.model import Snapshot, SnapshotRef

group = typer.Typer(
    rich_markup_mode=None,
    help="A lake: the snapshots of any number of hosts as Parquet files, in a folder or an object store (s3://..., gs://...).",
    short_help="Write Parquet files for a fleet, and read them.",
)
app.add_typer(group, name="lake", epilog="\b\nExample:\n  pmapdiff lake write /srv/lake")

LakeArgument = Annotated[str, typer.Argument(metavar="DIR_OR_URL", help="The lake: a folder, or s3://BUCKET/FOLDER and its like.")]
# Hosts in a text for people; JSON has all of them.
_MOST_HOSTS = 20


@command(
    "write",
    """
pmapdiff lake write /srv/lake
pmapdiff lake write s3://observability/pmapdiff --since '2d ago'
""",
    group,
    short_help="Add what a lake does not have yet.",
)
def write(
    context: typer.Context,
    lake: LakeArgument,
    host: HostOption = None,
    since: Annotated[str | None, typer.Option("--since", metavar="WHEN", help="Only from this snapshot or time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Only up to this snapshot or time.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Add the snapshots of the store that the lake does not have yet: each once, whatever happens.

    A lake is made where there is none. What is in it is never changed. The lake is read by `lake read`, `fleet`, and by whatever reads Parquet.
    """
    from pmapdiff.api.look import Span
    from pmapdiff.lake import LakeWriter
    from pmapdiff.store import ProcessFilter
    from pmapdiff.store.claim import claimed

    options: Global = context.obj
    store = options.open_store()
    wanted = ProcessFilter(hosts=frozenset(map(argument_text, host or ())))
    span = Span(since, until).moments_us(store, wanted)
    begun, done, bytes_written, parts = time.monotonic(), 0, 0, 0
    with ProgressLine() as progress:

        def load(refs: Sequence[SnapshotRef]) -> Iterator[Snapshot]:
            nonlocal done
            for snapshot in store.walk(refs):
                progress.draw(f"{printable(snapshot.ref.host)}: {done:,} of {to_do:,} snapshots")
                yield snapshot
                done += 1

        writer = LakeWriter(_location(lake))
        # Whoever writes at the same time is waited for, and has done the work then.
        with claimed(store):
            refs = store.refs(*span, wanted)
            missing = writer.missing(refs)
            to_do = sum(map(len, missing))
            for written in writer.write(missing, load):
                parts, bytes_written = parts + 1, bytes_written + written.bytes
    if quiet:
        return
    shown = printable(writer.place.shown)
    if not to_do:
        count = plural(len(refs), "snapshot")
        sys.stdout.write(f"nothing new: {f'all {count} are in {shown}' if refs else 'the store has no snapshot of that time'}\n")
        return
    there = f", {len(refs) - to_do:,} more were there already" if len(refs) > to_do else ""
    size = f"{plural(parts, 'part')} of {format_kib(bytes_written >> 10)}"
    sys.stdout.write(f"{plural(to_do, 'snapshot')} written to {shown}: {size} in {time.monotonic() - begun:.1f} s{there}\n")


@command(
    "read",
    """
pmapdiff --db web3.db lake read /srv/lake --host web3 --since 2026-11-20
pmapdiff --db all.db lake read s3://observability/pmapdiff
""",
    group,
    short_help="Take what a lake has into the store.",
)
def read(
    context: typer.Context,
    lake: LakeArgument,
    host: HostOption = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Only from this time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only up to this time.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Take snapshots of a lake into the store, which is made if there is none; those that it has already are passed over.

    They are as they were recorded: `show --format smaps` prints each table byte for byte.
    """
    from pmapdiff.lake import LakeReader

    since_us, until_us = _moment_us(since, "--since"), _moment_us(until, "--until")
    reader = LakeReader(_location(lake))
    options: Global = context.obj
    begun, stored, present = time.monotonic(), 0, 0
    with ProgressLine() as progress:
        hosts = _chosen(host, reader.hosts(since_us, until_us))
        from pmapdiff.store.copies import identity_of
        from pmapdiff.store.sync import batches

        store = options.open_store(write=True)
        there = {identity_of(ref) for ref in store.refs(since_us, until_us)}
        with store.recording():
            for name in hosts:
                refs = reader.refs(name, since_us, until_us)
                missing = [ref for ref in refs if identity_of(ref) not in there]
                done = 0
                for batch in batches(reader.walk(missing)):
                    stored += store.take_in(batch)
                    done += len(batch)
                    progress.draw(f"{printable(name)}: {done:,} of {len(missing):,} snapshots")
                present += len(refs) - len(missing)
    if not quiet:
        already = f", {present:,} more were there already" if present else ""
        what = f"{plural(stored, 'new snapshot')} of {plural(len(hosts), 'host')}"
        sys.stdout.write(f"{what} taken into {printable(store.location)} in {time.monotonic() - begun:.1f} s{already}\n")


@command("info", "pmapdiff lake info s3://observability/pmapdiff", group)
def info(
    lake: LakeArgument,
    host: HostOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what a lake has: hosts, days, snapshots, bytes."""
    from pmapdiff.lake.about import about_lake

    about = about_lake(_location(lake))
    chosen = _chosen(host, [row.host for row in about.hosts])
    about = about._replace(hosts=[row for row in about.hosts if row.host in chosen])
    if as_json:
        import json

        hosts = [row._asdict() for row in about.hosts]
        json.dump({"location": about.location, "format": about.format, "unfinished": about.unfinished, "hosts": hosts}, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    days = [day for row in about.hosts for day in (row.first_day, row.last_day)]
    rows = [
        ("lake", printable(about.location)),
        ("format", about.format),
        ("size", f"{format_kib(about.total('bytes') >> 10)} in {plural(about.total('parts'), 'part')}"),
        ("snapshots", f"{about.total('snapshots'):,}{f', {min(days)} to {max(days)} (UTC)' if days else ''}"),
        ("hosts", f"{len(about.hosts):,}"),
    ]
    if about.unfinished:
        rows.append(("unfinished", f"{plural(about.unfinished, 'part')} of writers that were interrupted; these count nowhere"))
    for name, value in rows:
        sys.stdout.write(f"{name:<10} {value}\n")
    for row in about.hosts[:_MOST_HOSTS]:
        counts = f"{plural(row.snapshots, 'snapshot')} on {plural(row.days, 'day')}, {format_kib(row.bytes >> 10)}"
        sys.stdout.write(f"{'':<10} {printable(row.host)}: {counts}\n")
    if len(about.hosts) > _MOST_HOSTS:
        sys.stdout.write(f"{'':<10} and {len(about.hosts) - _MOST_HOSTS:,} more: --json has all of them\n")


def _location(argument: str) -> str:
    if not argument.strip():
        raise UsageError("name a folder or URL for the lake")
    return argument


def _moment_us(text: str | None, option: str) -> int | None:
    """A time. Raises UsageError for what only a store can tell: a lake has no numbers and no latest."""
    from pmapdiff.store.when import ByTime, parse_when

    if text is None:
        return None
    when = parse_when(argument_text(text))
    if not isinstance(when, ByTime):
        raise UsageError(f"{option} {printable(argument_text(text))} is no time: write 2026-11-22T14:00 or '2d ago'")
    return when.moment_us


def _chosen(host: list[str] | None, known: Sequence[str]) -> list[str]:
    """The hosts of a lake that --host means. Raises NotFoundError for one that is not there."""
    from pmapdiff.store import ProcessFilter

    try:
        return sorted(ProcessFilter(hosts=frozenset(map(argument_text, host or ()))).choose_hosts(known))
    except NotFoundError:
        names = ", ".join(printable(argument_text(name)) for name in host or ())
        raise NotFoundError(f"the lake has nothing of {names} in this time: `pmapdiff lake info` lists its hosts") from None
