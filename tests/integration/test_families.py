"""Programs that know what they have mapped, and what pmapdiff says of it: linux-memory by row, on the runtimes that are installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import PROGRAMS, Runner, Target

LIBRARIES = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib/aarch64-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"))
Shown = list[dict[str, Any]]


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def library(name: str) -> str:
    for folder in LIBRARIES:
        if (folder / name).exists():
            return str(folder / name)
    pytest.skip(f"{name} is not installed")


def build(argv: list[str], **env: str) -> None:
    done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="module")
def zoo(folder: Path) -> Path:
    build([tool("gcc"), "-O1", "-pthread", "-o", str(folder / "zoo"), str(PROGRAMS / "zoo.c")])
    return folder / "zoo"


def shown(run: Runner, target: Target) -> Shown:
    with target.stopped():
        run.here("record", "--pid", target.pid, "--quiet").ok()
    (process,) = run.here("show", "latest", "--format", "json", "--explain").json["processes"]
    assert process["status"] == "complete"
    mappings: Shown = process["mappings"]
    assert all(mapping["family_reason"] for mapping in mappings)
    return mappings


def at(mappings: Shown, address: int) -> dict[str, Any]:
    (found,) = (m for m in mappings if int(m["start"], 16) <= address < int(m["end"], 16))
    return found


def check(mappings: Shown, truth: bytes) -> set[str]:
    """Every address that the program has named is in a mapping of that family; which families these are."""
    wrong = []
    families = set()
    for kind, address in re.findall(r"([a-z-]+):([0-9a-f]+)", truth.decode()):
        mapping = at(mappings, int(address, 16))
        if kind == "marked-stack":
            # Before Linux 6.7 the kernel does not say which mappings are stacks, and nothing else tells these.
            if "nh" not in mapping["vm_flags"]:
                continue
            kind = "thread-stack"
        families.add(kind)
        if mapping["family"] != kind:
            wrong.append((kind, mapping["start"], mapping["perms"], mapping["family"], mapping["family_reason"]))
    assert not wrong
    return families


def threads_of(target: Target) -> int:
    return len(os.listdir(f"/proc/{target.pid}/task"))


def count(mappings: Shown, family: str, perms: str) -> int:
    return sum(m["family"] == family and m["perms"] == perms for m in mappings)


@pytest.mark.parametrize("again", [(), ("again",)], ids=["file", "memfd"])
def test_glibc(run: Runner, zoo: Path, again: tuple[str, ...]) -> None:
    """The heap and arenas of malloc, its big blocks, stacks, shared memory of every kind, devices, generated code; also of a
    program that was started from a memfd."""
    with Target(argv=[str(zoo), *again, "5", "malloc-arena"]) as target:
        truth = target.line()
        mappings = shown(run, target)
        assert {"heap", "malloc-arena", "thread-stack", "stack", "anon", "image", "shm", "memfd", "jit", "file"} <= check(mappings, truth)
        assert count(mappings, "malloc-arena", "rw-p") == count(mappings, "malloc-arena", "---p")
        assert {m["family"] for m in mappings if m["name"].startswith("/memfd:runc_cloned")} == ({"image"} if again else set())


@pytest.mark.parametrize(
    ("name", "small", "big"),
    [("libjemalloc.so.2", "anon", "anon"), ("libmimalloc.so.2", "anon", "anon"), ("libtcmalloc_minimal.so.4", "heap", "heap")],
    ids=lambda value: value if value.startswith("lib") else "",
)
def test_other_allocators(run: Runner, zoo: Path, name: str, small: str, big: str) -> None:
    """Their memory is not taken for arenas of glibc, and stacks are still found beside it."""
    with Target(argv=[str(zoo), "5", small, big], env={"LD_PRELOAD": library(name)}) as target:
        truth = target.line()
        mappings = shown(run, target)
        check(mappings, truth)
        assert not count(mappings, "malloc-arena", "rw-p")
        if big == "anon":
            reasons = [at(mappings, int(address, 16))["family_reason"] for address in re.findall(r"anon:([0-9a-f]+)", truth.decode())]
            assert sum(name.split(".")[0] in reason for reason in reasons) >= 3 + 5, "three big blocks, and a small one in each thread"


def test_musl(run: Runner, folder: Path) -> None:
    compiler = tool("musl-gcc")
    headers = [f"-idirafter{path}" for path in ("/usr/include", f"/usr/include/{os.uname().machine}-linux-gnu")]
    build([compiler, "-O1", *headers, "-o", str(folder / "zoo-musl"), str(PROGRAMS / "zoo.c")])
    with Target(argv=[str(folder / "zoo-musl"), "5"]) as target:
        truth = target.line()
        assert {"heap", "thread-stack", "anon", "image", "shm", "jit"} <= check(shown(run, target), truth)


def test_python(run: Runner) -> None:
    code = """
