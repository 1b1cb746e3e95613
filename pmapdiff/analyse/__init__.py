"""What keeps growing: verdicts on the series of a store."""

from pmapdiff.analyse.leaks import DEFAULT_HORIZON_HOURS, find_leaks
from pmapdiff.analyse.result import End, Figure, Finding, Leaks, Sibling, Suspect, TimeToLimit, Trend, Verdict

__all__ = [
    "DEFAULT_HORIZON_HOURS",
    "End",
    "Figure",
    "Finding",
    "Leaks",
    "Sibling",
    "Suspect",
    "TimeToLimit",
    "Trend",
    "Verdict",
    "find_leaks",
]
