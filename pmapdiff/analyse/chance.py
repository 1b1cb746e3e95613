"""Of many things that are looked at, some look like growth by chance: how many, among those that look like it."""

from __future__ import annotations

from collections.abc import Sequence

# Of those that are called growing, among many, no more than this part may be chance (Benjamini and Hochberg).
FALSE_DISCOVERIES = 0.1


def discovery_chances(ps: Sequence[float]) -> list[float]:
    """Of each p-value among many, the part of chance discoveries among all that are as small (Benjamini and Hochberg)."""
    chances, least = [1.0] * len(ps), 1.0
    for rank, number in sorted(enumerate(sorted(range(len(ps)), key=ps.__getitem__), 1), reverse=True):
        least = chances[number] = min(least, ps[number] * len(ps) / rank)
    return chances
