"""Runs the benchmarks, or those named, and says which promises are kept. Exits 1 if one is not.

Every figure is a median of 5 rounds, taken in turns with its peers.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measure import Benchmark, Promise

ALL = ("one_process", "host", "size", "compare", "align", "leaks", "report", "browse", "saved", "stall", "model", "sync", "fleet")


def main() -> int:
    # Bytecode is kept, as in any installation.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    promises: list[Promise] = []
    for name in sys.argv[1:] or ALL:
        if name not in ALL:
            print(f"no benchmark {name}: {', '.join(ALL)}", file=sys.stderr)
            return 2
        run: Benchmark = importlib.import_module(f"benchmarks.{name}").run
        promises += run()
    print()
    for promise in promises:
        print(promise)
    return 0 if all(promise.kept for promise in promises) else 1


if __name__ == "__main__":
    sys.exit(main())
