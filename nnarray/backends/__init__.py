"""Backends, chosen by a flag: an array library and a device, and the reasons why others are not usable.

Only this folder and `nnarray/kernels/` know array libraries by name. Functions that *create* arrays take `backend=`;
all others use the backend of the arrays that they get (`namespace`, `same_place`).
"""

# pyright: reportUnusedImport=false

from nnarray.backends.choosing import backend, host_backend
from nnarray.backends.copies import apart, copy, owned, read_only
from nnarray.backends.cuda import cuda_driver_version, explain_cuda
from nnarray.backends.dtypes import FLOATS, default_float, dtype_name
from nnarray.backends.errors import BackendNotInstalled, BackendUnavailable, OutOfDeviceMemory
from nnarray.backends.following import as_data, backend_of, flag_of, memory_errors, place, same_place
from nnarray.backends.host import free_host_memory
from nnarray.backends.jax import Jax
from nnarray.backends.library import Library
from nnarray.backends.library_and_device import Backend
from nnarray.backends.listing import BackendInfo, describe, list_backends
from nnarray.backends.reading import refuse_query
from nnarray.backends.recording import (
    detached,
    has_record,
    is_differentiated,
    is_read_at_once,
    is_traced,
    stands_in,
    without_record,
)
from nnarray.backends.registry import LIBRARIES, device_of, is_lazy, library_of, namespace, on_device
