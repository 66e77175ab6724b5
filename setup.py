"""Build of the compiled core, and nothing else: all metadata is in pyproject.toml.

Switches, read from the environment:

- ``TAUT_SANITIZE=address,undefined``: sanitizers and Cython's bounds checks (``make asan``).
- ``TAUT_TRACE=1``: line tracing, for coverage of the .pyx files.
- ``TAUT_ANNOTATE=1``: an HTML page per module that shows where Python is called.
- ``TAUT_CFLAGS``: more compiler flags.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCES = Path("ext/taut/_core")
SANITIZE = os.environ.get("TAUT_SANITIZE", "")
TRACE = os.environ.get("TAUT_TRACE") == "1"
ANNOTATE = os.environ.get("TAUT_ANNOTATE") == "1"
CHECKED = bool(SANITIZE) or TRACE


def compiler_flags() -> tuple[list[str], list[str]]:
    """Return (compile flags, link flags) for this platform and these switches."""
    extra = os.environ.get("TAUT_CFLAGS", "").split()
    if sys.platform == "win32":
        return ["/O2", *extra], []
    if SANITIZE:
        flags = [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer"]
        return ["-O1", "-g", *flags, *extra], flags
    strip = ["-Wl,-s"] if sys.platform == "linux" else []
    return ["-O3", "-g0", "-Wall", "-Wno-unused-function", *extra], strip


compile_args, link_args = compiler_flags()
macros = (
    [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")] if TRACE else []
)

extensions = [
    Extension(
        f"taut._core.{source.stem}",
        [source.as_posix()],
        include_dirs=[SOURCES.as_posix()],
        depends=[header.as_posix() for header in SOURCES.glob("*.h")],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
        define_macros=macros,
    )
    for source in sorted(SOURCES.glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        build_dir=None if TRACE else "build/cython",
        include_path=["ext"],
        annotate=ANNOTATE,
        compiler_directives={
            "language_level": 3,
            "boundscheck": CHECKED,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "freethreading_compatible": True,
            "linetrace": TRACE,
        },
    )
)
