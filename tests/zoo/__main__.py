"""Records the zoo at each rate and prints what `leaks` says of it: `make zoo`. Exits 1 if anything is wrong.

`python -m zoo [ANIMAL…]` records these alone. ZOO_RATES are the factors of their growth; ZOO_KEEP=DIR keeps the stores, as zoo-RATE.db,
and the truth about the processes in them, as truth.json.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from programs import Runner

from zoo.animals import ANIMALS
from zoo.keeper import Specimen, build, kept_out, record
from zoo.score import judge, table
from zoo.series import SPECIES, tally
from zoo.series import table as table_of_series

_SERIES = 200


def _truth(store: Path, specimens: list[Specimen]) -> list[dict[str, object]]:
    return [
        {
            "store": store.name,
            "name": specimen.animal.name,
            "kind": specimen.animal.kind.value,
            "pids": specimen.pids,
            "leak": specimen.animal.leaks,
            "families": sorted(specimen.animal.families),
            "verdicts": sorted(specimen.animal.verdicts),
        }
        for specimen in specimens
    ]


def main() -> int:
    """Record and judge; the exit code."""
    chosen = [animal for animal in ANIMALS if not sys.argv[1:] or animal.name in sys.argv[1:]]
    rates = os.environ.get("ZOO_RATES", "0.5 1 2").split()
    kept = os.environ.get("ZOO_KEEP")
    wrong = False
    truth: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="pmapdiff-zoo-") as temporary:
        folder = Path(temporary)
        stores = Path(kept) if kept else folder
        stores.mkdir(parents=True, exist_ok=True)
        out = kept_out(folder, build(folder))
        for animal in chosen:
            if animal.name in out:
                print(f"left out: {animal.name}: {out[animal.name]}")
        for rate in rates:
            store = stores / f"zoo-{rate}.db"
            for suffix in ("", "-wal", "-shm"):
                store.with_name(store.name + suffix).unlink(missing_ok=True)
            begun = time.monotonic()
            specimens = record(store, folder, float(rate), [animal for animal in chosen if animal.name not in out])
            recorded = time.monotonic()
            truth += _truth(store, specimens)
            result = Runner(store)("leaks", "--all", "--format", "json")
            took = f"recorded in {recorded - begun:.1f} s, judged in {time.monotonic() - recorded:.1f} s"
            print(f"\nrate {rate}: {len(specimens)} animals, {took}")
            if result.code != 0:
                print(result.err)
                wrong = True
                continue
            judged = judge(specimens, result.json)
            wrong = wrong or not all(one.is_right for one in judged)
            print(table(judged), flush=True)
        if kept:
            (stores / "truth.json").write_text(json.dumps(truth, indent=1))
    if not sys.argv[1:]:
        for rate in rates:
            print(f"\nrate {rate}: {_SERIES} generated series of each kind")
            print(table_of_series([tally(species, _SERIES, 1, float(rate)) for species in SPECIES]), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
