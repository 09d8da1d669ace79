"""PyTorch's own versions of what the standard has to compose."""

from __future__ import annotations

import torch

from nnarray import kernels

kernels.erfc.fast("torch")(torch.special.erfc)
