"""Record the memory mappings of Linux processes and say what changed between any two moments."""

__version__ = "0.1.0"
