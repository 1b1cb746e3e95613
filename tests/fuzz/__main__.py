"""Runs the search over every target in turn, and says what it found: `make fuzz`. Exits 1 if it found something.

`python -m fuzz [TARGET…]` looks at these alone. FUZZ_SECONDS is the time for all of them together; with FUZZ_KEEP=1 what reaches code that
nothing in the corpus reaches is added to it.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from fuzz.oracle import FILE, STORE, check, targets
from fuzz.seeds import CORPUS, FOUND, HERE, seeds, write_inputs

# The target that all forms come together in is searched longest.
_SHARES = {FILE: 4, STORE: 2}
_LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=16384")
# Everybody downloads the corpus: of the inputs that reach each piece of code some of each length, and no more of a target than this.
_MOST_KEPT, _MOST_KEPT_BYTES = 25, 64 << 10
_PROGRESS = re.compile(r"#(\d+)\s+\S+\s+cov: (\d+) ft: (\d+)")


class Searched(NamedTuple):
    """What came of one target: the lines to print, and whether a rule was broken."""

    lines: str
    failed: bool


def _fuzzer(target: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "fuzz.harness", target, *arguments]


def search(target: str, seconds: int, folder: Path, *, keep: bool) -> Searched:
    """Search one target for so many seconds."""
    begun, work = time.monotonic(), folder / target
    known = CORPUS / target
    write_inputs(work, seeds(target))
    for file in known.iterdir() if known.is_dir() else ():
        shutil.copy(file, work / file.name)
    broken = folder / f"{target}.broken"
    broken.mkdir()
    command = _fuzzer(target, str(work), *_LIMITS, f"-max_total_time={seconds}", f"-dict={HERE / 'words.dict'}", f"-artifact_prefix={broken}/")
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    findings = [_kept_finding(target, file) for file in broken.iterdir()]
    last = max(_PROGRESS.finditer(said), key=lambda match: int(match[1]), default=None)
    figures = f"{int(last[1]):>9,} inputs  {last[2]:>5} branches  {last[3]:>6} features" if last else "it did not start"
    came_of_it = f"FOUND {' '.join(map(str, findings))}" if findings else "nothing found" if done.returncode == 0 else "failed"
    lines = [f"{target:<24}{figures}  {time.monotonic() - begun:4.0f} s  {came_of_it}"]
    if done.returncode != 0:
        lines += [f"    {line}" for line in said.splitlines() if not line.startswith(("#", "INFO:"))][-40:]
    elif keep:
        _keep(target, work, folder)
    return Searched("\n".join(lines), bool(findings) or done.returncode != 0)


def _kept_finding(target: str, file: Path) -> Path:
    """Where an input that broke a rule is kept from now on."""
    (FOUND / target).mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(file, FOUND / target / file.name))


def _keep(target: str, work: Path, folder: Path) -> None:
    """Put the fewest small inputs that reach all that the search has reached into the corpus, in place of those that are there."""
    merged = folder / f"{target}.merged"
    merged.mkdir()
    subprocess.run(_fuzzer(target, "-merge=1", *_LIMITS, str(merged), str(work)), capture_output=True, check=False)
    files = sorted(merged.iterdir(), key=lambda file: file.stat().st_size)
    # One that gives a table is among them.
    first = next((file for file in files if check(target, file.read_bytes())), None)
    files = [*([first] if first else []), *(file for file in files[:: -(-len(files) // _MOST_KEPT)] if file != first)] if files else []
    total = itertools.accumulate(file.stat().st_size for file in files)
    chosen = [file for file, bytes_ in zip(files, total, strict=True) if bytes_ <= _MOST_KEPT_BYTES]
    if chosen:
        shutil.rmtree(CORPUS / target, ignore_errors=True)
        (CORPUS / target).mkdir(parents=True)
        for file in chosen:
            shutil.copy(file, CORPUS / target / file.name)


def main() -> int:
    chosen = sys.argv[1:] or targets()
    unknown = set(chosen) - set(targets())
    if unknown:
        print(f"no target {', '.join(sorted(unknown))}: {', '.join(targets())}", file=sys.stderr)
        return 2
    share = int(os.environ.get("FUZZ_SECONDS", "600")) / sum(_SHARES.get(target, 1) for target in chosen)
    failed = False
    with tempfile.TemporaryDirectory(prefix="pmapdiff-fuzz-") as folder:
        for target in chosen:
            seconds = max(1, round(share * _SHARES.get(target, 1)))
            searched = search(target, seconds, Path(folder), keep=os.environ.get("FUZZ_KEEP") == "1")
            print(searched.lines, flush=True)
            failed = failed or searched.failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
