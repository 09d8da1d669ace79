"""Building CuPy on the CPU: packages from the registry, one module of CuPy compiled anew, and the stand-in for CUDA.

CuPy loads NVIDIA's driver, compiler and matrix products by the names of their files, so that the stand-in takes their
names. CUDA's runtime alone is inside of a module of CuPy's; this module is compiled from CuPy's source without it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from tests.cupy_on_cpu import BUILT, FOLDER, LIBRARY, PACKAGES

SOURCES = Path(__file__).parent
CUPY = "14.2.0"
WHEELS = (
    f"cupy-cuda13x=={CUPY}",
    "cuda-pathfinder==1.9.1",
    "nvidia-cuda-runtime==13.0.96",  # for its headers
    "nvidia-cuda-crt==13.0.88",
)
NVRTC = "nvidia-cuda-nvrtc==13.0.88"
CYTHON = "cython==3.1.8"
OTHER_NAMES = ("libcudart.so.13", "libnvrtc.so.13.0", "libcublas.so.13", "libcublasLt.so.13")

COMPILE = ("g++", "-std=c++17", "-fPIC", "-w", "-U_FORTIFY_SOURCE")
BESIDE_CUPY = PACKAGES / "nvidia" / "cu13" / "lib"
CUDA_HEADERS = PACKAGES / "nvidia" / "cu13" / "include"
OWN_HEADERS = FOLDER / "include"
CUPY_HEADERS = PACKAGES / "cupy" / "_core" / "include"
LIBCUDACXX = CUPY_HEADERS / "cupy" / "_cccl" / "libcudacxx"
CUPY_SOURCE = FOLDER / f"cupy-{CUPY}"
RUNTIME = Path("cupy_backends", "cuda", "api")  # where the module with CUDA's runtime is

HEADERS = {  # that no package has
    "cuda_profiler_api.h": (
        '#include <cuda_runtime_api.h>\nextern "C" cudaError_t cudaProfilerStart(), cudaProfilerStop();'
    ),
    "thrust/detail/config/namespace.h": (
        "#define THRUST_NAMESPACE_BEGIN namespace thrust {\n#define THRUST_NAMESPACE_END }"
    ),
}
CUPY_SETTINGS = {  # CuPy's own, with which it is published
    "CUPY_CUDA_VERSION": 13020,
    "CUPY_HIP_VERSION": 0,
    "CUPY_USE_CUDA_PYTHON": False,
    "CUPY_CUFFT_STATIC": False,
}
CUDA_NOT_SUPPORTED, CUBLAS_NOT_SUPPORTED = 801, 15


def build() -> None:
    """Everything anew, but for what pip has installed already."""
    BUILT.unlink(missing_ok=True)
    for name in ("lib", "kernels", "cache"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        (FOLDER / name).mkdir(parents=True)
    get_packages()
    write_headers()
    runtime = compile_runtime_of_cupy()
    link_stand_in(runtime)
    replace_in_cupy(runtime)
    prepare_for_kernels()
    BUILT.touch()


def get_packages() -> None:
    pip("install", "--target", PACKAGES, "--no-deps", "--only-binary", ":all:", *WHEELS)
    pip("install", "--target", FOLDER / "nvrtc", "--no-deps", "--only-binary", ":all:", NVRTC)
    pip("install", "--target", FOLDER / "cython", "--no-deps", CYTHON)
    if not CUPY_SOURCE.exists():
        without_cuda = os.environ | {"CUPY_INSTALL_USE_STUB": "1"}
        pip("download", "--no-deps", "--no-binary", "cupy", "-d", FOLDER, f"cupy=={CUPY}", env=without_cuda)
        with tarfile.open(FOLDER / f"cupy-{CUPY}.tar.gz") as archive:
            safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # early releases of 3.11 lack it
            archive.extractall(FOLDER, **safely)


def write_headers() -> None:
    for name, text in HEADERS.items():
        path = OWN_HEADERS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#pragma once\n{text}\n")


def compile_runtime_of_cupy() -> Path:
    """The object file of the module in which CuPy calls CUDA's runtime."""
    text = FOLDER / "cupy_runtime.cpp"
    directives = [f"-X{each}" for each in ("embedsignature=True", "c_api_binop_methods=True", "binding=False")]
    settings = ",".join(f"{name}={value}" for name, value in CUPY_SETTINGS.items())
    command = [sys.executable, "-m", "cython", "--cplus", "-3", *directives, "-E", settings, "-I", CUPY_SOURCE]
    run(*command, "-o", text, CUPY_SOURCE / RUNTIME / "runtime.pyx", env={"PYTHONPATH": str(FOLDER / "cython")})
    return compiled(text, "-O0", "-I", sysconfig.get_paths()["include"], "-I", CUPY_SOURCE / RUNTIME)


