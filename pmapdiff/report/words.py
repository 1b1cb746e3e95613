"""What reports say in words: titles, sentences and what a reader must know, the same in every form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pmapdiff.align import Incarnation, Match, ServiceHistory
from pmapdiff.align.lineage import runs_what
from pmapdiff.compare import Change, Comparison, Effect, FamilyChange, Observed, ProcessComparison
from pmapdiff.model import FIGURES, MappingTable, ProcessInfo, SnapshotRef
from pmapdiff.report.base import MAIN_FIGURES
from pmapdiff.report.table import shorten
from pmapdiff.text import decode, printable
from pmapdiff.units import format_delta_kib, format_duration, format_kib, format_moment_local, plural

AGAIN = {Match.RESTARTED: "restart", Match.EXEC: "exec"}
"""What it is called when a service goes on as another process."""
_LONGEST_SCRIPT = 30
# In a title or a sentence; the kernel cuts what it calls a process at 15 bytes, but a saved table may hold anything.
_LONGEST_NAME = 40
_MUCH_SIZE_KIB = 16 << 10
_MUCH_ELSE_KIB = 1024


def mappings_words(row: FamilyChange) -> str:
    """`5`, or `3 → 5` if their number changed."""
    return counts_words(row.mappings_before, row.mappings_after)


def counts_words(before: int, after: int) -> str:
    """`5`, or `3 → 5`."""
    return str(after) if before == after else f"{before} → {after}"


def without_table_words(processes: Sequence[ProcessComparison]) -> str:
    """`3 processes cannot be compared: there is no table (denied)`."""
    why = sorted({str(c.status) for p in processes for c in (p.before, p.after) if c is not None and c.table is None})
    return f"{plural(len(processes), 'process', 'processes')} cannot be compared: there is no table ({', '.join(why)})"


def change_words(change: Change, *, narrow: bool = False) -> str:
    """`grew, dirtied`; a guess says so. Where there is little room, the headline, and that another file is behind it."""
    kinds = [kind for kind in change.kinds if not narrow or kind in (change.kinds[0], "replaced")]
    doubtful = next((kind for kind in ("moved", "replaced") if kind in change.kinds), change.kinds[0]) if change.possibly else None
    return ", ".join(f"possibly {kind}" if kind == doubtful else kind for kind in kinds)


def region_name(change: Change) -> str:
    """The region's name, safe to print; unnamed memory by its family where that says more."""
    return change.family if change.name == "[anon]" and change.family != "anon" else printable(change.name)


def snapshot_words(ref: SnapshotRef) -> str:
    """`#12 of 2026-11-22 14:00:00 +0000, "before deploy", on web1`; a saved file by its name."""
    where = f"#{ref.id}" if ref.id is not None else printable(ref.source)
    label = f', "{printable(ref.label)}"' if ref.label else ""
    host = f", on {printable(ref.host)}" if ref.id is not None and ref.host else ""
    return f"{where} of {format_moment_local(ref.taken_at_us)}{label}{host}"


def script_name(info: ProcessInfo) -> str:
    """What an interpreter runs, as a title says it (`leaking.py`); nothing for what gave the process its name, or for code: it has no end."""
    first, _, module = (runs_what(info) or b"").partition(b"\0")
    runs = decode(module or first).rsplit("/", 1)[-1]
    return runs[:_LONGEST_SCRIPT] if runs != info.name and first not in (b"-c", b"-e") else ""


def process_title(info: ProcessInfo) -> str:
    """`redis-server 1100`; of an interpreter also what it runs: `python leaking.py 1200`, `java app.jar 1300`."""
    words = [shorten(printable(info.name), _LONGEST_NAME)] if info.is_named else []
    if runs := script_name(info):
        words.append(runs)
    if not words:
        return f"process {info.pid}" if info.pid else "unknown process"
    return printable(" ".join([*words, str(info.pid)] if info.pid else words))


def again_words(known: Incarnation) -> str:
    """`restarted as 1234`, `exec: java`: how a service goes on as another process."""
    if known.match is Match.EXEC:
        return f"exec: {printable(known.process.name)}"
    return f"restarted as {known.process.pid}" if known.process.pid else "restarted"


