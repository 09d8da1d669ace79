"""The computations and figures of the demos of the command line: one demo per file. Nothing here prints.

Each demo is a function from settings to a small frozen dataclass, and a `draw_...` from that to a figure.
"""

# pyright: reportUnusedImport=false

from nnarray.apps.demos.classes import (
    DATASETS,
    NEW_POINTS,
    Scores,
    Start,
    Trained,
    Usual,
    draw_sizes,
    draw_training,
    hidden_of,
    train,
    untrained,
)
from nnarray.apps.demos.line import LINE_OPTIMIZER, SHOWN_EPOCHS, LineFit, LineOf, draw_line, fit_line, least_squares
from nnarray.apps.demos.sine import SINE_POINTS, Errors, SineFit, draw_sine, fit_sine, interpolate, shown_counts
from nnarray.apps.demos.words import Watch, counted, legend, percent, shape_of, speed
