"""The arithmetic: `standard/` defines every kernel, and `numpy/`, `torch.py`, ... have faster versions.

Only this folder and `backends/` may depend on the array library.
"""

# pyright: reportUnusedImport=false

from nnarray.kernels.registry import TABLE, Kernel, kernel
from nnarray.kernels.standard.activations import erfc, log_softmax, logistic, relu, relu_pullback, softmax, softplus
from nnarray.kernels.standard.attention import attention, attention_pullback, joined_heads, rotated
from nnarray.kernels.standard.blocks import normalised_relu
from nnarray.kernels.standard.convolution import (
    activated_convolution,
    activated_convolution_pullback,
    convolution,
    convolution_pullback,
)
from nnarray.kernels.standard.draws import dropped, signed, threefry, words
from nnarray.kernels.standard.gradients import guarded_product, spread, summed_to
from nnarray.kernels.standard.linear import activated_affine, activated_affine_pullback, affine, affine_pullback
from nnarray.kernels.standard.lookup import block, inserted, lookup, scatter_add
from nnarray.kernels.standard.losses import (
    cross_entropy,
    cross_entropy_of_labels,
    mean_of_entries,
    one_hot,
    reduced_cross_entropy_of_labels,
)
from nnarray.kernels.standard.normalisation import (
    batch_norm,
    batch_norm_pullback,
    layer_norm,
    layer_norm_pullback,
    local_response,
    local_response_pullback,
    moving_average,
    normalise,
    normalise_pullback,
    rms_normalise,
    rms_normalise_pullback,
    scale_and_shift,
)
from nnarray.kernels.standard.painting import blend, ellipse
from nnarray.kernels.standard.pooling import max_pool, max_pool_pullback, mean_pool, mean_pool_pullback
from nnarray.kernels.standard.recomputation import after, held, linked, recorded, with_pullback
from nnarray.kernels.standard.recurrent import CELLS, recurrence
from nnarray.kernels.standard.updates import (
    adadelta_update,
    adagrad_update,
    adam_update,
    adamax_update,
    amsgrad_update,
    decayed,
    limited_gradient,
    lion_update,
    momentum_update,
    nadam_update,
    radam_update,
    rmsprop_update,
    sgd_update,
    shrunk,
)
from nnarray.kernels.standard.vectors import all_finite, joined, shortened, stacked
from nnarray.kernels.writing import put
