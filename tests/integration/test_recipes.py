"""What the recipes tell people to type is typed here: every ```bash block, page by page, with small programs in the place of theirs.

Only intervals are shortened. What needs Docker or a cluster stands in plain blocks, and is not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(bash|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

# What stands for a program of the reader: it leaks or not, and lives until it is told to end, or was recorded often enough, however long that takes.
PROGRAM = """#!{python}
import os, sqlite3, time
from contextlib import closing
kept = []
until = time.monotonic() + 60
def recorded():
    if not {snapshots} or not os.path.exists("run.db"):
        return 0
    try:
        # Closed at once: an open one is garbage that only the collector finds, and grows until then.
        with closing(sqlite3.connect("file:run.db?mode=ro", uri=True)) as store:
            return store.execute("SELECT count(*) FROM snapshot").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
while time.monotonic() < until and recorded() <= {snapshots}:
    # What allocates again and again may well rise for the second that this is watched, by how its heap falls into pieces.
    if {leaks} or len(kept) < 15:
        kept += [bytes([1]) * 100_000 for _ in range(5)]
    if len(kept) >= 15:
        open("ready", "w").close()
    time.sleep(0.02)
"""
LOAD = """#!/bin/bash
until [ -e ready ]; do sleep 0.05; done
sleep {seconds}
"""


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


def quick(script: str) -> str:
    """The same script, with snapshots every 50 ms."""
    return re.sub(r"--for \w+", "--for 500ms", re.sub(r"--every \w+", "--every 50ms", script))


class Place:
    """A folder with the programs that the recipes name."""

    def __init__(self, folder: Path, *, leaks: bool) -> None:
        self.folder = folder
        self.program("soak-test", snapshots=25, leaks=leaks)
        self.program("server", snapshots=0, leaks=leaks)
        self.write("load", LOAD.format(seconds=1 if leaks else 0.3))
        (folder / "docs").symlink_to(DOCS)

    def program(self, name: str, *, snapshots: int, leaks: bool) -> None:
        self.write(name, PROGRAM.format(python=sys.executable, snapshots=snapshots, leaks=leaks))

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def run(self, script: str, *options: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "GITHUB_STEP_SUMMARY": "summary.md"}
        command = ["bash", "--noprofile", "--norc", *options, "-c", quick(script)]
        with open(self.folder / "output", "w+") as out:  # Not a pipe: what a script leaves running would keep it open.
            done = subprocess.run(command, cwd=self.folder, env=environment, check=False, stdout=out, stderr=subprocess.STDOUT)
            out.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read())


@pytest.fixture
def leaking(tmp_path: Path) -> Place:
    return Place(tmp_path, leaks=True)


@pytest.fixture
def steady(tmp_path: Path) -> Place:
    return Place(tmp_path, leaks=False)


def test_every_recipe_is_tried() -> None:
    with_scripts = {page.name for page in DOCS.rglob("*.md") if blocks(page, "bash")}
    assert with_scripts == {"tutorial.md", "hour.md", "deploy.md", "ci.md"}


def test_the_process_of_the_tutorial_leaks(leaking: Place) -> None:
    record, look = blocks(DOCS / "tutorial.md", "bash")
    done = leaking.run(record + look, "-e")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("[heap]") >= 2


def test_one_process_for_an_hour(leaking: Place) -> None:
    start, mark, look = blocks(DOCS / "recipes" / "hour.md", "bash")
    waiting = "\nuntil pmapdiff --db hour.db show latest >/dev/null 2>&1; do sleep 0.1; done\n"
    # Another server may run on this host.
    start = start.replace("pgrep -o -x server", 'echo "$server"')
    assert "$server" in start
    done = leaking.run(f"./server & server=$!\n{start}\nrecorder=$!{waiting}{mark}wait $recorder; cat hour.log; {look}kill $server", "-e")
    assert done.returncode == 0, done.stdout
    assert "cache filled" in done.stdout
    assert "[heap]" in (leaking.folder / "ticket.md").read_text().replace("\\", "")


def test_before_and_after_a_deploy(steady: Place) -> None:
    before, after, look = (script.replace("--name '^server$'", '--pid "$server"') for script in blocks(DOCS / "recipes" / "deploy.md", "bash"))
    assert "$server" in before
    restart = "kill $server; wait $server; ./server & server=$!; sleep 0.5\n"
    done = steady.run(f"./server & server=$!\nsleep 0.5\n{before}{restart}{after}{look}kill $server")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("restarted") >= 2
    assert "Family" in done.stdout


def test_the_gate_lets_a_steady_test_pass(steady: Place) -> None:
    gate, _ = blocks(DOCS / "recipes" / "ci.md", "bash")
    done = steady.run(gate)
    assert done.returncode == 0, done.stdout
    assert "PMAPDIFF OK" in done.stdout


def test_the_gate_stops_a_leak_and_a_test_that_fails(leaking: Place) -> None:
    gate, _ = blocks(DOCS / "recipes" / "ci.md", "bash")
    done = leaking.run(gate)
    assert done.returncode == 1, done.stdout
    assert "PMAPDIFF WARNING" in done.stdout
    assert "[heap]" in done.stdout
    leaking.write("soak-test", "#!/bin/bash\nexit 7\n")
    assert leaking.run(gate).returncode == 7


@pytest.mark.parametrize("leaks", [False, True])
def test_the_gate_for_a_service(tmp_path: Path, leaks: bool) -> None:
    _, gate = blocks(DOCS / "recipes" / "ci.md", "bash")
    place = Place(tmp_path, leaks=leaks)
    done = place.run(gate, "-e")
    assert done.returncode == int(leaks), done.stdout
    assert "[heap]" in done.stdout or not leaks


def test_the_steps_of_the_workflow(leaking: Place) -> None:
    (text,) = blocks(DOCS / "recipes" / "ci.md", "yaml")
    steps = yaml.safe_load(text)["jobs"]["leaks"]["steps"]
    scripts = {step["name"]: step["run"] for step in steps if "run" in step}
    assert scripts.pop("Install pmapdiff").startswith("pip install ")
    record, check, explain = (leaking.run(script, "-e", "-o", "pipefail") for script in scripts.values())
    assert (record.returncode, check.returncode, explain.returncode) == (0, 1, 0), record.stdout + check.stdout + explain.stdout
    assert "heap" in (leaking.folder / "summary.md").read_text()
    assert [step["with"]["path"] for step in steps if "upload" in step.get("uses", "")] == ["run.db"]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_the_daemon_set_records_with_the_privileges_that_it_asks_for(leaking: Place) -> None:
    namespace, daemon = yaml.safe_load_all(next(text for text in blocks(DOCS / "recipes" / "kubernetes.md", "yaml")))
    pod = daemon["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert daemon["metadata"]["namespace"] == namespace["metadata"]["name"]
    assert pod["hostPID"] is True
    assert (security["runAsUser"], security["capabilities"]) == (0, {"drop": ["ALL"], "add": ["SYS_PTRACE"]})
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    store = leaking.folder / "node.db"
    script = f"""
        setpriv --reuid 65534 --regid 65534 --clear-groups sleep 60 & other=$!
        PMAPDIFF_DB={store} timeout --signal TERM 60 setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_ptrace \
            pmapdiff {" ".join(container["args"])} --count 2
        code=$?
        kill $other
        PMAPDIFF_DB={store} pmapdiff show latest --pid $other
        exit $code
    """
    done = leaking.run(script)
    assert done.returncode == 0, done.stdout
    assert "libc" in done.stdout
