"""The library pyarrow, and columns in types that its functions support."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def arrow() -> Any:
    """The library pyarrow, with `pyarrow.compute`."""
    if (pa := sys.modules.get("pyarrow")) and sys.modules.get("pyarrow.compute"):
        return pa  # at once, for this is asked for at every column
    try:
        pa = importlib.import_module("pyarrow")
        importlib.import_module("pyarrow.compute")
    except ImportError as error:
        raise ImportError("reading tables needs pyarrow; pip install 'nnarray[tables]'.") from error
    return pa


def plain(table: pa.Table) -> pa.Table:
    """The columns in types that pyarrow's functions support; few of them support the text type of Polars."""
    kinds = [_plain_kind(kind) for kind in table.schema.types]
    for i, (kind, name) in enumerate(zip(kinds, table.column_names, strict=True)):
        if kind != table.schema.field(i).type:
            table = table.set_column(i, name, table.column(i).cast(kind))
    return table


def _plain_kind(kind: Any) -> Any:
    pa = arrow()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _plain_kind(kind.value_type), kind.ordered)
    views = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    return views.get(kind, kind)
