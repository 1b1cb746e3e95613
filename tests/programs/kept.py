"""A store with a snapshot that must stay as it is, whatever happens to it."""

from __future__ import annotations

from pathlib import Path

from pmapdiff.formats.smaps import SmapsParser
from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.store import Store
from pmapdiff.text import digest_of
from programs.driver import Result, Runner, Target

SMAPS = (Path(__file__).parents[1] / "data" / "redis-frozen" / "smaps.txt").read_bytes()
SOUND = "the store is sound\n"


def clean(result: Result, *codes: int) -> Result:
    """This result, which has one of these exit codes, and an error is one line."""
    assert b"Traceback" not in result.stdout + result.stderr, result
    assert result.code in codes, result
    if result.code == 2:
        assert result.err.startswith("pmapdiff: "), result
        assert result.err.count("\n") == 1, result
    return result


class Kept:
    """A store with one labelled snapshot of a process, which must stay as it is whatever happens."""

    def __init__(self, run: Runner, *targets: Target) -> None:
        self.run = run
        self.pids = [word for target in targets for word in ("--pid", str(target.pid))]
        run.here("record", *self.pids, "--label", "kept").ok()
        self.pid = targets[0].pid
        self.text = self.shown().ok().stdout
        assert self.text.count(b"VmFlags:") > 20

    def shown(self) -> Result:
        return self.run.here("show", "kept", "--pid", self.pid, "--format", "smaps")

    def count(self) -> int:
        return len(self.run.here("snapshots", "--format", "json").json["snapshots"])

    def is_unharmed(self) -> None:
        assert self.shown().ok().stdout == self.text
        assert self.run.here("db", "check").ok().out == SOUND


def made(db: Path, numbers: range = range(1, 5)) -> dict[int, bytes]:
    """A store that is the same byte for byte whenever it is made; its tables as text."""
    texts = {}
    for number in numbers:
        # One counter more in each, and in every second one a mapping less.
        text = SMAPS.replace(b"Referenced:          380 kB", b"Referenced:          %d kB" % (380 + number))
        texts[number] = text if number % 2 else text[text.index(b"VmFlags") :].partition(b"\n")[2]
        info = ProcessInfo(ProcessIdentity("boot", 1, 1, "x"), b"redis", b"redis\0", started_at_us=1)
        table = MappingTable(SmapsParser().parse(texts[number]))
        ref = SnapshotRef(None, 1_700_000_000_000_000 + number, "h", None, "live", None, "--all")
        store = Store.open(str(db), write=True)
        store.write(Snapshot(ref, (Capture(info, Status.COMPLETE, table, digest_of(texts[number])),)))
    return texts
