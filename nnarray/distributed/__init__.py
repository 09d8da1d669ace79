"""Distributed training and prediction with Dask."""

from nnarray.distributed.cluster import Cluster

__all__ = ["Cluster"]
