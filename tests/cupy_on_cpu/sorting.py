"""What sorts instead of CUDA's Thrust: NumPy, on the memory that the device shares with the host."""

import ctypes

import numpy as np

available = True


def get_build_version():
    return 0


def _array_at(address, dtype, shape):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype=dtype).reshape(shape)


def _refuse_capture():
    """What is sorted here is sorted now, and not when a graph is launched."""
    import cupy  # which imports this file first

    if cupy.cuda.get_current_stream().is_capturing():
        raise RuntimeError("sorting waits for the device, which is not permitted while a stream is captured")


def sort(dtype, data, keys, shape):
    """In place, along the last axis; `keys` is room that Thrust needs."""
    _refuse_capture()
    _array_at(data, dtype, shape).sort(axis=-1, kind="stable")


def argsort(dtype, order, data, keys, shape):
    """The order goes to `order`, and the data are sorted, too."""
    _refuse_capture()
    values = _array_at(data, dtype, shape)
    _array_at(order, np.intp, shape)[...] = values.argsort(axis=-1, kind="stable")
    values.sort(axis=-1, kind="stable")
