"""What is said of growth, the same in every form: verdicts, rates, when something is full, what a whole result comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite

from pmapdiff.analyse.result import End, Figure, Finding, Leaks, Sibling, Suspect, TimeToLimit, Trend, Verdict
from pmapdiff.report.leak_shape import main_finding, next_limit
from pmapdiff.report.words import process_title
from pmapdiff.text import printable
from pmapdiff.units import format_delta_kib, format_duration, format_growth_count, format_growth_kib, format_kib, format_moment_short, plural

VERDICT_WORDS = {
    Verdict.GROWING: "it keeps growing, and it is not page cache",
    Verdict.STEP: "it changed at a stroke, and stayed there",
    Verdict.PLATEAU: "it grew, and has stopped or is about to",
    Verdict.SAWTOOTH: "it rises and is freed again, and what stays does not grow",
    Verdict.CACHE: "only pages of files grow, which the kernel drops when it needs the memory",
    Verdict.SHRINKING: "it keeps shrinking",
    Verdict.STABLE: "it stays as it is",
    Verdict.TOO_SHORT: "there are too few tables to say anything",
}
_FIGURE_WORDS = {
    Figure.FOOTPRINT: "footprint",
    Figure.SHARED: "shared memory",
    Figure.CACHE: "page cache",
    Figure.RSS: "Rss",
    Figure.SIZE: "Size",
    Figure.DIRTY: "dirty pages of files",
    Figure.MAPPINGS: "mappings",
}
_HOURS = ((2.0, 1 / 60, "min"), (48.0, 1.0, "h"), (24 * 800.0, 24.0, "d"))
_YEAR_HOURS = 24 * 365.25
_A_CENTURY_HOURS = 100 * _YEAR_HOURS


_STYLES = {Verdict.GROWING: "red", Verdict.PLATEAU: "yellow", Verdict.STEP: "yellow"}
_COMMANDS = 3
# A rate says nothing of what has come to rest, or goes up and down.
_GOES_ON = frozenset((Verdict.GROWING, Verdict.SHRINKING, Verdict.CACHE))


def style_of(verdict: Verdict, *, urgent: bool) -> str:
    """Red is what grows, and bold what is urgent; what is of no concern steps back."""
    style = _STYLES.get(verdict, "dim")
    return f"bold {style}" if urgent else style


def history_commands(finding: Finding) -> str:
    """What shows the first regions of a finding snapshot by snapshot: `pmapdiff history 55d0c0000000@1`."""
    first, *others = finding.region_ids[:_COMMANDS] or ("",)
    return f"snapshot by snapshot: pmapdiff history {first}{'; also ' if others else ''}{', '.join(others)}" if first else ""


def figure_words(figure: Figure) -> str:
    """`footprint`, `page cache`, `Rss`."""
    return _FIGURE_WORDS[figure]


def suspect_title(suspect: Suspect, leaks: Leaks) -> str:
    """`redis-server 1100`; where there are several hosts, also on which of them."""
    return on_host(process_title(suspect.process), suspect.host, leaks)


def sibling_title(sibling: Sibling, leaks: Leaks) -> str:
    """The same of another process of the service."""
    return on_host(process_title(sibling.process), sibling.host, leaks)


def on_host(title: str, host: str, leaks: Leaks) -> str:
    """A title with its host where there are several."""
    return title if len(leaks.hosts) < 2 else f"{title} on {printable(host)}"


def what_words(finding: Finding) -> str:
    """`[heap]`, or the family too where the name does not say it: `malloc-arena: 8 × [anon]`."""
    name, family = printable(finding.name), printable(finding.family)
    if finding.figure.is_count or not name:
        return family
    return name if name.strip("[]") == family else f"{family}: {name}"


def growth_words(trend: Trend, figure: Figure, *, short: bool = False, margin: bool = False) -> str:
    """`+12.0 MiB/h`, `+412 mappings/h`; where there is little room, `+412 maps/h`, where there is much, `+12.0 ±0.8 MiB/h`.

    The margin is to the end of the interval that is further away. `-` if it is unknown, nothing of what has come to rest.
    """
    if trend.verdict not in _GOES_ON:
        return ""
    if not isfinite(trend.slope):
        return "-"
    words = _growth([trend.slope], figure, short=short)
    if not margin or not _is_interval(trend) or words == "0":
        return words
    most = max(trend.high - trend.slope, trend.slope - trend.low)
    amount, _, unit = words.partition(" ")
    width = _growth([trend.slope, most], figure, short=short).partition(" ")[0].lstrip("+")
    return words if width == "0" else f"{amount} ±{width} {unit}"


def range_words(trend: Trend, figure: Figure) -> str:
    """The interval in the unit of the slope: `+11.2 to +12.9 MiB/h`, or `less than ±0.1 MiB/h`; nothing if there is none."""
    if not _is_interval(trend):
        return ""
    words = _growth([trend.slope, trend.low, trend.high], figure)
    low, _, rest = words.partition(" to ")
    high, _, unit = rest.partition(" ")
    return f"less than ±{'0.1' if '.' in low else '1'} {unit}" if low == high else words


def _is_interval(trend: Trend) -> bool:
    return trend.verdict in _GOES_ON and all(map(isfinite, (trend.slope, trend.low, trend.high))) and trend.low < trend.high


def rate_words(slope: float, figure: Figure, *, short: bool = False) -> str:
    """`+12.0 MiB/h`, `+412 mappings/h`: of no one trend."""
    return _growth([slope], figure, short=short)


def _growth(values: Sequence[float], figure: Figure, *, short: bool = False) -> str:
    return format_growth_count(*values, unit="maps" if short else "mappings") if figure.is_count else format_growth_kib(*values)


def delta_words(trend: Trend, figure: Figure, *, short: bool = False) -> str:
    """`+1.2 GiB`, `+4,120 mappings`; `-` if it is unknown."""
    if not isfinite(trend.delta):
        return "-"
    number = round(trend.delta)
    if figure.is_count:
        return f"{number:+,} {'maps' if short else 'mappings'}" if number else "0"
    return format_delta_kib(number)


def hours_words(low: float, high: float | None) -> str:
    """`5 to 7 h`, `40 min to 3 h`, `about 5 h`, `3 d or more`: when something is reached."""
    if low >= _A_CENTURY_HOURS or not isfinite(low):
        return "a century or more"
    first, unit = _hours(low)
    if high is None or not isfinite(high) or high >= _A_CENTURY_HOURS:
        return f"{first} {unit} or more"
    last, last_unit = _hours(high)
    if unit != last_unit:
        return f"{first} {unit} to {last} {last_unit}"
    return f"about {first} {unit}" if first == last else f"{first} to {last} {unit}"


def _hours(hours: float) -> tuple[str, str]:
    size, unit = next(((length, name) for limit, length, name in _HOURS if hours < limit), (_YEAR_HOURS, "years"))
    value = max(hours, 0.0) / size
    return (f"{value:.1f}" if 0 < value < 9.95 and unit != "min" else f"{value:.0f}").removesuffix(".0"), unit


def limit_words(limit: TimeToLimit) -> str:
    """`in 5 to 7 h: cgroup limit`."""
    when = "reached" if limit.used >= limit.limit else f"in {hours_words(limit.low_hours, limit.high_hours)}"
    return f"{when}: {printable(limit.what)}"


def limit_sentence(limit: TimeToLimit, figure: Figure) -> str:
    """`full in 5 to 7 h: cgroup limit (2.6 GiB of 4.0 GiB used)`."""
    used, most = (f"{n:,}" if figure.is_count else format_kib(n) for n in (limit.used, limit.limit))
    return f"full {limit_words(limit)} ({used} of {most} used)"


def trend_sentence(trend: Trend, figure: Figure, share: float | None = None) -> str:
    """`+12.0 MiB/h (95 %: +11.2 to +12.9 MiB/h), +1.2 GiB since 2026-11-22 14:00:00, 93 % of the growth`; empty if there is nothing to say."""
    parts = []
    if trend.verdict in _GOES_ON:
        interval = range_words(trend, figure)
        parts.append(growth_words(trend, figure) + (f" (95 %: {interval})" if interval else ""))
    if isfinite(trend.delta) and round(trend.delta):
        since = "in all" if trend.onset_us is None else f"since {format_moment_short(trend.onset_us)}"
        parts.append(f"{delta_words(trend, figure)} {since}")
    if share is not None and isfinite(share):
        parts.append(f"{share:.0%}".replace("%", " %") + " of the growth")
    measured = "" if figure in (Figure.FOOTPRINT, Figure.MAPPINGS) or not parts else f"{figure_words(figure)} "
    return measured + ", ".join(parts)


def finding_lines(finding: Finding) -> list[str]:
    """What is known of a finding besides its evidence: how fast, since when, what share, until when."""
    how = trend_sentence(finding.trend, finding.figure, finding.share)
    return [*([how] if how else []), *(limit_sentence(limit, finding.figure) for limit in finding.limits)]


def counts_words(suspects: Iterable[Suspect], *, urgent: str = "") -> str:
    """`2 growing (1 urgent), 1 step, 130 stable`, in the order of the verdicts; of the urgent ones also what makes them so."""
    found = list(suspects)
    counts = Counter(suspect.verdict for suspect in found)
    hurry = sum(suspect.urgent for suspect in found)
    parts = {verdict: f"{counts[verdict]:,} {verdict.value.replace('-', ' ')}" for verdict in Verdict if counts[verdict]}
    if urgent and hurry and Verdict.GROWING in parts:
        parts[Verdict.GROWING] += f" ({hurry:,} {urgent})"
    return ", ".join(parts.values())


def headline(leaks: Leaks) -> str:
    """What was looked at, and what it comes to: `148 services, 300 snapshots in 25 h up to …: 2 growing, 12 cache, 134 stable`."""
    looked = f"{plural(len(leaks.processes), 'service')}, {looked_words(leaks.snapshots, leaks.since_us, leaks.until_us)}"
    if not leaks.processes:
        return looked
    counts = counts_words(leaks.processes, urgent=f"full within {within_words(leaks)}")
    none = "" if any(suspect.verdict is Verdict.GROWING for suspect in leaks.processes) else "none growing, "
    return f"{looked}: {none}{counts}"


def within_words(leaks: Leaks) -> str:
    """The time within which growth must fill the memory to be urgent: `90 d`."""
    return format_duration(leaks.horizon_hours * 3600).replace(".0 d", " d")


def looked_words(snapshots: int, since_us: int | None, until_us: int | None) -> str:
    """`300 snapshots in 25 h up to 2026-11-23 11:00:00`: that they are old is for the reader to see."""
    words = plural(snapshots, "snapshot")
    if since_us is None or until_us is None:
        return words
    span = f" in {format_duration((until_us - since_us) / 1e6)} up to" if until_us > since_us else " of"
    return f"{words}{span} {format_moment_short(until_us)}"


def span_words(suspect: Suspect) -> str:
    """`300 snapshots in 25 h up to 2026-11-23 11:00:00, 2 restarts`."""
    moments = suspect.moments_us
    again = f", {plural(suspect.restarts, 'restart')}" if suspect.restarts else ""
    return looked_words(suspect.snapshots, moments[0] if moments else None, moments[-1] if moments else None) + again


def size_words(suspect: Suspect) -> str:
    """`footprint 210 MiB → 1.4 GiB, at most 1.5 GiB; +12.0 MiB/h …`: the whole process; nothing if no table says it."""
    known = [value for value in suspect.series if value is not None]
    if not known:
        return ""
    most = f", at most {format_kib(max(known))}" if max(known) > max(known[0], known[-1]) else ""
    trend = trend_sentence(suspect.trend, suspect.figure)
    of_what = figure_words(suspect.figure)
    sizes = " → ".join(format_kib(value) for value in (known[0], known[-1])[: len(known)])
    return f"{of_what} {sizes}{most}{'; ' if trend else ''}{trend.removeprefix(f'{of_what} ')}"


def end_sentence(end: End) -> str:
    """`last seen 2026-11-23 03:12:00: footprint 1.4 GiB, Rss 1.4 GiB`."""
    return f"last seen {format_moment_short(end.last_seen_us)}: footprint {format_kib(end.footprint_kib)}, Rss {format_kib(end.rss_kib)}"


def verdict_sentence(suspect: Suspect) -> str:
    """The answer: `growing: [heap] +12.0 MiB/h since 2026-11-22 14:00:00, full in 5 to 7 h: cgroup limit`, or what the verdict means."""
    finding = main_finding(suspect)
    verdict = suspect.verdict.value.replace("-", " ")
    if finding is None or suspect.verdict is not Verdict.GROWING:
        return f"{verdict}: {VERDICT_WORDS[suspect.verdict]}"
    since = "" if finding.trend.onset_us is None else f" since {format_moment_short(finding.trend.onset_us)}"
    known = next_limit(suspect)
    until = "" if known is None else f", full {limit_words(known[0])}"
    return f"{verdict}: {what_words(finding)} {growth_words(finding.trend, finding.figure)}{since}{until}"
