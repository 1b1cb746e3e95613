"""The pictures of the documents are made by tests/screenshots.py, all of them, and show what is true now."""

from __future__ import annotations

import html
import re
from pathlib import Path

import drawings
import pytest
import screenshots

ROOT = Path(__file__).resolve().parents[2]
PICTURES = screenshots.all_pictures()


def words(svg: str) -> list[str]:
    """What is written in a picture. Where exactly it stands is the business of the libraries that draw."""
    texts = re.findall(r"<(?:text|tspan)\b[^>]*>([^<]*)</", svg)
    return [html.unescape(text).replace("\N{NO-BREAK SPACE}", " ").strip() for text in texts]


def test_every_picture_of_the_documents_is_made_and_every_picture_made_is_used() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    used = {
        (page.parent / target).resolve().relative_to(screenshots.IMAGES).as_posix()
        for page in pages
        for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())
    }
    assert used == set(PICTURES) == {path.name for path in screenshots.IMAGES.iterdir()}


@pytest.mark.parametrize("name", [name for name in PICTURES if name.endswith(".svg")])
def test_a_picture_shows_what_is_true_now(name: str) -> None:
    made = PICTURES[name]()
    assert isinstance(made, str)
    shown = words(made)
    assert len(shown) > 5
    assert words((screenshots.IMAGES / name).read_text()) == shown, "run `make screenshots`, and look at it"
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", made)


def test_the_terminals_are_in_colour() -> None:
    output = screenshots.in_a_terminal("printf '\\033[31mred\\033[0m'; test -t 1 && tput cols", ROOT, 97)
    assert output == "\x1b[31mred\x1b[0m97\n"
    made = PICTURES["leaks.svg"]()
    assert isinstance(made, str)
    assert screenshots.THEME.ansi_colors[1].hex in made.lower()


def test_the_drawing_of_counters_shows_the_figures_of_the_model() -> None:
    whole = {(row["process"], row["figure"]): row["whole"] for row in drawings.counted()}
    assert whole["process A", "Pss"] + whole["process B", "Pss"] == 68
    assert whole["process A", "Rss"] + whole["process B", "Rss"] - 4 * 4 == 68
    text = (ROOT / "docs" / "concepts.md").read_text()
    assert "68 KiB" in text
    shown = words((screenshots.IMAGES / "counting.svg").read_text())
    assert [int(word) for word in shown if word.isdigit()] == list(whole.values())


def test_the_drawing_of_regions_shows_what_the_aligner_follows() -> None:
    regions = drawings.followed()
    assert [region.label.name.rsplit("/")[-1] for region in regions] == ["[heap]", "prices.db", "[anon]", "libfoo.so"]
    assert not any(region.possibly for region in regions[:2])
    assert [len(mappings) for _, mappings in regions[2].spans] == [1, 1, 3, 1, 1]