def capture_words(service: ServiceHistory, step: int) -> str:
    """`torn`, `not recorded`: what is wrong with the capture of a service in one snapshot; nothing if it is complete."""
    capture = service.captures[step]
    if capture is None:
        return "not recorded"
    return "" if capture.status == "complete" else str(capture.status)


def pause_words(earlier: SnapshotRef, later: SnapshotRef) -> str:
    """`no snapshot: 12 h`: that between two snapshots others should have been taken."""
    return f"no snapshot: {format_duration((later.taken_at_us - earlier.taken_at_us) / 1e6)}"


def command_words(info: ProcessInfo, *, full: bool) -> str:
    """The command line, safe to print; or, where there is little room, with its program and what that runs without their folders."""
    words = info.command_line.split(" ")
    if not full:
        runs, _, _ = (runs_what(info) or b"").partition(b"\0")
        words = [word.rsplit("/", 1)[-1] or word if place == 0 or word == decode(runs) else word for place, word in enumerate(words)]
    return printable(" ".join(words)).rstrip()


def table_notes(table: MappingTable | None) -> list[str]:
    """What a saved table is not: one of mappings, or one of paths."""
    if table is None:
        return []
    if table.has_sums:
        return ["these are sums by name, not mappings: they have no addresses"]
    return ["files are called by their basenames only"] if table.has_basenames else []


def caveats(process: ProcessComparison) -> list[str]:
    """What a reader must know before trusting the figures."""
    notes = []
    for when, capture in (("before", process.before), ("after", process.after)):
        if capture is not None and capture.status != "complete":
            reason = f" ({printable(capture.note)})" if capture.note else ""
            kept = "" if capture.table is not None else ": there is no table of it"
            notes.append(f"the capture {when} is marked {capture.status}{reason}{kept}")
    if process.missing and process.before is not None and process.after is not None and process.before.table and process.after.table:
        has = [name.removesuffix("_kib") for name in FIGURES if name not in process.missing]
        if has == ["size"]:
            bare = [len(capture.table.missing) == len(FIGURES) - 1 for capture in (process.before, process.after) if capture.table]
            which = "both tables have no counters" if all(bare) else f"the table {'before' if bare[0] else 'after'} has no counters"
            counted = "" if process.get("rss_kib") is None else ", and what the kernel counts for the process as a whole"
            notes.append(f"{which if any(bare) else 'the tables share no counter'}: only sizes are compared{counted}")
        elif not has:
            notes.append("no figure is in both tables: nothing is compared")
        elif len(has) < len(FIGURES) / 2:
            lacking = [bool(capture.table and capture.table.missing) for capture in (process.before, process.after)]
            which = "both tables have" if all(lacking) else f"the table {'before' if lacking[0] else 'after'} has"
            notes.append(f"{which} only {', '.join(has)}; the rest is missing")
    tables = [(when, c.table) for when, c in (("before", process.before), ("after", process.after)) if c is not None and c.table is not None]
    with_sums = [when for when, table in tables if table.has_sums]
    if with_sums:
        what = "both tables are" if len(with_sums) == 2 else f"the table {with_sums[0]} is"
        notes.append(f"{what} of sums, without addresses: compared by name")
    elif len(tables) == 2 and tables[0][1].has_basenames != tables[1][1].has_basenames:
        notes.append(f"the table {next(when for when, table in tables if table.has_basenames)} has only basenames of files: compared by those")
    return notes


def effect_words(process: ProcessComparison) -> list[str]:
    """What the kernel did besides, a sentence each."""
    return [_effect_sentence(observed) for observed in process.effects]


