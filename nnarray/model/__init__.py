"""A network with numbers: `Model`. The files beside it have what its methods compute."""

from nnarray.model.model import Model

__all__ = ["Model"]
