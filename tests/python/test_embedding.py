"""C and C++ programs on the library: as a part of their build, from an installed package, by pkg-config."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from programs import ROOT, run, serving

import pymongoose

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package folder with headers and library: the installed one, or a copy that CMake installed into."""
    home = Path(pymongoose.__file__).parent
    if (home / "share/cmake/pymongoose").exists():
        return home
    tmp = tmp_path_factory.mktemp("installed")
    home = Path(shutil.copytree(home, tmp / "pymongoose"))
    build = tmp / "build"
    options = ["-DPYMONGOOSE_BUILD_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Debug"]
    run("cmake", "-S", ROOT, "-B", build, *options)
    run("cmake", "--build", build)
    run("cmake", "--install", build, "--prefix", home)
    return home


def ask(package: Path, option: str) -> str:
    return run(sys.executable, "-m", "pymongoose", option, cwd=package.parent)


def test_c_example_builds_by_add_subdirectory(tmp_path: Path) -> None:
    run("cmake", "-S", ROOT / "examples/c", "-B", tmp_path, "-DCMAKE_BUILD_TYPE=Debug")
    run("cmake", "--build", tmp_path)
    with serving(tmp_path / "http_server", "0") as it:
        assert it.get() == b"Hello from C!\n"
        assert it.ask("GET", "/nowhere")[0] == 404
    made = {p.name for p in tmp_path.rglob("*.so")} | {p.name for p in tmp_path.rglob("*_core*")}
    assert made == set(), "a sub-project builds no Python extension"


def test_cpp_example_builds_by_find_package(package: Path, tmp_path: Path) -> None:
    where = f"-Dpymongoose_DIR={ask(package, '--cmake-dir')}"
    run("cmake", "-S", ROOT / "examples/cpp", "-B", tmp_path, "-DCMAKE_BUILD_TYPE=Debug", where)
    run("cmake", "--build", tmp_path)
    with serving(tmp_path / "main", "0", complaint="handler: thrown on purpose") as it:
        assert it.get() == b"Hello from C++, request 1\n"
        assert it.ask("GET", "/throw")[0] == 500
        assert it.get() == b"Hello from C++, request 3\n"


def test_cpp_example_finds_it_by_prefix_after_a_move(package: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(package, tmp_path / "moved")
    build = tmp_path / "build"
    run("cmake", "-S", ROOT / "examples/cpp", "-B", build, f"-DCMAKE_PREFIX_PATH={moved}")
    cache = (build / "CMakeCache.txt").read_text()
    assert f"pymongoose_DIR:PATH={moved}/share/cmake/pymongoose" in cache


def test_c_example_builds_by_pkg_config(package: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PKG_CONFIG_PATH": ask(package, "--pkgconfig-dir")}
    flags = run("pkg-config", "--cflags", "--libs", "mongoose", env=env).split()
    run("cc", ROOT / "examples/c/http_server.c", "-o", tmp_path / "server", *flags)
    with serving(tmp_path / "server", "0") as it:
        assert it.get() == b"Hello from C!\n"


def test_c_example_builds_by_the_flags_of_the_package(package: Path, tmp_path: Path) -> None:
    flags = [*ask(package, "--includes").split(), *ask(package, "--libs").split()]
    run("cc", ROOT / "examples/c/http_server.c", "-o", tmp_path / "server", *flags)
    with serving(tmp_path / "server", "0") as it:
        assert it.get() == b"Hello from C!\n"
