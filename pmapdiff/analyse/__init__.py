"""What keeps growing: verdicts on the series of a store.

`pmapdiff.analyse.leaks` is the way in; it is not imported here, because it loads numpy and scipy, and every report looks at the result's types.
"""

from pmapdiff.analyse.result import End, Figure, Finding, Leaks, Sibling, Suspect, TimeToLimit, Trend, Verdict

__all__ = [
    "End",
    "Figure",
    "Finding",
    "Leaks",
    "Sibling",
    "Suspect",
    "TimeToLimit",
    "Trend",
    "Verdict",
]
