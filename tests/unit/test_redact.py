"""What leaves the company: no host, no user, no path of ours; and what an investigator needs is still there."""

from __future__ import annotations

import re
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from page_data import packed_in
from programs import Runner, Target

from pmapdiff.errors import UsageError
from pmapdiff.report.visual.redact import Redactor

ROOT = Path(__file__).resolve().parents[2]


def redactor(*rules: str, **names: list[str]) -> Redactor:
    return Redactor(names, rules)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/secret/app.so.3", "path-1.so.3"),
        ("95 % of it /home/alice/x.db; and /home/alice/x.db", "95 % of it path-1.db; and path-1.db"),
        ("--config=/etc/acme/app.conf,/opt/a", "--config=path-1,path-2"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("/usr/local/acme/bin/x", "path-1"),
        ("/dev/shm/acme", "path-1"),
        ("/dev/zero (deleted)", "/dev/zero (deleted)"),
        ("/memfd:acme (deleted)", "path-1 (deleted)"),
        ("/SYSV00000000 (deleted)", "/SYSV00000000 (deleted)"),
        ("+9.2 MiB/h since 2026-11-22 22:00:00, 3/4", "+9.2 MiB/h since 2026-11-22 22:00:00, 3/4"),
        ("[heap] and [stack]", "[heap] and [stack]"),
        ("anon 7f4fe3d78000@1", "anon 7f4fe3d78000@1"),
    ],
)
def test_paths(text: str, expected: str) -> None:
    assert redactor().text(text) == expected


def test_known_names_go_wherever_they_stand() -> None:
    found = redactor(host=["db7.acme.example", "db7"], user=["alice"], path=["/data/My Files/x.db", "x.db"])
    assert found.text("on db7.acme.example, DB7: alice's") == "on host-1, host-2: user-1's"
    assert found.text("malice") == "malice"
    assert found.text("98 % of it /data/My Files/x.db") == "98 % of it path-1.db"
    assert found.text("98 % of it x.db") == "98 % of it path-2.db"


def test_rules_of_the_reader_come_first() -> None:
    found = redactor(r"acme\w*", r"\d{4}-\d{2}")
    assert found.text("acmeshop 2026-11 acmeshop acmepay") == "redacted-1 redacted-3 redacted-1 redacted-2"
    assert redactor("x*").text("axb") == "aredacted-1b"
    with pytest.raises(UsageError, match=r"--redact-rule \(: "):
        redactor("(")


def texts_in(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set().union(*(texts_in(item) for pair in value.items() for item in pair), set())
    if isinstance(value, list | tuple):
        return set().union(*(texts_in(item) for item in value), set())
    return set().union(*(texts_in(getattr(value, field.name)) for field in fields(value))) if is_dataclass(value) else set()


def test_nothing_of_a_real_process_is_left(run: Runner, tmp_path: Path) -> None:
    """A process whose program, arguments and files have names of ours."""
    folder = tmp_path / "home" / "zaphod" / "projects"
    folder.mkdir(parents=True)
    path = folder / "towel service.db"
    path.write_bytes(b"\0" * 65536)
    with Target() as target:
        fd = target.call("open", path=str(path))
        target.call("map", size=65536, address=0x100000000000, flags=2, fd=fd)
        for step in range(5):
            run.here("record", "--pid", target.pid).ok()
            target.call("write", address=0x100000000000 + step * 4096, pages=1)
    page, picture = tmp_path / "page.html", tmp_path / "picture.svg"
    run.here("report", "--redact", "--redact-rule", "python3?", "-o", page, "--svg", picture).ok()
    host = run.snapshots()[0]["host"]
    said = " ".join(texts_in(packed_in(page))) + re.sub(r"(?s)<script.*?</script>", "", page.read_text()) + picture.read_text()
    for secret in ("zaphod", "towel", "projects", "target.py", str(tmp_path)):
        assert secret not in said, secret
    assert re.search(rf"\b{re.escape(host)}\b(?!\.max_map_count)", said) is None
    assert "python" not in said
    assert "path-" in said
    assert "libc.so.6" in said


def test_a_redacted_sample_has_the_same_numbers(run: Runner, tmp_path: Path) -> None:
    run.db.parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / "sample_snapshots" / "orders.db", run.db)
    pages = [tmp_path / "plain.html", tmp_path / "redacted.html"]
    run.here("report", "-o", pages[0]).ok()
    run.here("report", "--redact", "-o", pages[1]).ok()
    plain, taken = (packed_in(page) for page in pages)
    assert plain["families"] == taken["families"]
    assert plain["moments"]["taken_at_us"] == taken["moments"]["taken_at_us"]
    for one, other in zip(plain["scopes"], taken["scopes"], strict=True):
        assert one["totals"] == other["totals"]
        assert [row[6:] for row in one["rows"]] == [row[6:] for row in other["rows"]]
    assert "shop1" in pages[0].read_text()
    assert "shop1" not in pages[1].read_text()
    assert "/srv/orders" in pages[0].read_text()
    assert "/srv/orders" not in pages[1].read_text()
