"""Families of the user's own: buckets of a TOML file, tried before the built-in rules.

Buckets decide what is reported. How mappings are aligned does not depend on them: two people who compare the same snapshots see the
same regions.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from pmapdiff.align.families import FAMILIES, Verdict, explain
from pmapdiff.align.labels import bss_owners, display_name
from pmapdiff.errors import UsageError
from pmapdiff.model import Capture, Mapping, ProcessInfo
from pmapdiff.text import decode
from pmapdiff.units import parse_size_kib

# Longer ones do not fit into a column, and any other character might be one that a terminal or a spreadsheet understands.
_FAMILY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}")
_PATTERNS = ("process", "name", "path", "perms")
_KEYS = (*_PATTERNS, "size")
_SIZE = re.compile(r"(?P<operator>[<>]=?)(?P<limit>.*)|(?P<low>.*)\.\.(?P<high>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket: the family, and conditions that must all hold; None is no condition.

    Regular expressions are found in the text, not matched with the whole of it. Sizes are KiB, both ends included.
    """

    family: str
    process: re.Pattern[str] | None = None
    name: re.Pattern[str] | None = None
    path: re.Pattern[str] | None = None
    perms: re.Pattern[str] | None = None
    smallest_kib: int = 0
    largest_kib: int | None = None

    def takes_process(self, process: ProcessInfo) -> bool:
        """Whether its mappings may be in this bucket."""
        if self.process is None:
            return True
        program = decode(process.exe or b"")
        return any(self.process.search(text) is not None for text in (process.name, program, program.rsplit("/", 1)[-1]) if text)

    def takes_text(self, name: str, path: str | None, perms: str) -> bool:
        """Whether name, path and permissions of a mapping are as they must be."""
        if self.path is not None and (path is None or self.path.search(path) is None):
            return False
        return (self.name is None or self.name.search(name) is not None) and (self.perms is None or self.perms.search(perms) is not None)

    def takes_size(self, size_kib: int) -> bool:
        """Whether it is as large as it must be."""
        return self.smallest_kib <= size_kib and (self.largest_kib is None or size_kib <= self.largest_kib)


class Classifier:
    """Says what mappings are for: the user's buckets in their order, then the built-in rules."""

    def __init__(self, buckets: Sequence[Bucket] = ()) -> None:
        self._buckets = tuple(buckets)
        self._verdicts = {bucket.family: Verdict(bucket.family, f"your bucket {bucket.family}") for bucket in buckets}
        self.families = tuple(dict.fromkeys((*FAMILIES, *(bucket.family for bucket in buckets))))
        """Every family that there can be, in the order of reports: the built-in ones, then the buckets."""

    def explain(self, capture: Capture) -> list[Verdict]:
        """The family to report of each mapping of a capture, and why; none without a table."""
        if capture.table is None:
            return []
        mappings = capture.table.mappings
        return self.override(explain(mappings, capture.threads), mappings, capture.process)

    def override(self, verdicts: list[Verdict], mappings: Sequence[Mapping], process: ProcessInfo) -> list[Verdict]:
        """The verdicts of the built-in rules with those of the buckets in their place."""
        buckets = [bucket for bucket in self._buckets if bucket.takes_process(process)]
        if not buckets:
            return verdicts
        owners = bss_owners(mappings)
        known: dict[Hashable, list[Bucket]] = {}
        found = list(verdicts)
        for position, mapping in enumerate(mappings):
            owner = mappings[owners[position]] if position in owners else None
            likeness = (mapping.name, mapping.perms, mapping.is_file, owner and owner.name)
            candidates = known.get(likeness)
            if candidates is None:
                name = display_name(mapping, owner)
                path = None if mapping.path is None else decode(mapping.path)
                candidates = known[likeness] = [bucket for bucket in buckets if bucket.takes_text(name, path, mapping.perms)]
            for bucket in candidates:
                if bucket.takes_size(mapping.size_kib):
                    found[position] = self._verdicts[bucket.family]
                    break
        return found


BUILT_IN = Classifier()


def parse_buckets(data: bytes, source: str) -> Classifier:
    """The classifier that a TOML file asks for; `source` is what to call the file. Raises UsageError that names the bucket."""
    import tomllib

    try:
        content = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source}: not TOML: {error}") from None
    tables = content.pop("buckets", None)
    if content:
        raise UsageError(f"{source}: unknown table or key {next(iter(content))!r}: write [buckets.NAME]")
    if not isinstance(tables, dict) or not tables:
        raise UsageError(f"{source}: no buckets: write [buckets.NAME]")
    return Classifier([_bucket(family, table, f"{source}: bucket {family!r}") for family, table in tables.items()])


def _bucket(family: str, table: Any, where: str) -> Bucket:
    if _FAMILY.fullmatch(family) is None:
        raise UsageError(f"{where}: a name is one word of at most 20 letters, digits, dots, dashes and underscores")
    if not isinstance(table, dict):
        raise UsageError(f"{where}: not a table: write [buckets.{family}]")
    for key, value in table.items():
        if key not in _KEYS:
            raise UsageError(f"{where}: unknown key {key!r}: one of {', '.join(_KEYS)}")
        if not isinstance(value, str) or not value:
            raise UsageError(f"{where}: {key} must be a text that is not empty")
    if not table:
        raise UsageError(f"{where}: no condition, it would take everything: give at least one of {', '.join(_KEYS)}")
    patterns = {key: _pattern(table[key], f"{where}: {key}") for key in _PATTERNS if key in table}
    smallest, largest = _limits(table["size"], f"{where}: size") if "size" in table else (0, None)
    return Bucket(family, **patterns, smallest_kib=smallest, largest_kib=largest)


def _pattern(text: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"{where}: {text!r} is no regular expression: {error}") from None


def _limits(text: str, where: str) -> tuple[int, int | None]:
    """The smallest and the largest size in KiB, both included."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{where}: {text!r}: write '>= 128M', '> 4K', '<= 1G', '< 64K' or '4K..64M'")
    try:
        if match["operator"]:
            limit = parse_size_kib(match["limit"])
            smallest, largest = {">=": (limit, None), ">": (limit + 1, None), "<=": (0, limit), "<": (0, limit - 1)}[match["operator"]]
        else:
            smallest, largest = parse_size_kib(match["low"]), parse_size_kib(match["high"])
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    if largest is not None and largest < smallest:
        raise UsageError(f"{where}: {text!r}: no mapping is of that size")
    return smallest, largest
