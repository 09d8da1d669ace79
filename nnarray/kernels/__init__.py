"""The arithmetic, in two storeys: `standard/` defines every kernel, `numpy/`, `torch.py`, ... hold faster versions.

The only folder besides `backends/` that may know which array library it talks to.
"""

# pyright: reportUnusedImport=false

from nnarray.kernels.registry import TABLE, Kernel, kernel
from nnarray.kernels.standard.activations import (
    elu,
    elu_pullback,
    erfc,
    gaussian,
    gaussian_pullback,
    gelu,
    gelu_pullback,
    gelu_tanh,
    gelu_tanh_pullback,
    hard_sigmoid,
    hard_sigmoid_pullback,
    hard_tanh,
    hard_tanh_pullback,
    identity,
    identity_pullback,
    leaky_relu,
    leaky_relu_pullback,
    log_softmax,
    log_softmax_pullback,
    logistic,
    logistic_pullback,
    mish,
    mish_pullback,
    relu,
    relu_pullback,
    selu,
    selu_pullback,
    silu,
    silu_pullback,
    sin,
    sin_pullback,
    softmax,
    softmax_pullback,
    softplus,
    softplus_pullback,
    softsign,
    softsign_pullback,
    tanh,
    tanh_pullback,
)
from nnarray.kernels.standard.convolution import convolution, convolution_pullback
from nnarray.kernels.standard.draws import signed, threefry
from nnarray.kernels.standard.linear import affine, affine_pullback
from nnarray.kernels.standard.losses import (
    binary_cross_entropy,
    cross_entropy,
    cross_entropy_of_labels,
    huber,
    mae,
    mse,
    one_hot,
)
from nnarray.kernels.standard.normalisation import (
    batch_norm_pullback,
    local_response,
    local_response_pullback,
    normalise,
    normalise_pullback,
    scale_and_shift,
)
from nnarray.kernels.standard.painting import blend, ellipse
from nnarray.kernels.standard.pooling import max_pool, max_pool_pullback, mean_pool, mean_pool_pullback
from nnarray.kernels.standard.recomputation import after, linked, recorded
from nnarray.kernels.standard.updates import (
    adadelta_update,
    adagrad_update,
    adam_update,
    adamax_update,
    amsgrad_update,
    drawn_in,
    lion_update,
    momentum_update,
    nadam_update,
    radam_update,
    rmsprop_update,
    sgd_update,
)
