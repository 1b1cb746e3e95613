"""Figures that the project promises, measured against its peers in the same run: `python -m tests.benchmarks`."""
