"""What a model writes and reads: ONNX files, and its numbers by name."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from nnarray.backends import dtype_name, host_backend
from nnarray.checks import integer, switch
from nnarray.functional.propagation import Wiring
from nnarray.names import shown
from nnarray.typing import Array


def write_onnx(model: Any, path: Any, *, batch: int | None, dynamic_axes: Any, check: bool) -> None:
    """Write the model as an ONNX file; described in `Model.to_onnx`."""
    writing = importlib.import_module("nnarray.onnx.writing.file")
    file = writing.named_file(path, dtype_name(model.theta.dtype))
    if batch is not None:
        batch = integer(batch, "batch", 1, usual=1)
    switch(check, "check")
    host = model.of_values().to(host_backend())
    source = writing.source_of(host, _notes(model.metadata), dynamic_axes, keeps_names=True)
    writing.write(file, source, batch, is_checked=check)


def _notes(metadata: Mapping[str, Any]) -> dict[str, str]:
    """What a file says of the model: its classes and tokenizer, and the notes of the file that it was read from."""
    own = {
        name: json.dumps(metadata[name], ensure_ascii=False) for name in ("classes", "tokenizer") if name in metadata
    }
    read = metadata.get("onnx")
    kept = {name: each for name, each in read.items() if isinstance(each, str)} if isinstance(read, Mapping) else {}
    loading = importlib.import_module("nnarray.onnx.reading.loading")
    if loading.classes_of(kept) is not None:
        del kept["classes"]  # those of the model are right, which may have none
    return kept | own


def vectors_of(wiring: Wiring, theta: Array, state: Array, state_dict: Any) -> tuple[Array, Array]:
    """theta and state with all numbers of a state_dict; described in `Model.load_state_dict`.

    Raises
    ------
    TypeError, ValueError
        As described there.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"load_state_dict needs arrays by name, such as model.state_dict(); got {shown(state_dict)}. For the "
            f"path of a file, use nn.load(path) or model.load_torch(path)."
        )
    from nnarray.persistence.pytorch import refuse_torch

    refuse_torch(state_dict)
    params, still = wiring.params, wiring.state
    names = [slot.name for slot in (*params.slots, *still.slots)]
    missing, unknown = [n for n in names if n not in state_dict], [n for n in state_dict if n not in names]
    if missing or unknown:
        raise ValueError(
            f"the state_dict does not fit: missing {missing}, unknown {unknown}. It must have {names}. For the "
            f"state_dict of a module of another library, use model.load_torch(state_dict)."
        )
    given: Mapping[str, Any] = state_dict
    both = (
        layout.replaced(vector, {slot.name: given[slot.name] for slot in layout.slots})
        for layout, vector in ((params, theta), (still, state))
    )
    return next(both), next(both)
