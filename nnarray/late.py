"""Packages whose names are imported when somebody asks for one of them: what nobody uses costs no time at the start."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


class _Late(ModuleType):
    """A package of names that its modules define."""

    _modules: Mapping[str, str]
    _missing: Callable[[str], Any] | None
    _after: Callable[[str], Any]

    def __getattr__(self, name: str) -> Any:
        if name not in self._modules:
            missing = self._missing or super().__getattribute__  # which raises, too
            return missing(name)
        module = import_module(f"{self.__name__}.{self._modules[name]}")
        value = vars(self)[name] = getattr(module, name, module)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        """Python sets each module that was imported as an attribute of its package, whoever imported it."""
        if isinstance(value, ModuleType):
            self._after(value.__name__)
            if name in self._modules:
                return  # the name stands for what the module defines: `__getattr__` finds it
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *self._modules})


def late(
    package: str, names: Mapping[str, str], after: Callable[[str], Any], missing: Callable[[str], Any] | None = None
) -> tuple[str, ...]:
    """Let a package import a module of its own when somebody asks for a name that the module defines.

    Parameters
    ----------
    package : str
        The `__name__` of the package; its `__init__` calls this function.
    names : mapping of str to str
        The names, separated by blanks, by the module that defines them. The modules themselves are names, too, except
        for those that define their own: `datasets.pets` is the function.
    after : function of the name of a module
        It is called when a module of the package has been imported.
    missing : function of a name, optional
        It raises the AttributeError for a name that there is not, if that says more than Python's own.

    Returns
    -------
    tuple of str
        All names but those of the modules.
    """
    own: Any = sys.modules[package]
    own.__class__ = _Late
    module_of = {name: module for module, some in names.items() for name in some.split()}
    vars(own).update(_modules={module: module for module in names} | module_of, _after=after, _missing=missing)
    return tuple(module_of)
