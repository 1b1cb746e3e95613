"""Reads what is packed in a page, independently of what packs it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from itertools import accumulate
from pathlib import Path
from typing import Any

PAGE_KIB = 4


def packed_in(path: Path) -> dict[str, Any]:
    """The content of a page."""
    found = re.search(r'<script type="text/plain" id="content">([^<]*)</script>', path.read_text())
    assert found is not None
    data: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(found[1])))
    assert data["schema"] == "pmapdiff.page/1"
    return data


def series_of(lists: list[Any], figure: int, size: int) -> list[int | None]:
    """One figure at every snapshot."""
    encoded = lists[figure]
    if isinstance(encoded, int):
        return series_of(lists, encoded, size)
    values: list[int | None] = []
    current: int | None = None
    last = 0
    for gap, difference in zip(encoded[::2], encoded[1::2], strict=True):
        values += [current] * gap
        current = None if difference is None else last + difference
        last = last if current is None else current
    return values + [current] * (size - len(values))


def snapshots_in(data: dict[str, Any]) -> int:
    """Of how many snapshots it is."""
    return len(data["moments"]["ids"])


def lies_at(row: list[Any], step: int, permissions: list[str]) -> list[tuple[int, int, str]]:
    """Where the mappings of a region lie at a step: first address, end, permissions."""
    spans = row[7]
    flat: list[int] = []
    for start, lie in zip(spans[::2], spans[1::2], strict=True):
        if start <= step:
            flat = lie
    pages = list(accumulate(flat[::3]))
    return [(page * 4096, (page + length) * 4096, permissions[perms]) for page, length, perms in zip(pages, flat[1::3], flat[2::3], strict=True)]
