"""A process that starts others, as an init does: `["start", {"argv": [...]}]` in, its pid out. They end when it does."""

import ctypes
import json
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def end_with_parent() -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    print("ready", os.getpid(), flush=True)
    for line in iter(sys.stdin.readline, ""):
        _, arguments = json.loads(line)
        child = subprocess.Popen(
            arguments["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent
        )
        print(json.dumps(child.pid), flush=True)


if __name__ == "__main__":
    main()
