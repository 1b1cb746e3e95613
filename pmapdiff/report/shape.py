"""What several forms share: which changes to show in which order, and the sentence that says it all."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pmapdiff.align import Match
from pmapdiff.compare import Change, Comparison, FamilyChange, ProcessComparison
from pmapdiff.model import FIGURE_INDEX, FIGURES, Figures, ProcessInfo, SnapshotRef
from pmapdiff.model.counters import sum_figures
from pmapdiff.report.base import View
from pmapdiff.text import decode, printable
from pmapdiff.units import format_delta_kib, format_duration, format_kib, format_moment_local, plural

# The figures of every change row, and those that decide whether a change is below the threshold.
MAIN_FIGURES = ("size_kib", "rss_kib", "dirty_kib", "swap_kib")


_INTERPRETER = re.compile(r"(python|node|ruby|perl|php|lua|bash|sh|dash)[0-9.]*$")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The changes to show, largest first, and what is left out: how many, and their sum."""

    shown: tuple[Change, ...]
    hidden: int
    hidden_delta: Figures


def choose(process: ProcessComparison, view: View, top: int | None) -> Chosen:
    """The changes of a process that are at least the threshold in some figure, at most `top` of them (0 or None: all)."""
    ordered = sorted(process.changes, key=lambda change: sort_key(change, view.sort))
    large = [c for c in ordered if view.threshold_kib <= 0 or any(abs(c.get(figure) or 0) >= view.threshold_kib for figure in MAIN_FIGURES)]
    shown = tuple(large[:top] if top else large)
    kept = {id(change) for change in shown}
    hidden = [change for change in ordered if id(change) not in kept]
    return Chosen(shown, len(hidden), sum_figures(change.delta for change in hidden))


def choose_for_people(process: ProcessComparison, view: View, top: int | None) -> Chosen:
    """As `choose`, but regions in which nothing is different but Referenced, Pss or flags are summed up too.

    Row upon row of zeros is what nobody wants to read on a first screen; scripts get them all.
    """
    everything = choose(process, view, None)
    telling = [c for c in everything.shown if c.kinds != ("changed",) or any(c.get(figure) for figure in MAIN_FIGURES)]
    shown = tuple(telling[:top] if top else telling)
    kept = {id(change) for change in shown}
    hidden = [change for change in process.changes if id(change) not in kept]
    return Chosen(shown, len(hidden), sum_figures(change.delta for change in hidden))


def sort_key(row: Change | FamilyChange | ProcessComparison, sort: str | None) -> tuple[float, ...] | tuple[str]:
    """Largest change of a figure first (Rss, then Size, unless told otherwise); names and addresses in their order."""
    if sort == "name":
        return (row.name if isinstance(row, Change) else row.family if isinstance(row, FamilyChange) else row.process.name,)
    if sort == "address" and isinstance(row, Change):
        return ((row.after or row.before)[0].start,)
    figures = (f"{sort}_kib",) if sort not in (None, "address") else ()
    return tuple(-abs(row.get(figure) or 0) for figure in (*figures, "rss_kib", "size_kib", "dirty_kib"))


def change_words(change: Change, most: int | None = None) -> str:
    """`grew, dirtied`, at most so many of them; a guess says so."""
    return ", ".join(f"possibly {kind}" if change.possibly and kind == "moved" else kind for kind in change.kinds[:most])


def region_name(change: Change) -> str:
    """The region's name, safe to print, with its family where the name does not say it."""
    name = printable(change.name)
    return f"{name} ({change.family})" if name == "[anon]" and change.family != "anon" else name


def snapshot_words(ref: SnapshotRef) -> str:
    """`#12 of 2026-11-22 14:00:00 +0000, "before deploy", on web1`; a saved file by its name."""
    where = f"#{ref.id}" if ref.id is not None else printable(ref.source)
    label = f', "{printable(ref.label)}"' if ref.label else ""
    host = f", on {printable(ref.host)}" if ref.id is not None and ref.host else ""
    return f"{where} of {format_moment_local(ref.taken_at_us)}{label}{host}"