def link_stand_in(runtime: Path) -> None:
    """One library, found under the names of all of NVIDIA's."""
    parts = [compiled(each, "-O3") for each in sorted((SOURCES / "cuda").glob("*.cpp"))]
    cublas = (PACKAGES / "cupy_backends" / "cuda" / "libs").glob("cublas*.so")
    wanted = symbols("-u", runtime).union(*(symbols("-D", "-u", each) for each in cublas))
    supported = set().union(*(symbols("--defined-only", each) for each in parts))
    rest = FOLDER / "not_supported.cpp"
    rest.write_text("".join(not_supported(name) for name in sorted(wanted - supported)))
    link(LIBRARY, *parts, compiled(rest), f"-Wl,-soname,{LIBRARY.name}", "-ldl", "-lpthread")
    for name in OTHER_NAMES:  # libraries without a function of their own, which bring the one that has them
        link(BESIDE_CUPY / name, f"-Wl,-soname,{name}", "-Wl,--no-as-needed", LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}")
    link(BESIDE_CUPY / "libnvrtc-builtins.so.13.0", "-x", "c++", os.devnull)  # looked for, and not called
    (BESIDE_CUPY / "libnvrtc.so.13").unlink(missing_ok=True)
    (BESIDE_CUPY / "libnvrtc.so.13").symlink_to("libnvrtc.so.13.0")  # the version is read off the longer name


def replace_in_cupy(runtime: Path) -> None:
    module = PACKAGES / RUNTIME / f"runtime{sysconfig.get_config_var('EXT_SUFFIX')}"
    link(module, runtime, LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}")
    for each in (PACKAGES / "cupy" / "cuda").glob("thrust.*.so"):
        each.unlink()
    shutil.copy(SOURCES / "sorting.py", PACKAGES / "cupy" / "cuda" / "thrust.py")


def prepare_for_kernels() -> None:
    """The command that compiles a kernel, and what all kernels include, read once for all."""
    includes = [f"-I{each}" for each in (OWN_HEADERS, LIBCUDACXX, CUPY_HEADERS, CUDA_HEADERS)]
    command = [*COMPILE, "-O1", "-ffp-contract=off", "-fwrapv", "-fpermissive", *includes]
    for name in ("blocks.h", "kernel.h"):
        shutil.copy(SOURCES / "cuda" / name, FOLDER)
    run(*command, "-x", "c++-header", "-o", FOLDER / "kernel.h.gch", FOLDER / "kernel.h")
    (FOLDER / "compile").write_text(shlex.join(command))


def compiled(source: Path, *flags: object) -> Path:
    """The object file of a source."""
    result = FOLDER / f"{source.stem}.o"
    run(*COMPILE, *flags, "-I", CUDA_HEADERS, "-I", OWN_HEADERS, "-c", "-o", result, source)
    return result


def link(library: Path, *parts: object) -> None:
    library.unlink(missing_ok=True)
    run("g++", "-shared", "-o", library, *parts)


def symbols(*words: object) -> set[str]:
    """The functions of CUDA that a file has or wants."""
    names = {line.split()[-1].split("@")[0] for line in run("nm", *words).splitlines() if line.strip()}
    return {name for name in names if name.startswith(("cuda", "cublas"))}


def not_supported(name: str) -> str:
    """A function that nothing needs, which only says that it is not there."""
    status = CUBLAS_NOT_SUPPORTED if name.startswith("cublas") else CUDA_NOT_SUPPORTED
    return f'extern "C" __attribute__((visibility("default"))) int {name}() {{ return {status}; }}\n'


def pip(*words: object, env: dict[str, str] | None = None) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *words, env=env)


def run(*words: object, env: dict[str, str] | None = None) -> str:
    """What a command prints; the build ends with that where it fails."""
    command = [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (env or {}))
    if done.returncode:
        sys.exit(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout
