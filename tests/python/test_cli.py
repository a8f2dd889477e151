"""`python -m pymongoose` tells build systems where things are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pymongoose


def ask(*args: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """With `home` a package found there, otherwise the one under test."""
    code = [sys.executable, "-m", "pymongoose"]
    return subprocess.run([*code, *args], check=False, capture_output=True, text=True, cwd=home)


def test_version_is_one_line() -> None:
    assert ask("--version").stdout == pymongoose.__version__ + "\n"


def test_build_info_is_json() -> None:
    assert json.loads(ask("--build-info").stdout) == pymongoose.build_info()


def test_a_question_is_needed_and_only_one() -> None:
    assert ask().returncode == 2
    assert ask("--version", "--libs").returncode == 2


def bare_copy(where: Path) -> Path:
    """The package without anything that CMake installs."""
    source = Path(pymongoose.__file__).parent
    ignore = shutil.ignore_patterns("include", "lib", "share", "__pycache__")
    return Path(shutil.copytree(source, where / "pymongoose", ignore=ignore))


def test_places_are_told_where_they_exist(tmp_path: Path) -> None:
    home = bare_copy(tmp_path)
    for place in ("share/cmake/pymongoose", "include", "lib/pkgconfig"):
        (home / place).mkdir(parents=True)
    (home / "include/mongoose.h").touch()
    (home / "lib/libmongoose.a").touch()
    (home / "lib/pkgconfig/mongoose.pc").write_text(
        "Requires: libssl >= 3.0, libcrypto >= 3.0\nCflags: -I${includedir} -DA=1\n"
        "Libs: -L${libdir} -lmongoose -pthread -lz\n"
    )

    def told(option: str) -> str:
        return ask(option, home=tmp_path).stdout.strip()

    assert told("--cmake-dir") == str(home / "share/cmake/pymongoose")
    assert told("--pkgconfig-dir") == str(home / "lib/pkgconfig")
    assert told("--includes") == f"-I{home / 'include'} -DA=1"
    assert told("--libs") == f"-L{home / 'lib'} -lmongoose -pthread -lz -lssl -lcrypto"


def test_without_headers_the_error_says_so(tmp_path: Path) -> None:
    bare_copy(tmp_path)
    for option in ("--cmake-dir", "--includes", "--libs", "--pkgconfig-dir"):
        answer = ask(option, home=tmp_path)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert "no headers and no library" in answer.stderr
