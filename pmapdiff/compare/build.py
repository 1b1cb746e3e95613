"""From two snapshots to what changed: components become changes, and everything adds up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from pmapdiff.align import (
    BUILT_IN,
    FAMILIES,
    Classifier,
    Component,
    Match,
    Verdict,
    align_by_name,
    align_incarnations,
    align_same_process,
    are_saved_tables,
    explain,
    hold_sums,
    judge_saved,
    pair_processes,
    unequal_parts,
)
from pmapdiff.align.labels import bss_owners, display_name, same_object_name, speaker
from pmapdiff.compare.effects import observe
from pmapdiff.compare.result import Change, Comparison, FamilyChange, ProcessComparison
from pmapdiff.model import FIGURE_INDEX, FIGURES, Capture, Figures, Mapping, MappingTable, Snapshot, SnapshotRef, Totals
from pmapdiff.model.counters import subtract_figures, sum_figures
from pmapdiff.model.mapping import perms_agree
from pmapdiff.text import decode

_SIZE, _RSS, _DIRTY = (FIGURE_INDEX[name] for name in ("size_kib", "rss_kib", "dirty_kib"))
_RESIDENT = tuple(FIGURE_INDEX[name] for name in ("rss_kib", "swap_kib", "private_hugetlb_kib", "shared_hugetlb_kib"))
_NOTHING = MappingTable(())
_UNKNOWN: Figures = (None,) * len(FIGURES)


def compare_snapshots(before: Snapshot, after: Snapshot, *, same: bool | None = None, classifier: Classifier = BUILT_IN) -> Comparison:
    """What changed between two snapshots whose captures have their tables.

    `same` decides for tables that carry no identity (saved files) whether they are one process (True), two
    incarnations (False), or that their addresses shall tell (None). Two snapshots of one process each, of which one has no identity, are
    compared with each other whatever they are called. Of two hosts no process is the same, and no address means anything: each is compared as
    another incarnation. `classifier` says which families to report.
    """
    elsewhere = before.ref.is_elsewhere(after.ref)
    if elsewhere and same is None:
        same = False
    pairs: list[tuple[Capture | None, Capture | None, Match]]
    if are_saved_tables(before.captures, after.captures):
        pairs = [(before.captures[0], after.captures[0], Match.RESTARTED)]
    else:
        pairs = _pair(before, after)
    judged = [match if one is None or other is None else judge_saved(match, one, other, same) for one, other, match in pairs]
    limit = after.ref.max_map_count
    compared = [compare_captures(one, other, match, classifier, limit) for (one, other, _), match in zip(pairs, judged, strict=True)]
    compared = [_mark_unrecorded(process, before.ref, after.ref) for process in compared]
    return Comparison(before.ref, after.ref, tuple(sorted(compared, key=_weight)), classifier.families)


def _mark_unrecorded(process: ProcessComparison, before: SnapshotRef, after: SnapshotRef) -> ProcessComparison:
    """A process that may be in one snapshot alone because the other is of another selection, as such."""
    unlike = before.selection != after.selection
    if process.match is Match.NEW:
        # On another host it may have run all the time.
        others = unlike and before.selection != "--all"
        ran = others if before.is_elsewhere(after) else process.process.had_started_by(before.taken_at_us)
        return replace(process, unrecorded_before=True) if ran else process
    gone = process.match is Match.GONE and unlike and after.selection != "--all"
    return replace(process, unrecorded_after=True) if gone else process


def _pair(before: Snapshot, after: Snapshot) -> list[tuple[Capture | None, Capture | None, Match]]:
    """The captures that belong together. In the order of time, whichever way they are compared: what runs is no restart of what runs."""
    elsewhere = before.ref.is_elsewhere(after.ref)
    at_once = before.ref.taken_at_us == after.ref.taken_at_us
    if after.ref.taken_at_us < before.ref.taken_at_us or (elsewhere and at_once and after.ref.host < before.ref.host):
        turned = {Match.NEW: Match.GONE, Match.GONE: Match.NEW}
        return [(one, other, turned.get(match, match)) for other, one, match in _pair(after, before)]
    in_order = before.ref.host == after.ref.host and before.ref.taken_at_us < after.ref.taken_at_us
    until_us = [before.ref.taken_at_us] * len(before.captures) if in_order else None
    apart = [elsewhere] * len(before.captures)
    positions = pair_processes([c.process for c in before.captures], [c.process for c in after.captures], until_us, apart)
    return [(None if i is None else before.captures[i], None if j is None else after.captures[j], match) for i, j, match in positions]


def _weight(process: ProcessComparison) -> tuple[int, int, int]:
    return (-abs(process.get("rss_kib") or 0), -abs(process.get("size_kib") or 0), process.process.pid)


def compare_captures(
    before: Capture | None, after: Capture | None, match: Match, classifier: Classifier = BUILT_IN, max_map_count: int | None = None
) -> ProcessComparison:
    """What changed in one process; a capture that is None is that of a process which was not there.

    `max_map_count` is the later host's limit on the number of mappings, if that is known.
    """
    ours = _NOTHING if before is None else before.table
    theirs = _NOTHING if after is None else after.table
    sums_before = _NOTHING.totals if before is None else before.sums
    sums_after = _NOTHING.totals if after is None else after.sums
    if ours is None or theirs is None or sums_before is None or sums_after is None:
        return ProcessComparison(
            before, after, match, FIGURES, None if ours is None else sums_before, None if theirs is None else sums_after, _UNKNOWN, (), (), 0
        )
    missing = tuple(name for name in FIGURES if name in ours.missing or name in theirs.missing)
    known = [name not in missing for name in FIGURES]
    our_side = _Side(ours.mappings, before, classifier)
    is_one = before is not None and after is not None and theirs is ours and before.threads == after.threads
    builder = _Builder(
        our_side,
        our_side if is_one else _Side(theirs.mappings, after, classifier),
        known,
        addresses_count=match in (Match.SAME, Match.NEW, Match.GONE) and not (ours.has_sums or theirs.has_sums),
    )
    changes = sorted(builder.changes(), key=_change_order)
    changed = sum(len(change.after) for change in changes)
    # Of tables without counters the kernel's own counts are the totals: they can be compared though no row can.
    delta = subtract_figures(sums_after.figures, sums_before.figures)
    effects = observe(changes, ours.mappings, theirs.mappings, same_process=match is Match.SAME, limit=max_map_count)
    return ProcessComparison(
        before,
        after,
        match,
        missing,
        sums_before,
        sums_after,
        delta,
        builder.families(classifier.families),
        tuple(changes),
        len(theirs.mappings) - changed,
        effects,
    )


def _change_order(change: Change) -> tuple[int, ...]:
    first = (change.after or change.before)[0]
    return (-abs(change.delta[_RSS] or 0), -abs(change.delta[_SIZE] or 0), -abs(change.delta[_DIRTY] or 0), first.start, first.end)


class _Side:
    """One of two tables: `families` by the built-in rules, which the aligner goes by, `verdicts` to report."""

    def __init__(self, mappings: Sequence[Mapping], capture: Capture | None, classifier: Classifier) -> None:
        self.mappings = mappings
        built_in = explain(mappings, None if capture is None else capture.threads)
        self.families = [verdict.family for verdict in built_in]
        self.verdicts = built_in if capture is None else classifier.override(built_in, mappings, capture.process)


class _Builder:
    """The changes of one pair of tables."""

    def __init__(self, ours: _Side, theirs: _Side, known: list[bool], *, addresses_count: bool) -> None:
        self._before, self._after, self._known = ours.mappings, theirs.mappings, known
        self._addresses_count = addresses_count
        self._families_before, self._families_after = ours.families, theirs.families
        self._verdicts_before, self._verdicts_after = ours.verdicts, theirs.verdicts

    def mask(self, figures: Figures) -> Figures:
        """Figures without those that one of the tables lacks: half a difference is none."""
        return tuple([value if known else None for value, known in zip(figures, self._known, strict=True)])

    def changes(self) -> Iterable[Change]:
        """Every component that is not what it was."""
        owners_before, owners_after = bss_owners(self._before), bss_owners(self._after)
        for component in self._components():
            before = tuple([self._before[i] for i in component.before])
            after = tuple([self._after[j] for j in component.after])
            if not (component.moved or component.replaced) and len(before) == len(after) and self._are_unchanged(before, after):
                continue
            delta = self._delta(before, after)
            if after:
                side, verdicts, owners, positions = self._after, self._verdicts_after, owners_after, component.after
            else:
                side, verdicts, owners, positions = self._before, self._verdicts_before, owners_before, component.before
            position = positions[speaker(after or before)]
            mapping, owner = side[position], owners.get(position)
            yield Change(
                kinds=self._kinds(component, delta),
                possibly=component.possibly,
                family=verdicts[position].family,
                name=display_name(mapping, None if owner is None else side[owner]),
                path=None if mapping.path is None else decode(mapping.path),
                offset=mapping.offset,
                perms=mapping.perms,
                before=before,
                after=after,
                delta=delta,
                family_reason=verdicts[position].reason,
            )

    def _components(self) -> Iterable[Component]:
        """The regions of the two tables; of one process's only those near which anything is different."""
        if hold_sums(self._before, self._after):
            return align_by_name(self._before, self._after)
        if not self._addresses_count:
            return align_incarnations(self._before, self._after)
        ours, theirs = unequal_parts(self._before, self._after)
        families = [self._families_before[i] for i in ours], [self._families_after[j] for j in theirs]
        found = align_same_process([self._before[i] for i in ours], [self._after[j] for j in theirs], families)
        return (replace(c, before=tuple([ours[i] for i in c.before]), after=tuple([theirs[j] for j in c.after])) for c in found)

    def _delta(self, before: Sequence[Mapping], after: Sequence[Mapping]) -> Figures:
        return self.mask(subtract_figures(sum_figures(m.figures for m in after), sum_figures(m.figures for m in before)))

    def _are_unchanged(self, before: Sequence[Mapping], after: Sequence[Mapping]) -> bool:
        if not self._addresses_count and len(before) > 1:
            # Memory of one family in another incarnation: laid out in whatever order.
            before, after = (sorted(side, key=lambda m: (m.perms, *(-1 if v is None else v for v in m.figures))) for side in (before, after))
        return all(map(self._is_unchanged, before, after))

    def _is_unchanged(self, before: Mapping, after: Mapping) -> bool:
        if before == after:
            return True
        if self._addresses_count:
            if (before.start, before.end) != (after.start, after.end) or not same_object_name(before.name, after.name):
                # pmap has no name for [heap] or [vdso], which is no change.
                nameless = before.inode is None or after.inode is None
                if (before.start, before.end) != (after.start, after.end) or before.is_file or after.is_file or not nameless:
                    return False
            # pmap's [ shmid=… ] does not say so, nor does the kernel's mark of SysV memory mean anything.
            if before.name.endswith(b" (deleted)") != after.name.endswith(b" (deleted)") and not (before.is_shared_memory and after.is_shared_memory):
                return False
        both_flags = before.flags is not None and after.flags is not None
        both_offsets = before.offset is not None and after.offset is not None
        return (
            perms_agree(before.perms, after.perms)
            and (not both_flags or before.flags == after.flags)
            and (not both_offsets or before.offset == after.offset)
            and (before.layout != after.layout or before.extra == after.extra)
            and self.mask(before.figures) == self.mask(after.figures)
            and all(old == new or old is None or new is None for old, new in zip(before.counters, after.counters, strict=True))
        )

    def _kinds(self, component: Component, delta: Figures) -> tuple[str, ...]:
        if not component.before:
            return ("new",)
        if not component.after:
            return ("gone",)
        size, dirty = delta[_SIZE] or 0, delta[_DIRTY] or 0
        # With the address range unchanged, what is resident or paged out decides: paging alone is neither. Huge pages of
        # hugetlbfs are not in Rss.
        grown = size or sum(delta[index] or 0 for index in _RESIDENT)
        same_place = not component.moved and self._addresses_count
        holds = {
            "grew": grown > 0,
            "shrank": grown < 0,
            "moved": component.moved,
            "split": same_place and component.parts_after > component.parts_before,
            "merged": same_place and component.parts_after < component.parts_before,
            "reprotected": component.reprotected,
            "replaced": component.replaced,
            "dirtied": dirty > 0,
            "cleaned": dirty < 0,
        }
        return tuple(kind for kind, held in holds.items() if held) or ("changed",)

    def families(self, order: Sequence[str]) -> tuple[FamilyChange, ...]:
        """The families that either table has, in this order."""
        ours = _by_family(self._before, self._verdicts_before)
        theirs = ours if self._verdicts_after is self._verdicts_before else _by_family(self._after, self._verdicts_after)
        nothing = _Sums(Totals(0, sum_figures(())), Counter())
        result = []
        for family in order:
            if family in ours or family in theirs:
                (before, rules_before), (after, rules_after) = ours.get(family, nothing), theirs.get(family, nothing)
                delta = self.mask(subtract_figures(after.figures, before.figures))
                reasons = tuple((reason, rules_before[reason], rules_after[reason]) for reason in sorted({*rules_before, *rules_after}))
                result.append(FamilyChange(family, before.mappings, after.mappings, before.figures, after.figures, delta, reasons))
        return tuple(result)


