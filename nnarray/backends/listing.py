"""All known backends, with the reason why one cannot be used and how to fix that."""

from __future__ import annotations

from dataclasses import dataclass

from nnarray.backends.choosing import backend
from nnarray.backends.errors import BackendNotInstalled
from nnarray.backends.library import Library
from nnarray.backends.registry import LIBRARIES


@dataclass(frozen=True)
class BackendInfo:
    """The report of `nn.list_backends()` on one backend: what it is, or why it cannot be used and how to fix that."""

    name: str
    usable: bool
    version: str = ""
    device: str = ""
    memory: int | None = None
    dtypes: tuple[str, ...] = ()
    reason: str = ""

    @property
    def imitates(self) -> bool:
        """Whether the library is for tests only."""
        return LIBRARIES[self.name.partition(":")[0]].imitates

    def __str__(self) -> str:
        if not self.usable:
            return f"{self.name}: {self.reason}"
        memory = f", {self.memory / 2**30:.1f} GiB" if self.memory else ""
        return f"{self.name}: {self.version} on {self.device}{memory} ({', '.join(self.dtypes)})"


def list_backends() -> list[BackendInfo]:
    """All known backends, usable or not. It imports every library that is installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> [info.name for info in nn.list_backends() if info.usable][0]
    'numpy'
    """
    return [describe(flag) for library in LIBRARIES.values() for flag in _flags(library)]


def _flags(library: Library) -> list[str]:
    try:
        library.namespace()
        return library.flags()
    except Exception:  # not installed, or no device: one line says why
        return [library.name]


def describe(flag: str) -> BackendInfo:
    """The report on the backend `flag`."""
    library = LIBRARIES[flag.partition(":")[0]]
    with library.device_kept():
        return _described(flag, library)


def _described(flag: str, library: Library) -> BackendInfo:
    try:
        be = backend(flag)
    except (ImportError, RuntimeError, ValueError) as error:
        version = "" if isinstance(error, BackendNotInstalled) else library.version()
        return BackendInfo(flag, usable=False, version=version, reason=str(error))
    device, memory = library.hardware(be.device)
    return BackendInfo(flag, True, library.version(), device, memory, be.dtypes)
