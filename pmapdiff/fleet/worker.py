"""What a local worker of Dask is told first."""

from __future__ import annotations

import os

from distributed import Worker, WorkerPlugin


class Silence(WorkerPlugin):
    """Whatever a worker or a library in it would print, which may be the words of strangers, does not get to the terminal of who asked."""

    name = "pmapdiff-silence"

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - it is about the process
        """In each worker when it has begun, in one that takes the place of another, too."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        os.close(nowhere)
