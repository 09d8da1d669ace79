"""Work that is spread over many machines, by an engine that is there already: Dask."""

from nnarray.distributed.cluster import Cluster

__all__ = ["Cluster"]
