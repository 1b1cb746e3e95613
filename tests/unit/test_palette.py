"""Any two families can be told apart by their colours, whoever looks, and what stands on a colour can be read."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from pmapdiff.align import FAMILIES
from pmapdiff.report.visual.palette import Palette, style_variables

# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009: severity 1.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(colour: str) -> NDArray[np.float64]:
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(light: NDArray[np.float64]) -> NDArray[np.float64]:
    parts = XYZ @ np.clip(light, 0, 1) / WHITE
    f = np.where(parts > 0.008856, np.cbrt(parts), 7.787 * parts + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHTS)
def test_any_two_families_can_be_told_apart(sight: str) -> None:
    palette = Palette(FAMILIES, in_page=False)
    seen = {name: lab(SIGHTS[sight] @ linear(palette.family(name))) for name in FAMILIES}
    distances = {(one, other): float(np.linalg.norm(seen[one] - seen[other])) for one, other in combinations(FAMILIES, 2)}
    nearest = min(distances, key=lambda pair: distances[pair])
    assert distances[nearest] > 13, nearest


def contrast(one: str, other: str) -> float:
    lights = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def test_what_stands_on_a_colour_can_be_read() -> None:
    palette = Palette(FAMILIES, in_page=False)
    for name, ink in zip(FAMILIES, palette.inks(), strict=True):
        assert contrast(palette.family(name), ink) >= 4.5, name


@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read_on_their_ground(dark: bool) -> None:
    variables = dict(declared.split(":") for declared in style_variables(FAMILIES, dark=dark).split(";"))
    for role in ("--ink", "--faint", "--alarm"):
        assert contrast(variables[role], variables["--ground"]) >= 4.5, role


def test_families_of_ones_own_have_colours_of_their_own() -> None:
    palette = Palette((*FAMILIES, "cache", "arena"), in_page=False)
    assert len(set(palette.range())) == len(FAMILIES) + 2
