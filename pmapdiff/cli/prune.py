"""`pmapdiff prune`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import (
    Global,
    HostOption,
    KeepAllOption,
    KeepDailyOption,
    KeepHourlyOption,
    KeepLastOption,
    MaxSizeOption,
    chosen,
    command,
    retention_of,
)
from pmapdiff.cli._progress import ProgressLine
from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.text import argument_text
from pmapdiff.units import format_kib, plural


@command(
    "prune",
    """
pmapdiff prune --keep-all 24h --keep-hourly 7d --keep-daily 90d
pmapdiff prune --keep-last 100 --max-size 500M --dry-run
""",
    order=12,
    short_help="Remove old snapshots.",
)
def prune(
    context: typer.Context,
    keep_all: KeepAllOption = None,
    keep_hourly: KeepHourlyOption = None,
    keep_daily: KeepDailyOption = None,
    keep_last: KeepLastOption = None,
    max_size: MaxSizeOption = None,
    label: Annotated[
        str | None, typer.Option("--label", "-l", metavar="TEXT", help="Of the snapshots with this label; they are kept otherwise.")
    ] = None,
    host: HostOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which snapshots would go.")] = False,
) -> None:
    """Remove the snapshots that no --keep rule keeps, and give their space back.

    The rules hold for each series by itself: the snapshots of one host recorded with the same options. Snapshots with a
    label and imported ones stay unless --label names them. What stays is exactly as it was.
    """
    retention = retention_of(keep_all, keep_hourly, keep_daily, keep_last, max_size)
    if not retention.says_anything:
        raise UsageError("say what to keep: --keep-all, --keep-hourly, --keep-daily, --keep-last or --max-size")
    options: Global = context.obj
    # Opening to write would make a store where there is none.
    store = options.open_store()
    text, wanted = None if label is None else argument_text(label), chosen(host)
    of_hosts = f" of {wanted.describe()}" if wanted.hosts else ""
    if dry_run:
        if not retention.by_age:
            raise UsageError("--dry-run cannot tell how much --max-size alone would remove: add a --keep rule")
        removed = store.prune(retention, label=text, wanted=wanted, dry_run=True).removed
        sys.stdout.write(f"would remove {plural(len(removed), 'snapshot')}{of_hosts}{': ' if removed else ''}{_ranges(removed)}\n")
        return
    if text is not None and not any(row.ref.label == text for row in store.snapshots(wanted=wanted)):
        raise NotFoundError(f"there is no snapshot{of_hosts} with the label {text!r}")
    progress = _Progress()
    try:
        done = store.prune(retention, label=text, wanted=wanted, progress=progress)
    finally:
        progress.line.clear()
    space = ""
    if done.bytes_before is not None and done.bytes_after is not None:
        space = f", {format_kib(done.bytes_before // 1024)} became {format_kib(done.bytes_after // 1024)}"
    sys.stdout.write(f"removed {plural(len(done.removed), 'snapshot')}{space}; {plural(store.count_snapshots(wanted), 'snapshot')}{of_hosts} left\n")


def _ranges(numbers: tuple[int, ...]) -> str:
    """`1-5, 9`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


class _Progress:
    """The number of snapshots removed so far, on a terminal."""

    def __init__(self) -> None:
        self._removed = 0
        self.line = ProgressLine()

    def __call__(self, more: int) -> None:
        self._removed += more
        self.line.draw(f"{self._removed:,} snapshots removed")
