"""Prove that taut can be packaged: sdist -> wheel, `pip install .` and `pip install -e .`, each in a clean place.

Nothing of the checkout is used but the sdist that is made of it: everything else happens in a temporary directory,
with this interpreter and the package registry.

    python scripts/check_dist.py
"""

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SMOKE = """
import asyncio, taut._core
from taut import Client, Server

assert taut._core.COMPILED, "expected the compiled core, got the pure twin"
app = Server("smoke")

@app.tool
def add(a: int, b: int) -> int:
    return a + b

async def main():
    async with Client(app) as client:
        result = await client.call_tool("add", {"a": 1, "b": 2})
        assert result.structured_content == {"result": 3}, result

asyncio.run(main())
"""


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command; its output is shown only when it fails."""
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.stdout.buffer.write(done.stdout)
        raise SystemExit(f"status {done.returncode} from: {' '.join(map(str, command))}")


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise SystemExit(f"expected {what}")


def check_sdist(sdist: Path) -> None:
    """All that is needed to build and to test, nothing that was built."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in (
        "setup.py",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "ext/taut/_core/scan.pyx",
        "ext/taut/_core/scan.pxd",
        "ext/taut/_core/blocks.h",
        "src/taut/py.typed",
        "src/taut/_core/scan.pyi",
        "tests/core/conftest.py",
        "tests/vectors/framing.jsonl",
    ):
        expect(needed in names, f"{needed} in {sdist.name}")
    built = sorted(name for name in names if name.endswith((".so", ".pyd", ".pyc", ".c")))
    expect(not built, f"no build results in {sdist.name}, got {built}")


def check_wheel(wheel: Path) -> None:
    """Modules, stubs and extensions; no sources of extensions, no tests."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    sources = sorted(path.stem for path in (ROOT / "ext/taut/_core").glob("*.pyx"))
    for module in sources:
        compiled = [name for name in names if name.startswith(f"taut/_core/{module}.") and ".pyi" not in name]
        expect(len(compiled) == 1, f"one extension {module} in {wheel.name}, got {compiled}")
        expect(f"taut/_core/{module}.pyi" in names, f"the stub of {module} in {wheel.name}")
    expect("taut/py.typed" in names, f"py.typed in {wheel.name}")
    foreign = [
        name
        for name in names
        if not name.endswith((".py", ".pyi", ".so", ".pyd", "py.typed")) and ".dist-info/" not in name
    ]
    expect(not foreign, f"only modules, stubs and extensions in {wheel.name}, got {foreign}")
    expect(all(name.startswith("taut") for name in names), f"one package in {wheel.name}")


def check_install(sdist: Path, place: Path, *options: str) -> None:
    """Unpack the sdist, install it from its directory, and make a call."""
    with tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
    (source,) = (path for path in place.iterdir() if path.is_dir())
    run(sys.executable, "-m", "venv", place / "venv", cwd=place)
    python = place / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    run(python, "-m", "pip", "install", *options, ".", cwd=source)
    run(python, "-c", SMOKE, cwd=place)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="taut-dist-") as name:
        place = Path(name)
        run(sys.executable, "-m", "build", "--outdir", place / "dist", ROOT, cwd=place)
        (sdist,) = (place / "dist").glob("*.tar.gz")
        (wheel,) = (place / "dist").glob("*.whl")
        check_sdist(sdist)
        check_wheel(wheel)
        print(
            f"{sdist.name}: {sdist.stat().st_size // 1024} KB; {wheel.name}: {wheel.stat().st_size // 1024} KB"
        )
        for number, options in enumerate(([], ["--editable"])):
            part = place / str(number)
            part.mkdir()
            check_install(sdist, part, *options)
            print(f"pip install {' '.join([*options, '.'])}: works")


if __name__ == "__main__":
    main()