def _effect_sentence(observed: Observed) -> str:
    amount, size = observed.amount, format_kib(abs(observed.amount))
    match observed.effect:
        case Effect.PAGING if amount > 0:
            return f"paging: {size} went to swap; still needed, so no fix"
        case Effect.PAGING:
            return f"paging: {size} came back from swap; no growth"
        case Effect.PAGE_CACHE if amount > 0:
            return f"page cache: Rss +{size} of clean file pages, which can be dropped; no leak"
        case Effect.PAGE_CACHE:
            return f"page cache: Rss -{size} of clean file pages, dropped or unmapped"
        case Effect.HUGE_PAGES if amount > 0:
            return f"huge pages: Rss +{size} of AnonHugePages, Size as before; may be half empty"
        case Effect.HUGE_PAGES:
            return f"huge pages: Rss -{size} of AnonHugePages, Size as before"
        case Effect.SHARED_BY_FORK if amount > 0:
            return f"copy-on-write: {size} became Shared_Dirty (a fork); nothing was freed"
        case Effect.SHARED_BY_FORK:
            return f"copy-on-write: {size} became Private_Dirty (written, or the other ended)"
        case Effect.COPIED_ON_WRITE if amount > 0:
            return f"copy-on-write: {size} of private file pages were written: now Anonymous"
        case Effect.COPIED_ON_WRITE:
            return f"copy-on-write: {size} less of written private file pages"
        case Effect.FILES_DELETED:
            what = "program or library in use was" if amount == 1 else "programs and libraries in use were"
            return f"upgrade: {amount:,} {what} replaced or removed on disk"
        case Effect.MAPPING_COUNT:
            return f"mapping count: {amount:,} of {observed.limit or 0:,}; at vm.max_map_count mmap fails"


def headline(process: ProcessComparison, comparison: Comparison) -> str:
    """The sentence for a process: `redis-server 1100: Rss +1.2 GiB in 12 h; 96 % of it [heap]`.

    Of two hosts: `redis-server 2200 on web2: Rss +1.2 GiB against 1100 on web1; 96 % of it [heap]`.
    """
    title = process_title(process.process)
    elsewhere = comparison.before.is_elsewhere(comparison.after)
    seconds = (comparison.after.taken_at_us - comparison.before.taken_at_us) / 1e6
    span = f" in {format_duration(seconds)}" if seconds > 0 else f" going back {format_duration(-seconds)}" if seconds < 0 else ""
    if comparison.before.id is None or comparison.after.id is None:
        # All that is known of a file is when it was last written, which may have been a copy.
        span = ""
    if elsewhere:
        title, span = _of_two_hosts(process, comparison)
    elif process.match is Match.EXEC:
        title += " (became another program)"
    elif process.match is Match.RESTARTED:
        was = process.before.process.pid if process.before is not None else 0
        title += f" (restarted, was pid {was})" if was and was != process.process.pid else " (restarted)"
        if process.before is not None and process.before.process.name != process.process.name:
            title = f"{process_title(process.process)} (compared with {process_title(process.before.process)})"
    if process.totals_before is None or process.totals_after is None:
        return f"{title}: cannot be compared"
    only_sizes = process.match not in (Match.NEW, Match.GONE) and len(process.missing) == len(FIGURES) - 1 and process.get("rss_kib") is None
    if only_sizes:
        title += " (only sizes)"
    if process.match in (Match.NEW, Match.GONE):
        totals = process.totals_after if process.match is Match.NEW else process.totals_before
        figure = "rss_kib" if totals.get("rss_kib") is not None else "size_kib"
        amount = f"{_word(figure)} {format_kib(totals.get(figure))}, {plural(totals.mappings, 'mapping')}"
        words = {Match.GONE: ("gone, had", "not recorded after, had"), Match.NEW: ("new, has", "not recorded before, has")}
        word = words[process.match][process.unrecorded_before or process.unrecorded_after]
        if elsewhere:
            other = printable((comparison.before if process.before is None else comparison.after).host)
            word = f"{'not recorded' if process.unrecorded_before or process.unrecorded_after else 'none'} on {other}, has"
        return f"{title}: {word} {amount}"
    if not process.changes and not any(process.get(name) for name in MAIN_FIGURES):
        return f"{title}: no {'difference' if elsewhere else 'change'}{span}"
    # What grew and was paged out at once is in the footprint alone.
    changed_figure = next((figure for figure in ("rss_kib", "footprint_kib", "size_kib") if process.get(figure)), None)
    if changed_figure is None:
        dirty = process.get("dirty_kib")
        about = f", dirty {format_delta_kib(dirty)}" if dirty else ""
        known = [_word(figure) for figure in ("rss_kib", "size_kib") if process.get(figure) is not None]
        same = f"{' and '.join(known)} as before" if known else "neither Rss nor Size is in both tables"
        if elsewhere and known:
            same = f"no difference in {' and '.join(known)}"
        return f"{title}: {same}{span}{about}; {plural(len(process.changes), 'region')} {'differ' if elsewhere else 'changed'}"
    total = process.get(changed_figure) or 0
    share = _main_share(process.changes, changed_figure, total)
    besides = f"{_size_too(process, changed_figure)}{_footprint_too(process, changed_figure)}{_threads(process)}"
    return f"{title}: {_word(changed_figure)} {format_delta_kib(total)}{besides}{span}{share}"


