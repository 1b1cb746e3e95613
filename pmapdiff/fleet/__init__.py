"""Many hosts at once: what is asked of each, where their series are, and who does the work (Dask, extra `fleet`)."""
