"""The store as a data set of Parquet files, partitioned by day and host, in a folder or an object store; docs/lake.md describes it.

It knows the model and nothing of a store: who writes gives it snapshots, who reads gets them.
"""

from pmapdiff.errors import UsageError

try:
    from pmapdiff.lake.read import LakeReader
    from pmapdiff.lake.write import LakeWriter, Written
except ImportError as error:
    raise UsageError(f"a lake needs pyarrow and fsspec ({error}): pip install 'pmapdiff[lake]'") from None

__all__ = ["LakeReader", "LakeWriter", "Written"]
