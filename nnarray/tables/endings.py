"""The format of a table, by the ending of its path."""

from __future__ import annotations

from pathlib import Path

KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".npz": "npz",
    ".npy": "npy",
    ".txt": "csv",
    ".data": "csv",
    ".tab": "tsv",
}

DELIMITERS = {"csv": ",", "tsv": "\t"}
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}  # endings after that of a text file
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods")
PACKED = (".xz", ".zip", ".7z", ".rar", ".tgz")  # archives, which are not read


def kind_of(path: Path) -> str:
    """The format for the ending of a path."""
    suffix = path.suffix.lower()
    kind = KINDS.get(Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix)
    if suffix in PACKED:
        raise ValueError(
            f"{str(path)!r} is an archive of type {suffix}, which is not supported; unpack it, and pass a file in it."
        )
    if suffix in SPREADSHEETS and path.exists():
        save = f"pandas.read_excel({str(path)!r}).to_csv({str(path.with_suffix('.csv'))!r}, index=False)"
        raise ValueError(
            f"{str(path)!r} is a spreadsheet, which is not supported; save it as CSV in your spreadsheet "
            f"program, or with {save}."
        )
    if kind is None or (suffix in COMPRESSED and kind not in DELIMITERS):
        raise ValueError(
            f"{str(path)!r} does not have the ending of a table. Use one of {', '.join(KINDS)}; .csv and .tsv may be "
            f"followed by {', '.join(COMPRESSED)}. Rename it, or save it in one of these formats."
        )
    return kind
