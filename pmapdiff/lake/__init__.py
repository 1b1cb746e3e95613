"""The store as a data set of Parquet files, partitioned by day and host, in a folder or an object store; docs/lake.md describes it.

It knows the model and nothing of a store: who writes gives it snapshots, who reads gets them.
"""

from pmapdiff.lake.read import LakeReader
from pmapdiff.lake.write import LakeWriter, Written

__all__ = ["LakeReader", "LakeWriter", "Written"]
