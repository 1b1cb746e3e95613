"""`python -m pmapdiff`."""

from pmapdiff.cli import main

main()
