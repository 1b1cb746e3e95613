"""Real services that are restarted, upgraded, exec'ed: who is compared with whom, and what is said of it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from programs import Runner, Target

KIB, MIB, PAGE = 1 << 10, 1 << 20, os.sysconf("SC_PAGE_SIZE")
BASE = 0x100000000000
PRIVATE = 0x02


def record(run: Runner, target: Target) -> None:
    with target.stopped():
        run.here("record", "--pid", target.pid, "--quiet").ok()


def compared(run: Runner) -> dict[str, Any]:
    (process,) = run.here("compare", "latest~1", "latest", "--format", "json").json["processes"]
    for name, delta in process["totals"]["delta"].items():
        if name != "mappings":
            assert sum(change["delta"][name] for change in process["changes"]) == delta, name
    return dict(process)


def files_of(process: dict[str, Any]) -> list[dict[str, Any]]:
    return [change for change in process["changes"] if change["path"] is not None]


def two_builds() -> tuple[Path, Path]:
    """Two libraries of this machine that are not each other: what a library is before and after an upgrade."""
    names = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if re.search(r"/lib[a-z]*\.so[.\d]*$", line)}
    known = sorted((Path(name) for name in names if Path(name).is_file()), key=lambda path: path.stat().st_size)
    if len(known) < 2:
        pytest.skip("this Python maps fewer than two libraries")
    return known[0], known[-1]


def install(build: Path, path: Path) -> None:
    """What a package manager does: write the new file beside the old one, and rename it over that."""
    new = path.with_name(path.name + ".new")
    shutil.copy(build, new)
    new.rename(path)


@pytest.mark.parametrize("prefix", [(), ("setarch", "-R")], ids=["ASLR", "no ASLR"])
def test_a_restart_changes_no_file(run: Runner, prefix: tuple[str, ...], tmp_path: Path) -> None:
    """Whatever the addresses are, also if they are the same ones."""
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("there is no setarch")
    data = tmp_path / "data.bin"
    data.write_bytes(b"x" * 8 * PAGE)
    pids = []
    for _ in range(2):
        with Target(prefix=prefix) as target:
            fd = target.call("open", path=str(data))
            for number in range(3):
                target.call("map", size=PAGE * (number + 1), address=BASE + number * MIB, prot=1, flags=PRIVATE, fd=fd)
            record(run, target)
            pids.append(target.pid)
    process = compared(run)
    assert (process["match"], process["pid_before"], process["pid"]) == ("restarted", *pids)
    assert not [change for change in files_of(process) if set(change["change"]) & {"new", "gone", "replaced", "moved"}]
    assert all(len(change["before"]) == len(change["after"]) == 1 for change in files_of(process))
    assert process["totals"]["delta"]["mappings"] == sum(len(change["after"]) - len(change["before"]) for change in process["changes"])


def test_an_exec_is_another_program_in_the_same_pid(run: Runner) -> None:
    with Target() as target:
        record(run, target)
        assert target.process.stdin is not None
        target.process.stdin.write(b'["exec", {}]\n')
        target.ready_again()
        record(run, target)
        process = compared(run)
    assert (process["match"], process["pid_before"], process["pid"]) == ("exec", target.pid, target.pid)
    assert not [change for change in files_of(process) if set(change["change"]) & {"new", "gone", "replaced"}]


@pytest.mark.parametrize(
    ("before", "after"), [("libplug.so.1", "libplug.so.1"), ("libplug.so.1.2", "libplug.so.1.3"), ("v1/libplug.so", "v2/libplug.so")]
)
def test_an_upgrade(run: Runner, tmp_path: Path, before: str, after: str) -> None:
    """A library is upgraded under a running process, which goes on with the old one; then the process is restarted."""
    small, large = two_builds()
    old, new = tmp_path / before, tmp_path / after
    for path in (old, new):
        path.parent.mkdir(exist_ok=True)
    install(small, old)
    with Target() as target:
        target.call("dlopen", path=str(old))
        record(run, target)
        if old != new:
            old.unlink()
        install(large, new)
        record(run, target)
        running = compared(run)
        record(run, target)
        assert compared(run)["effects"] == []
    plugged = [change for change in files_of(running) if "libplug" in change["path"]]
    assert plugged
    assert all((change["change"], change["path"]) == (["changed"], str(old)) for change in plugged)
    assert all(change["name"] == f"{old} (deleted)" for change in plugged)
    assert {"effect": "files-deleted", "amount": 1, "limit": None} in running["effects"]
    with Target() as target:
        target.call("dlopen", path=str(new))
        record(run, target)
    restarted = compared(run)
    assert restarted["match"] == "restarted"
    plugged = [change for change in files_of(restarted) if "libplug" in change["path"]]
    paired = [change for change in plugged if change["before"] and change["after"]]
    assert all("replaced" in change["change"] and not change["possibly"] for change in paired)
    assert {change["path"] for change in paired} == {str(new)}
    roles = {change["perms"]: change for change in paired}
    text = roles["r-xp"]
    assert [m["perms"] for m in text["before"]] == [m["perms"] for m in text["after"]] == ["r-xp"]
    assert text["delta"]["size_kib"] > 0
    assert "rw-p" in roles
    assert not [change for change in files_of(restarted) if change not in plugged and "replaced" in change["change"]]
    assert "replaced" in run.here("compare", "latest~1", "latest", "--top", "0").ok().out


def test_history_goes_on_through_a_restart(run: Runner) -> None:
    sizes = []
    for extra in (8, 24):
        with Target() as target:
            for _ in range(2):
                target.call("brk", size=extra * MIB)
                record(run, target)
            pid = target.pid
        sizes.append(pid)
    history = run.here("history", "[heap]", "--name", "python", "--format", "json").json
    (service,) = history["services"]
    assert [(known["index"], known["pid"], known["match"]) for known in service["incarnations"]] == [(0, sizes[0], "new"), (2, sizes[1], "restarted")]
    (heap,) = service["regions"]
    found = [sample["size_kib"] for sample in heap["samples"]]
    assert (found[1] - found[0], found[3] - found[2]) == (8 * KIB, 24 * KIB)
    text = run.here("history", "[heap]").ok().out
    assert f"restarted as {sizes[1]}" in text
    assert len([line for line in text.splitlines() if re.match(r"\d ", line)]) == 4
    alone = run.here("history", "[heap]", "--pid", sizes[1], "--format", "json").json
    assert [ref["id"] for ref in alone["snapshots"]] == [3, 4]


def test_history_of_one_region(run: Runner, target: Target) -> None:
    """Grown, split, merged again and gone: one region, found by any address that it had."""
    steps: list[tuple[str, dict[str, int]]] = [
        ("map", {"size": 8 * MIB, "address": BASE}),
        ("write", {"address": BASE, "pages": 100}),
        ("map", {"size": 4 * MIB, "address": BASE - 4 * MIB}),
        ("protect", {"address": BASE + MIB, "size": MIB, "prot": 1}),
        ("protect", {"address": BASE + MIB, "size": MIB, "prot": 3}),
        ("unmap", {"address": BASE - 4 * MIB, "size": 12 * MIB}),
    ]
    record(run, target)
    for name, arguments in steps:
        target.call(name, **arguments)
        record(run, target)
    for name in (f"{BASE:#x}", f"{BASE:x}@2", f"{BASE - 4 * MIB:x}", f"{BASE + 7 * MIB:x}-{BASE + 8 * MIB:x}"):
        (service,) = run.here("history", name, "--format", "json").json["services"]
        (region,) = service["regions"]
        assert [sample["mappings"] for sample in region["samples"]] == [0, 1, 1, 1, 3, 1, 0]
        assert [sample["size_kib"] for sample in region["samples"]] == [n * MIB >> 10 for n in (0, 8, 8, 12, 12, 12, 0)]
        assert [sample["rss_kib"] for sample in region["samples"]] == [0, 0, *[100 * PAGE >> 10] * 4, 0]
        assert (region["id"], region["possibly"]) == (f"{BASE:x}@2", False)
    rows = run.here("history", f"{BASE:x}", "--format", "csv").ok().out.splitlines()
    assert len(rows) == 8
    text = run.here("history", f"{BASE:x}").ok().out
    assert re.search(r"^7 .* gone$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80


def test_history_shows_gaps(run: Runner, target: Target) -> None:
    target.call("map", size=8 * MIB, address=BASE)
    record(run, target)
    with Target() as other:
        record(run, other)
    record(run, target)
    # The other one is no restart of this: this one comes back.
    (service,) = run.here("history", f"{BASE:x}", "--format", "json").json["services"]
    assert [sample and sample["size_kib"] for sample in service["regions"][0]["samples"]] == [8 * KIB, None, 8 * KIB]
    assert service["statuses"] == ["complete", None, "complete"]
    assert re.search(r"^2 .* - .* not recorded$", run.here("history", f"{BASE:x}").ok().out, re.MULTILINE)
    (gap,) = [row for row in run.here("history", f"{BASE:x}", "--format", "csv").ok().out.splitlines() if row.startswith("2,")]
    assert gap.endswith("," * 10)


def test_what_there_is_no_history_of(run: Runner, target: Target) -> None:
    record(run, target)
    run.here("history", "[nothing]").refused("no region [nothing]")
    run.here("history", "--family", "heap", "--name", "nobody").refused("no region --family heap --name nobody")
    run.here("history", "--family", "hea\x07p").refused("--family hea\\x07p: one of heap, ")
    run.here("history", "--pid", 1 << 22).refused("no snapshot of such a process")
    run.here("history", "--name", "(").refused("--name '('")
    run.here("history", "--since", "2h from now").refused()
    run.here("history", "\x1b[31m").refused("\\x1b[31m")


def test_columns_of_many_snapshots(run: Runner, target: Target) -> None:
    for number in range(4):
        target.call("map", size=MIB, address=BASE + number * 64 * MIB)
        target.call("write", address=BASE + number * 64 * MIB, pages=50)
        record(run, target)
    value = run.here("compare", 1, 2, 4, "--format", "json").json
    (service,) = value["services"]
    ours = [region for region in service["regions"] if BASE <= int(region["id"].partition("@")[0], 16) < BASE + (1 << 40)]
    kib = 50 * PAGE >> 10
    found = sorted([sample["rss_kib"] for sample in region["samples"]] for region in ours)
    assert found == [[0, 0, kib], [0, 0, kib], [0, kib, kib], [kib, kib, kib]]
    text = run.here("compare", 1, 2, 4, "--sort", "rss").ok().out
    assert re.search(r"#1 +#2 +#4 +± +Mapping", text)
    assert max(map(len, text.splitlines())) <= 80
    assert run.here("compare", 1, 2, 4, "--exit-code").code == 1
    assert run.here("compare", 4, 4, 4, "--exit-code").code == 0
    assert "1 process unchanged" in run.here("compare", 4, 4, 4).ok().out
    run.here("compare", 4).refused("needs two snapshots")
