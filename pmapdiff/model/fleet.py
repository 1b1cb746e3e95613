"""What is known of hosts that nothing else is known of."""

from __future__ import annotations

from typing import NamedTuple


class Failure(NamedTuple):
    """A host that nothing can be said of, and why: one line, which need not be safe to print."""

    host: str
    reason: str
