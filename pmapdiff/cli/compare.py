"""`pmapdiff compare`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import (
    BucketsOption,
    ExplainOption,
    HostOption,
    NameOption,
    PidOption,
    SortOption,
    TopOption,
    chosen,
    command,
    parse_threshold,
    screen_view,
)
from pmapdiff.cli._when import InputFormOption, PartialOption, Source
from pmapdiff.errors import UsageError


@command(
    "compare",
    """
pmapdiff compare first latest
pmapdiff compare '2h ago' latest --name redis --threshold 64K
pmapdiff compare yesterday.smaps today.smaps
pmapdiff compare 12 latest --by process --format csv
pmapdiff compare monday tuesday wednesday --by family
""",
    order=6,
    short_help="Say what changed between two snapshots.",
)
def compare(
    context: typer.Context,
    when: Annotated[list[str], typer.Argument(metavar="T1 T2", help="The earlier WHEN and the later one; of more, each gets a column.")],
    pid: PidOption = None,
    name: NameOption = None,
    host: HostOption = None,
    by: Annotated[str, typer.Option("--by", metavar="WHAT", help="region, family or process.")] = "region",
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text, json, csv or markdown.")] = "text",
    sort: SortOption = None,
    threshold: Annotated[
        str | None, typer.Option("--threshold", "-t", metavar="SIZE", help="Sum up changes that are smaller than this in every figure: 64K, 1.5M.")
    ] = None,
    top: TopOption = None,
    explain: ExplainOption = False,
    buckets: BucketsOption = None,
    same: Annotated[bool, typer.Option("--same", help="Saved files: these are two moments of one process.")] = False,
    restarted: Annotated[bool, typer.Option("--restarted", help="Saved files: these are two incarnations of one service.")] = False,
    partial: PartialOption = False,
    input_form: InputFormOption = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 if anything changed, with --threshold by as much.")] = False,
) -> None:
    """Say what changed between two snapshots, by region, family or process.

    Differences are T2 - T1. Regions are followed through growth, splits, merges and moves; every figure adds up: before,
    all changes, after. With three snapshots and more, one figure (--sort) of each region stands in a column a snapshot.
    """
    from pmapdiff.align import trace
    from pmapdiff.api.look import classifier_of
    from pmapdiff.compare import compare_snapshots
    from pmapdiff.report import check_by, write_report
    from pmapdiff.report.regions import found_change
    from pmapdiff.report.shape import found_changes

    check_by("compare", by)
    if len(when) < 2:
        raise UsageError("compare needs two snapshots: `pmapdiff compare first latest`")
    if same and restarted:
        raise UsageError("--same and --restarted contradict each other: give one of them")
    if explain and by != "family" and form not in ("json", "csv"):
        raise UsageError("--explain is about families: give --by family, or --format json or csv")
    if explain and len(when) > 2:
        raise UsageError("--explain is about two snapshots: give two")
    classifier = classifier_of(buckets)
    view = screen_view(by=by, sort=sort, threshold_kib=parse_threshold(threshold), top=top, explain=explain, classifier=classifier)
    source = Source(context.obj, chosen(host, pid, name), form=input_form, partial=partial)
    snapshots = source.load(*when)
    source.demand(*snapshots)
    alike = True if same else False if restarted else None
    if len(snapshots) > 2:
        history = trace(snapshots, same=alike, across_hosts=True, classifier=classifier)
        write_report("series", form, history, view, sys.stdout)
        changed = found_change(history, view)
    else:
        result = compare_snapshots(*snapshots, same=alike, classifier=classifier)
        write_report("compare", form, result, view, sys.stdout)
        changed = found_changes(result, view)
    if exit_code and changed:
        sys.stdout.flush()
        raise typer.Exit(1)
