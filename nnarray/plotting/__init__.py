"""Figures of data, of the predictions of a network, and of its training. They need `nnarray[plot]`.

Every distinction is made twice, by colour and by shape. People with colour blindness can distinguish the colours
[1]_, and so can readers of a print in grey.

References
----------
.. [1] Okabe & Ito (2008), Color Universal Design. https://jfly.uni-koeln.de/color/
"""

# pyright: reportUnusedImport=false

from nnarray.drawing.canvas import (
    BLUE,
    COLOURS,
    GREEN,
    MARKERS,
    NEGATIVE,
    ORANGE,
    POSITIVE,
    STYLE,
    VERMILLION,
    axes_for,
    log_scale,
    need_matplotlib,
    on_host,
    picture,
    save,
    whole_numbers,
)
from nnarray.drawing.curves import plot_activation, plot_history, plot_metrics
from nnarray.drawing.products import plot_product
from nnarray.drawing.sheets import plot_confusion, plot_filters, plot_images, plot_pictures
from nnarray.plotting.attention import plot_attention
from nnarray.plotting.film import Film
from nnarray.plotting.fit import plot_fit
from nnarray.plotting.histograms import plot_activation_histograms, plot_weight_histograms
from nnarray.plotting.neurons import plot_neurons
from nnarray.plotting.plane import plot_boundary, plot_data, plot_surface
