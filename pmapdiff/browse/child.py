"""Work in a process of its own: it takes nothing of the screen's time, gives its memory back, and ends when it is told to.

The verdicts on a host take a minute of calculation, which would hold up the screen again and again if it were a thread; nor could that be stopped.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")
_NICE = 5


async def in_child(work: Callable[[], _T]) -> _T:
    """What `work` gives, or the error that it raises; it must be picklable, and so must they. The child is killed if nobody waits for it any more."""
    # -P: a package of this name in the folder where one happens to be is not meant.
    command = (sys.executable, "-P", "-m", __name__)
    child = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
    try:
        answer, _ = await child.communicate(pickle.dumps(work))
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        raise ChildProcessError(f"the process that works them out ended with {child.returncode}")
    worked, result = pickle.loads(answer)
    if not worked:
        raise result
    found: _T = result
    return found


def main() -> None:
    """Do what standard input says, and write what comes of it to standard output."""
    import gc

    from pmapdiff.errors import PmapdiffError

    # As every command: it is short, and what it makes has no cycles.
    gc.disable()
    os.nice(_NICE)
    work: Callable[[], Any] = pickle.load(sys.stdin.buffer)
    try:
        answer: tuple[bool, object] = True, work()
    except PmapdiffError as error:
        answer = False, error
    sys.stdout.buffer.write(pickle.dumps(answer))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
