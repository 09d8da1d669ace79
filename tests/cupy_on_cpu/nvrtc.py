"""NVIDIA's own compiler of kernels, which needs no GPU: `python -m tests.cupy_on_cpu.nvrtc SOURCE RESULT OPTION...`.

In a process of its own, where no other library has the same names. What the compiler says is printed.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path

from tests.cupy_on_cpu import NVRTC


@cache
def library() -> ctypes.CDLL:
    ctypes.CDLL(str(NVRTC / "libnvrtc-builtins.so.13.0"))  # which the other one looks for elsewhere
    return ctypes.CDLL(str(NVRTC / "libnvrtc.so.13"))


def compile_source(text: bytes, options: list[bytes]) -> tuple[bytes, str]:
    """The machine code, which is empty where the source is refused, and what the compiler says."""
    program = ctypes.c_void_p()
    library().nvrtcCreateProgram(ctypes.byref(program), text, b"kernels.cu", 0, None, None)
    failed = library().nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    return b"" if failed else part(program, "CUBIN"), part(program, "ProgramLog").rstrip(b"\0").decode()


def part(program: ctypes.c_void_p, name: str) -> bytes:
    size = ctypes.c_size_t()
    library()[f"nvrtcGet{name}Size"](program, ctypes.byref(size))
    content = ctypes.create_string_buffer(size.value)
    library()[f"nvrtcGet{name}"](program, content)
    return content.raw


if __name__ == "__main__":
    source, result, *words = sys.argv[1:]
    code, log = compile_source(Path(source).read_bytes(), [word.encode() for word in words])
    Path(result).write_bytes(code)
    print(log)
