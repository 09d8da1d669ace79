"""The formats of tables, one module each."""

from __future__ import annotations

from functools import partial

from nnarray.tables.endings import DELIMITERS
from nnarray.tables.formats import feather, npy, npz, parquet
from nnarray.tables.formats.format import Format
from nnarray.tables.formats.text import csv

FORMATS: dict[str, Format] = {
    **{kind: Format(csv.columns, csv.parts, partial(csv.write_text, by)) for kind, by in DELIMITERS.items()},
    "parquet": Format(parquet.columns, parquet.parts, parquet.write),
    "feather": Format(feather.columns, feather.parts, feather.write),
    "npz": Format(npz.columns, npz.parts, npz.write),
    "npy": Format(npy.columns, npy.parts, None),
}