def _of_two_hosts(process: ProcessComparison, comparison: Comparison) -> tuple[str, str]:
    """`redis-server 2200 on web2`, and ` against 1100 on web1`: with its name, where that is another."""
    before, after = process.before, process.after
    ours, theirs = printable(comparison.before.host), printable(comparison.after.host)
    title = f"{process_title(process.process)} on {ours if after is None else theirs}"
    if before is None or after is None:
        return title, ""
    alike = before.process.name == after.process.name and before.process.pid
    other = str(before.process.pid) if alike else process_title(before.process)
    return title, f" against {other} on {ours}"


def _word(figure: str) -> str:
    return {"rss_kib": "Rss", "footprint_kib": "Footprint", "size_kib": "Size"}[figure]


def _size_too(process: ProcessComparison, figure: str) -> str:
    """`, Size +648 MiB` where much more is mapped than used so far: threads, arenas, reservations."""
    size, rss = process.get("size_kib") or 0, process.get("rss_kib") or 0
    return f", Size {format_delta_kib(size)}" if figure == "rss_kib" and abs(size) > max(4 * abs(rss), _MUCH_SIZE_KIB) else ""


def _footprint_too(process: ProcessComparison, figure: str) -> str:
    """`, footprint 0` where Rss says something else than the footprint: paging and page cache are no change of need."""
    rss, footprint = process.get("rss_kib") or 0, process.get("footprint_kib")
    if figure != "rss_kib" or footprint is None or abs(rss - footprint) <= max(_MUCH_ELSE_KIB, abs(rss) / 4):
        return ""
    return f", footprint {format_delta_kib(footprint)}"


def _threads(process: ProcessComparison) -> str:
    before, after = ((capture.threads if capture is not None else None) for capture in (process.before, process.after))
    return f", threads {before:,} → {after:,}" if before is not None and after is not None and before != after else ""


def _main_share(changes: Sequence[Change], figure: str, total: int) -> str:
    """`; 96 % of it [heap]`: the name that explains most; regions of one name are counted together.

    Where much went the other way as well, a share would mislead: then both sums are given.
    """
    amounts = [change.get(figure) or 0 for change in changes]
    if not any(amounts):
        return ""
    gained, lost = sum(a for a in amounts if a > 0), sum(a for a in amounts if a < 0)
    if min(gained, -lost) > abs(total) / 4:
        return f" net of {format_delta_kib(gained)} and {format_delta_kib(lost)}"
    groups: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        if change.get(figure):
            # A sentence has no room for a path, its basename says enough.
            groups[region_name(change).rsplit("/", 1)[-1]].append(change)
    amount, name = max((sum(c.get(figure) or 0 for c in group) * (1 if total > 0 else -1), name) for name, group in groups.items())
    several = f"{len(groups[name]):,} × " if len(groups[name]) > 1 else ""
    name = shorten(name, _LONGEST_NAME)
    percent = round(100 * amount / abs(total))
    if percent > 100:
        return f"; {several}{name} alone {format_delta_kib(amount if total > 0 else -amount)}"
    return f"; {percent} % of it {several}{name}"
