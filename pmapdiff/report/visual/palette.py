"""Colours of families: told apart by people who see colours in any way, and the same on a light ground and on a dark one.

Those of heap, anon and image are near those of Okabe and Ito ("Color Universal Design", 2008). The others were searched for: any two of all are at
least
13 apart in CIELAB (CIE 1976) for normal sight and under the full protanopia, deuteranopia and tritanopia of Machado, Oliveira and Fernandes (2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_COLOURS = {
    "heap": "#dd6611",
    "malloc-arena": "#804e2d",
    "thread-stack": "#55f27f",
    "stack": "#9c97bd",
    "anon": "#2080c0",
    "managed-heap": "#c2dcf2",
    "jit": "#5242bd",
    "image": "#10a078",
    "file": "#9e2074",
    "shm": "#f2d5c2",
    "sysv-shm": "#d69df2",
    "memfd": "#94f255",
    "device": "#bd7342",
    "kernel": "#615a4e",
    "other": "#83bd7b",
}
# For families that people add: what no built-in one has.
_OTHERS = ("#5f4690", "#e0b030", "#b04060", "#70b0a0", "#c080a0")
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
        return f"var(--family-{self.families.index(name)})" if self.in_page else _family_colour(name, self.families)

    def range(self) -> list[str]:
        """The colours of all families, in their order."""
        return [self.family(name) for name in self.families]

    def inks(self) -> list[str]:
        """Black or white for each family, whichever is read better on its colour."""
        if self.in_page:
            return [f"var(--ink-{number})" for number in range(len(self.families))]
        return [_ink_on(_family_colour(name, self.families)) for name in self.families]


def _ink_on(colour: str) -> str:
    """Black or white, by the relative luminance of WCAG 2.1."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"


def _family_colour(name: str, families: Sequence[str]) -> str:
    own = [family for family in families if family not in _COLOURS]
    return _COLOURS[name] if name in _COLOURS else _OTHERS[own.index(name) % len(_OTHERS)]


def style_variables(families: Sequence[str], *, dark: bool) -> str:
    """The variables of a page, as declarations of CSS."""
    shade = int(dark)
    declared = [f"--{role}:{colours[shade]}" for role, colours in _ROLES.items()]
    for number, name in enumerate(families):
        colour = _family_colour(name, families)
        declared += [f"--family-{number}:{colour}", f"--ink-{number}:{_ink_on(colour)}"]
    return ";".join(declared)