def process_title(info: ProcessInfo) -> str:
    """`redis-server 1100`; of an interpreter also what it runs: `python leaking.py 1200`."""
    words = [info.name]
    arguments = [decode(word) for word in info.command.split(b"\0")[1:]]
    if _INTERPRETER.match(info.name):
        script = next((word for word in arguments if word and not word.startswith("-")), "")
        words += [script.rsplit("/", 1)[-1]] if script else []
    elif info.name == "java" and "-jar" in arguments[:-1]:
        words.append(arguments[arguments.index("-jar") + 1].rsplit("/", 1)[-1])
    return printable(" ".join([*words, str(info.pid)] if info.pid else words))


def caveats(process: ProcessComparison) -> list[str]:
    """What a reader must know before trusting the figures."""
    notes = []
    for when, capture in (("before", process.before), ("after", process.after)):
        if capture is not None and capture.status != "complete":
            reason = f" ({printable(capture.note)})" if capture.note else ""
            kept = "" if capture.table is not None else ": there is no table of it"
            notes.append(f"the capture {when} is marked {capture.status}{reason}{kept}")
    if process.missing and process.totals_before is not None and process.totals_after is not None:
        has = [name for name in FIGURES if name not in process.missing]
        if "rss_kib" in process.missing:
            notes.append("only sizes are compared: one of the tables has no counters")
        elif len(has) < len(FIGURES) / 2:
            notes.append(f"one of the tables has only {', '.join(name.removesuffix('_kib') for name in has)}; the rest is missing")
    return notes


def headline(process: ProcessComparison, comparison: Comparison) -> str:
    """The sentence for a process: `redis-server 1100: Rss +1.2 GiB in 12 h; 96 % of it [heap]`."""
    title = process_title(process.process)
    seconds = (comparison.after.taken_at_us - comparison.before.taken_at_us) / 1e6
    span = f" in {format_duration(seconds)}" if seconds > 0 else f" going back {format_duration(-seconds)}" if seconds < 0 else ""
    if comparison.before.id is None or comparison.after.id is None:
        # All that is known of a file is when it was last written, which may have been a copy.
        span = ""
    if process.match is Match.EXEC:
        title += " (became another program)"
    elif process.match is Match.RESTARTED:
        was = process.before.process.pid if process.before is not None else 0
        title += f" (restarted, was pid {was})" if was and was != process.process.pid else " (restarted)"
    if process.totals_before is None or process.totals_after is None:
        return f"{title}: cannot be compared"
    if process.match in (Match.NEW, Match.GONE):
        totals = process.totals_after if process.match is Match.NEW else process.totals_before
        figure = "rss_kib" if totals.get("rss_kib") is not None else "size_kib"
        amount = f"{_word(figure)} {format_kib(totals.get(figure))}, {plural(totals.mappings, 'mapping')}"
        word = "gone, had" if process.match is Match.GONE else "not recorded before, has" if process.unrecorded_before else "new, has"
        return f"{title}: {word} {amount}"
    if not process.changes:
        return f"{title}: no change{span}"
    changed_figure = "rss_kib" if process.get("rss_kib") else "size_kib" if process.get("size_kib") else None
    if changed_figure is None:
        dirty = process.get("dirty_kib")
        about = f", dirty {format_delta_kib(dirty)}" if dirty else ""
        return f"{title}: Rss and Size as before{span}{about}; {plural(len(process.changes), 'region')} changed"
    total = process.get(changed_figure) or 0
    return f"{title}: {_word(changed_figure)} {format_delta_kib(total)}{span}{_main_share(process.changes, changed_figure, total)}"


def _word(figure: str) -> str:
    return {"rss_kib": "Rss", "size_kib": "Size"}[figure]


def _main_share(changes: Sequence[Change], figure: str, total: int) -> str:
    """`; 96 % of it [heap]`: the name that explains most; regions of one name are counted together."""
    groups: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        # A sentence has no room for a path, its basename says enough.
        groups[region_name(change).rsplit("/", 1)[-1]].append(change)
    amount, name = max((sum(c.get(figure) or 0 for c in group) * (1 if total > 0 else -1), name) for name, group in groups.items())
    if amount <= 0:
        return ""
    several = f"{len(groups[name])} × " if len(groups[name]) > 1 else ""
    if amount > abs(total):
        return f"; {several}{name} alone {format_delta_kib(amount if total > 0 else -amount)}"
    return f"; {100 * amount / abs(total):.0f} % of it {several}{name}"


def figure_of(figures: Figures, name: str) -> int | None:
    """One figure by its name."""
    return figures[FIGURE_INDEX[name]]
