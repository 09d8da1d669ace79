"""Errors of backends: not installed, not able to compute, or out of memory."""

from __future__ import annotations


class BackendNotInstalled(ImportError):
    """The library of a backend is not installed; the message has the command to install it."""


class BackendUnavailable(RuntimeError):
    """The library is installed but cannot compute here; the message says why and how to fix it."""


class OutOfDeviceMemory(MemoryError):
    """The device has not enough free memory; the message has the requested size, if the library reports it."""
