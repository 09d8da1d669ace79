"""What goes wrong with a backend: it is missing, it cannot compute here, or its memory is full."""

from __future__ import annotations


class BackendNotInstalled(ImportError):
    """The library of a backend is not installed; the message has the command that installs it."""


class BackendUnavailable(RuntimeError):
    """The library is installed but cannot compute here; the message says why and what mends it."""


class OutOfDeviceMemory(MemoryError):
    """The device has not enough free memory; the message says how much was asked for, if the library says it."""
