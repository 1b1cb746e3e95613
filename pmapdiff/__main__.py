"""`python -m pmapdiff`, and what the installed command runs."""

from __future__ import annotations

import os


def main() -> None:
    """Run the command line. Who interrupts it before it has begun gets what who interrupts it later gets: 130 and no traceback."""
    try:
        from pmapdiff.cli import main as run
    except KeyboardInterrupt:
        os._exit(130)
    run()


if __name__ == "__main__":
    main()
