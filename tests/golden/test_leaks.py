"""What `leaks` and `check` write of results made by hand: `GOLDEN_UPDATE=1 pytest tests/golden` writes the files anew, git shows the difference."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import leak_results
import pytest

from pmapdiff.report import View, write_report

FILES = Path(__file__).resolve().parent / "files"
RESULTS = {"one": leak_results.one, "many": leak_results.many}
CASES = {
    "leaks-one-80.txt": ("one", "text", View(width=80)),
    "leaks-one-160.txt": ("one", "text", View(width=160)),
    "leaks-one-pipe.txt": ("one", "text", View()),
    "leaks-many-80.txt": ("many", "text", View(width=80)),
    "leaks-many-120.txt": ("many", "text", View(width=120)),
    "leaks-many-160.txt": ("many", "text", View(width=160)),
    "leaks-many-pipe.txt": ("many", "text", View(top=6)),
    "leaks-many-colour.txt": ("many", "text", View(width=80, colour=True, top=5)),
    "leaks.json": ("one", "json", View()),
    "leaks.csv": ("many", "csv", View(top=6)),
    "leaks-one.md": ("one", "markdown", View()),
    "leaks-many.md": ("many", "markdown", View()),
}


def _output(name: str) -> str:
    result, form, view = CASES[name]
    out = io.StringIO()
    write_report("leaks", form, RESULTS[result](), view, out)
    return out.getvalue()


@pytest.mark.parametrize("name", CASES)
def test_the_output_is_as_it_was(name: str) -> None:
    found = _output(name)
    file = FILES / name
    if os.environ.get("GOLDEN_UPDATE"):
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name, (_, form, view) in CASES.items() if form == "text" and view.width and not view.colour])
def test_nothing_is_wider_than_the_terminal(name: str) -> None:
    width = CASES[name][2].width
    assert width is not None
    assert max(map(len, _output(name).splitlines())) <= width


def test_every_form_says_the_same_of_the_worst() -> None:
    """A golden file can freeze a bug: what is in the result is in each form."""
    worst = leak_results.heap()
    (process,) = json.loads(_output("leaks.json"))["processes"]
    first = process["findings"][0]
    row = next(csv.DictReader(io.StringIO(_output("leaks.csv"))))
    assert first["slope_kib_per_hour"] == float(row["slope_kib_per_hour"]) == worst.trend.slope
    assert (first["slope_low"], first["slope_high"]) == (float(row["slope_low"]), float(row["slope_high"]))
    assert (first["slope_low"], first["slope_high"]) == pytest.approx((worst.trend.low, worst.trend.high))
    assert first["onset"] == row["onset"] == "2026-11-22T14:00:00.000000Z"
    assert first["share"] == float(row["share"]) == 0.93
    for name in ("leaks-one-80.txt", "leaks-one-pipe.txt", "leaks-one.md", "leaks-many-80.txt"):
        text = " ".join(_output(name).replace("\\", "").split())
        assert "+57.0 MiB/h" in text
        assert "in 10 to 12 h: cgroup limit" in text
        assert worst.evidence[0] in text
    whole = " ".join(_output("leaks-one-80.txt").split())
    assert all(line in whole for finding in leak_results.in_depth().findings for line in (*finding.evidence, finding.suggestion))
