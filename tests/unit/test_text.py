"""Names that strangers chose, on a terminal and in a spreadsheet."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from pmapdiff.text import csv_cell, decode, printable


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"/usr/bin/x", "/usr/bin/x"),
        ("/tmp/é€😀".encode(), "/tmp/é€😀"),
        (b"a\xff\xfeb", "a\\xff\\xfeb"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        (b"", ""),
    ],
)
def test_decode(raw: bytes, text: str) -> None:
    assert decode(raw) == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain  text ", "plain  text "),
        ("é€😀 ключ 鍵", "é€😀 ключ 鍵"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\tb\nc\rd\0", "a\\x09b\\x0ac\\x0dd\\x00"),
        ("\x7f\x85\x9b31m", "\\x7f\\x85\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\u200b\ufeff\u2066", "\\u200b\\ufeff\\u2066"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_printable(text: str, safe: str) -> None:
    assert printable(text) == safe


@law(300)
@given(st.one_of(st.text(st.characters(), max_size=30), st.binary(max_size=30).map(decode)))
def test_what_is_printable_drives_nothing(text: str) -> None:
    safe = printable(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in safe)
    assert not any(unicodedata.bidirectional(c) in ("RLE", "LRE", "RLO", "LRO", "PDF", "RLI", "LRI", "FSI", "PDI") for c in safe)
    assert safe.encode("utf-8").decode("utf-8") == safe
    assert len(safe.splitlines()) <= 1
    assert printable(safe) == safe
    assert safe == text or len(safe) > len(text)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "\r=", "\n=1", "＝1", "=cmd|' /C calc'!A0", "\u00a0=1", "  -1"])
def test_formulas_are_disarmed(text: str) -> None:
    assert csv_cell(text).startswith("'")
    assert csv_cell(text) == "'" + printable(text)


@pytest.mark.parametrize("text", ["", "/usr/bin/x", "[heap]", "a=b", "1-2", "'quoted", "x@y"])
def test_other_cells_stay(text: str) -> None:
    assert csv_cell(text) == text
