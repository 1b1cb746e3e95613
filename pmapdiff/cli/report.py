"""`pmapdiff report`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmapdiff.cli._app import BucketsOption, Global, HostOption, NameOption, PidOption, chosen, command
from pmapdiff.cli._leaks import SinceOption, UntilOption, WithinOption
from pmapdiff.cli._output import STANDARD_OUTPUT, opened_output
from pmapdiff.cli._progress import ProgressLine, counted_snapshots
from pmapdiff.cli._when import InputFormOption, PartialOption, Source
from pmapdiff.errors import UsageError
from pmapdiff.text import argument_text, printable

if TYPE_CHECKING:
    from pmapdiff.align import Classifier
    from pmapdiff.report.visual.build import Story
    from pmapdiff.report.visual.content import Content
    from pmapdiff.store import ProcessFilter


@command(
    "report",
    """
pmapdiff report -o monday.html
pmapdiff report --name orders --oom-log /var/log/kern.log -o orders.html
pmapdiff report before.txt after.txt -o ticket.html
pmapdiff report first latest --pid 1100 --redact -o for-the-vendor.html
pmapdiff report --name orders --png growth.png
""",
    order=9,
    short_help="Write one HTML file with pictures, to attach to a ticket.",
)
def report(
    context: typer.Context,
    when: Annotated[
        list[str] | None, typer.Argument(metavar="WHEN", help="Two: all snapshots from one to the other. Saved files: these. None: the whole store.")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="The page, in one file of HTML; - is standard output.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    pid: PidOption = None,
    name: NameOption = None,
    host: HostOption = None,
    process: Annotated[
        list[str] | None, typer.Option("--process", metavar="WHO", help="A number is as --pid, all else as --name; may be repeated.")
    ] = None,
    oom_log: Annotated[
        str | None, typer.Option("--oom-log", metavar="FILE", help="What the kernel said when memory ran out: mark the kills, and say how they came.")
    ] = None,
    within: WithinOption = "90d",
    redact: Annotated[
        bool, typer.Option("--redact", help="Take out names of users and hosts, paths but those of the system, and arguments of commands.")
    ] = False,
    redact_rule: Annotated[
        list[str] | None, typer.Option("--redact-rule", metavar="REGEX", help="And what this is found in; implies --redact; may be repeated.")
    ] = None,
    svg: Annotated[str | None, typer.Option("--svg", metavar="FILE", help="One picture alone, as SVG.")] = None,
    png: Annotated[str | None, typer.Option("--png", metavar="FILE", help="One picture alone, as PNG.")] = None,
    picture: Annotated[
        str | None, typer.Option("--picture", metavar="NAME", help="Which picture alone: timeline (unless told), space (addresses) or treemap.")
    ] = None,
    figure: Annotated[
        str | None, typer.Option("--figure", metavar="FIGURE", help="What to show first: footprint, rss, dirty, swap, size or mappings.")
    ] = None,
    buckets: BucketsOption = None,
    partial: PartialOption = False,
    input_form: InputFormOption = None,
) -> None:
    """Write a page that shows what changed, since when and how fast: for a process, a host or a comparison.

    It is one file that opens without a network: a timeline on which two moments can be chosen, what changed between them, the address space, and
    every
    region over time. Needs the extra `report`.
    """
    from pmapdiff.api.look import classifier_of
    from pmapdiff.api.story import content_without_names
    from pmapdiff.report.pictures import NAMES
    from pmapdiff.report.visual.build import content_of
    from pmapdiff.report.visual.draw import check_pictures
    from pmapdiff.report.visual.series import FIGURES

    outputs = [("report", "html", output), ("picture", "svg", svg), ("picture", "png", png)]
    wanted_outputs = [(subject, form, path) for subject, form, path in outputs if path is not None]
    if not wanted_outputs:
        raise UsageError("say where to: --output report.html, or --png picture.png")
    if picture is not None and picture not in NAMES:
        raise UsageError(f"--picture {printable(argument_text(picture))}: one of {', '.join(NAMES)}")
    if picture is not None and svg is None and png is None:
        raise UsageError("--picture is about a picture alone: give --svg or --png with it")
    if figure is not None and figure not in FIGURES:
        raise UsageError(f"--figure {printable(argument_text(figure))}: one of {', '.join(FIGURES)}")
    _check_outputs([path for _, _, path in wanted_outputs], when or [])
    if png == STANDARD_OUTPUT and sys.stdout.isatty():
        raise UsageError("a PNG is nothing to be shown on a terminal: give --png FILE")
    check_pictures()
    story = _story(
        context.obj,
        when or [],
        _wanted(host, pid, name, process),
        since,
        until,
        within=within,
        oom_log=oom_log,
        classifier=classifier_of(buckets),
        partial=partial,
        form=input_form,
    )
    content = replace(content_of(story), figure=figure)
    if redact or redact_rule:
        content = content_without_names(content, story, redact_rule or [])
    _write(wanted_outputs, content, picture or NAMES[0], figure)


def _check_outputs(paths: list[str], read: list[str]) -> None:
    """Raise UsageError if two outputs are one, or one is a file that is read."""
    seen: list[str] = []
    for path in paths:
        others = [("another output", seen), ("a file that is read", read)]
        for what, known in others:
            if any(path == other or (os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)) for other in known):
                raise UsageError(f"{argument_text(path)} is {what}, too: name another file")
        seen.append(path)


def _wanted(host: list[str] | None, pid: list[int] | None, name: str | None, process: list[str] | None) -> ProcessFilter:
    numbers = [int(who) for who in process or () if who.isascii() and who.isdigit()]
    names = [who for who in (name, *(process or ())) if who is not None and not (who.isascii() and who.isdigit())]
    together = names[0] if len(names) == 1 else "|".join(f"(?:{each})" for each in names) or None
    return chosen(host, [*(pid or ()), *numbers], together)


def _story(
    options: Global,
    when: list[str],
    wanted: ProcessFilter,
    since: str | None,
    until: str | None,
    *,
    within: str,
    oom_log: str | None,
    classifier: Classifier,
    partial: bool,
    form: str | None,
) -> Story:
    from pmapdiff.api.look import Span
    from pmapdiff.api.story import find_story

    kills = []
    if oom_log is not None:
        from pmapdiff.formats.oom_report import read_oom_log

        kills = read_oom_log(oom_log)
    source = Source(options, wanted, form=form, partial=partial)
    return find_story(
        options.open_store,
        source,
        when,
        wanted,
        Span(since, until),
        within=within,
        kills=kills,
        classifier=classifier,
        counted=counted_snapshots,
    )


def _write(outputs: list[tuple[str, str, str]], content: Content, picture: str, figure: str | None) -> None:
    from pmapdiff.report import View, write_report
    from pmapdiff.report.pictures import Picture, spec_of

    alone = Picture(content, picture, figure)
    if any(subject == "picture" for subject, _, _ in outputs):
        # What cannot be drawn is said before anything is written.
        spec_of(alone)
    with ProgressLine() as progress:
        for subject, form, path in outputs:
            progress.draw(f"drawing the {form.upper()}")
            with opened_output(path) as out:
                write_report(subject, form, content if subject == "report" else alone, View(), out)
    for _, _, path in outputs:
        if path != STANDARD_OUTPUT and sys.stderr.isatty():
            size = Path(path).stat().st_size if os.path.isfile(path) else 0
            sys.stderr.write(f"{printable(argument_text(path))}: {max(1, size // 1024):,} KiB\n")
