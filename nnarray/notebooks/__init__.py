"""What the notebooks of the documentation import: their figures, one file a notebook, and the check of an answer.

`nnarray notebooks FOLDER` copies the notebooks. The figures need `nnarray[plot]`.
"""

# pyright: reportUnusedImport=false

from nnarray.notebooks.exercises import check
