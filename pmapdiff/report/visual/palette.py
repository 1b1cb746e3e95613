"""Colours of families: told apart by people who see colours in any way, on a light ground and on a dark one.

The hues are those of Okabe and Ito ("Color Universal Design", 2008) and of Paul Tol ("Colour Schemes", SRON/EPS/TN/09-002): what is often seen
together differs in lightness too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_COLOURS = {
    # family: on light, on dark
    "heap": ("#d55e00", "#ee7733"),
    "malloc-arena": ("#e69f00", "#f0b840"),
    "thread-stack": ("#ddcc77", "#e8dd9a"),
    "stack": ("#999933", "#bbbb55"),
    "anon": ("#0072b2", "#3f9bdc"),
    "managed-heap": ("#aa4499", "#cc77bb"),
    "jit": ("#882255", "#bb5588"),
    "image": ("#009e73", "#22bb90"),
    "file": ("#88ccee", "#99d5f2"),
    "shm": ("#332288", "#8c7ae6"),
    "sysv-shm": ("#44aa99", "#66ccbb"),
    "memfd": ("#117733", "#44a866"),
    "device": ("#cc6677", "#e08c99"),
    "kernel": ("#777777", "#999999"),
    "other": ("#aaaaaa", "#777777"),
}
# For families that people add: what no built-in one has.
_OTHERS = (("#5f4690", "#a692d8"), ("#94346e", "#cf6fa9"), ("#6f4070", "#b083b2"), ("#994e95", "#cc88c8"), ("#1d6996", "#5aa7d6"))
_ROLES = {
    # role: on light, on dark
    "ground": ("#ffffff", "#16181d"),
    "ink": ("#1c1e21", "#e6e6e6"),
    "faint": ("#6a6f76", "#9aa0a8"),
    "line": ("#d9dce1", "#363a42"),
    "alarm": ("#b00020", "#ff6b7d"),
    "mark": ("#1c1e21", "#ffffff"),
}


@dataclass(frozen=True, slots=True)
class Palette:
    """Which colour something has: in a page the name of a variable, which is another in the dark; in a picture by itself the colour."""

    families: tuple[str, ...]
    in_page: bool

    def role(self, name: str) -> str:
        """The colour of the ground, the ink and so on."""
        return f"var(--{name})" if self.in_page else _ROLES[name][0]

    def family(self, name: str) -> str:
        """The colour of a family."""
        return f"var(--family-{self.families.index(name)})" if self.in_page else _family_colours(name, self.families)[0]

    def range(self) -> list[str]:
        """The colours of all families, in their order."""
        return [self.family(name) for name in self.families]

    def inks(self) -> list[str]:
        """Black or white for each family, whichever is read better on its colour."""
        if self.in_page:
            return [f"var(--ink-{number})" for number in range(len(self.families))]
        return [_ink_on(_family_colours(name, self.families)[0]) for name in self.families]


def _ink_on(colour: str) -> str:
    """Black or white, by the relative luminance of WCAG 2.1."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"


def _family_colours(name: str, families: Sequence[str]) -> tuple[str, str]:
    own = [family for family in families if family not in _COLOURS]
    return _COLOURS[name] if name in _COLOURS else _OTHERS[own.index(name) % len(_OTHERS)]


def style_variables(families: Sequence[str], *, dark: bool) -> str:
    """The variables of a page, as declarations of CSS."""
    shade = int(dark)
    declared = [f"--{role}:{colours[shade]}" for role, colours in _ROLES.items()]
    for number, name in enumerate(families):
        colour = _family_colours(name, families)[shade]
        declared += [f"--family-{number}:{colour}", f"--ink-{number}:{_ink_on(colour)}"]
    return ";".join(declared)