import os, sys, threading
kept = [[str(i) * 3 for i in range(200000)], bytearray(30 << 20)]
for _ in range(4): threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", os.getpid(), flush=True)
for line in sys.stdin: print(f"anon:{id(kept[0][-1]):x}", flush=True)
"""
    with Target(argv=[sys.executable, "-I", "-S", "-c", code], env={"PYTHONMALLOC": "pymalloc"}) as target:
        truth = target.line()
        mappings = shown(run, target)
        check(mappings, truth)
        assert count(mappings, "thread-stack", "rw-p") == 4


def test_go(run: Runner, folder: Path) -> None:
    caches = {"GOCACHE": str(folder / "go-cache"), "GOPATH": str(folder / "go"), "GO111MODULE": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    build([tool("go"), "build", "-o", str(folder / "zoo-go"), str(PROGRAMS / "zoo.go")], **caches)
    with Target(argv=[str(folder / "zoo-go")]) as target:
        truth = target.line()
        mappings = shown(run, target)
        assert check(mappings, truth) == {"managed-heap", "image"}
        assert sum(m["size_kib"] for m in mappings if m["family"] == "managed-heap" and m["perms"] == "---p") > 256 << 10, "the page summaries"
        assert not count(mappings, "malloc-arena", "rw-p")


def test_node(run: Runner) -> None:
    with Target(argv=[tool("node"), "--allow-natives-syntax", str(PROGRAMS / "zoo.js")]) as target:
        said = re.search(rb"0x([0-9a-f]{6,})", target.line())
        assert said is not None
        mappings = shown(run, target)
        assert at(mappings, int(said[1], 16))["family"] == "managed-heap"
        pages = [m for m in mappings if m["family"] == "managed-heap" and m["perms"] == "rw-p"]
        assert len(pages) > 30
        code = [m for m in mappings if m["perms"] in ("rwxp", "r-xp") and not m["name"]]
        assert code
        assert {m["family"] for m in code} == {"jit"}
        threads = threads_of(target)
        assert threads - 1 <= count(mappings, "thread-stack", "rw-p") <= threads + 8, "V8 has guards, too, and they are none of a thread's"


@pytest.fixture(scope="module")
def java_classes(folder: Path) -> Path:
    build([tool("javac"), "-d", str(folder), str(PROGRAMS / "Zoo.java")])
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ("-Xmx300m", "-XX:+UseSerialGC"),
        ("-Xmx512m", "-XX:+UseG1GC"),
        ("-Xmx256m", "-XX:+UseZGC"),
        ("-Xmx40g", "-XX:+UseParallelGC"),
        ("-Xms128m", "-Xmx128m", "-XX:+AlwaysPreTouch"),
    ],
    ids=" ".join,
)
def test_jvm(run: Runner, java_classes: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """The Java heap, classes and the code cache, by what the JVM itself logs."""
    log = tmp_path / "jvm.log"
    argv = [tool("java"), *options, f"-Xlog:gc*=debug,gc+heap+coops=debug,gc+metaspace=info:file={log}", "-cp", str(java_classes), "Zoo"]
    with Target(argv=argv) as target:
        target.line()
        mappings = shown(run, target)
        threads = threads_of(target)
        said = log.read_text()
    expected = [int(found, 16) for found in re.findall(r"(?:Heap address|Compressed class space mapped at): 0x([0-9a-f]+)", said)]
    assert expected or "-XX:+UseZGC" in options
    for address in expected:
        assert at(mappings, address)["family"] == "managed-heap", (hex(address), at(mappings, address))
    heaps = [m for m in mappings if m["name"].startswith("/memfd:java_heap")]
    assert bool(heaps) == ("-XX:+UseZGC" in options)
    assert {m["family"] for m in heaps} <= {"managed-heap"}
    # What the program keeps is 20 MB: it is found there.
    assert sum(m["rss_kib"] for m in mappings if m["family"] == "managed-heap") > 20_000
    code = [m for m in mappings if m["perms"] == "rwxp"]
    assert code
    assert {m["family"] for m in code} == {"jit"}
    assert sum(m["size_kib"] for m in mappings if m["family"] == "jit" and m["perms"] == "---p") > 10_000, "the reserve of the code cache"
    assert count(mappings, "thread-stack", "rw-p") >= threads - 1
    # The arenas of the JVM's native code are told from what HotSpot reserves.
    for mapping in mappings:
        if mapping["family"] == "malloc-arena" and mapping["perms"] == "rw-p":
            assert int(mapping["start"], 16) % (64 << 20) == 0
