"""One search by libFuzzer: `python -m fuzz.harness TARGET [libFuzzer's arguments]`. Ends with a traceback at the first input that breaks a rule."""

from __future__ import annotations

import resource
import sys

import atheris

# No regular expressions: what atheris makes of them is slow where there are hundreds.
with atheris.instrument_imports(include=["pmapdiff.formats", "pmapdiff.model", "pmapdiff.text"]):
    import pmapdiff.formats.base as base
    from pmapdiff.formats import unpack

    base.all_forms()

from fuzz.oracle import check

# Packed inputs of a few KiB shall not unpack to what takes seconds to read. The bound itself is tested elsewhere.
unpack._ALWAYS_BYTES = 1 << 20
# What an input of at most 64 KiB may take, with what Python does not give back.
_MOST_KIB = 192 << 10


def main() -> None:
    target = sys.argv.pop(1)
    # What libFuzzer starts itself again as, where it does (-merge=1).
    sys.argv[0] = f"{sys.executable} -m fuzz.harness {target}"

    def one_input(data: bytes) -> None:
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        check(target, data)
        taken_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        assert taken_kib < _MOST_KIB, f"it took {taken_kib} KiB of memory to read {len(data)} bytes"

    # Whatever is imported and made once is no input's fault.
    check(target, bytes([2]) + b"08048000-08049000 r-xp 00000000 00:00 0 \n")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