class _Sums(NamedTuple):
    """What one family of a table adds up to, and how many of its mappings each rule has put there."""

    totals: Totals
    rules: Counter[str]


def _by_family(mappings: Sequence[Mapping], verdicts: Sequence[Verdict]) -> dict[str, _Sums]:
    rows: dict[Verdict, list[Mapping]] = defaultdict(list)
    for mapping, verdict in zip(mappings, verdicts, strict=True):
        rows[verdict].append(mapping)
    members: dict[str, list[Mapping]] = defaultdict(list)
    rules: dict[str, Counter[str]] = defaultdict(Counter)
    for (family, reason), ruled in rows.items():
        members[family] += ruled
        rules[family][reason] += len(ruled)
    return {family: _Sums(MappingTable(tuple(together)).totals, rules[family]) for family, together in members.items()}


def family_changes(processes: Iterable[ProcessComparison], order: Sequence[str] = FAMILIES) -> list[FamilyChange]:
    """The families of several processes together, in this order."""
    grouped: dict[str, list[FamilyChange]] = defaultdict(list)
    for process in processes:
        for row in process.families:
            grouped[row.family].append(row)
    return [
        FamilyChange(
            family,
            sum(row.mappings_before for row in rows),
            sum(row.mappings_after for row in rows),
            sum_figures(row.before for row in rows),
            sum_figures(row.after for row in rows),
            sum_figures(row.delta for row in rows),
            _add_reasons(rows),
        )
        for family in order
        if (rows := grouped.get(family))
    ]


def _add_reasons(rows: Iterable[FamilyChange]) -> tuple[tuple[str, int, int], ...]:
    added: dict[str, tuple[int, int]] = {}
    for row in rows:
        for reason, before, after in row.reasons:
            sums = added.get(reason, (0, 0))
            added[reason] = (sums[0] + before, sums[1] + after)
    return tuple((reason, *counts) for reason, counts in sorted(added.items()))
