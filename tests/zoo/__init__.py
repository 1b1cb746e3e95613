"""Programs of known behaviour, recorded together, and a score of what `leaks` says of them: `make zoo`."""
