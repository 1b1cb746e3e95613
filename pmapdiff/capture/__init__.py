"""The recorder: from /proc to snapshots."""
