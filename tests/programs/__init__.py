"""Programs to be recorded, and what drives them from a test."""

from programs.driver import PROGRAMS, Forked, Lines, Result, Runner, Target, counters, header_names, isolated, unprivileged_prefix

__all__ = ["PROGRAMS", "Forked", "Lines", "Result", "Runner", "Target", "counters", "header_names", "isolated", "unprivileged_prefix"]
