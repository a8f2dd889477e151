"""The switches of docs/building.md, all changed in one build, show in what was built."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
from programs import ROOT, run, serving

HEADERS = "-O0 -DMG_MAX_HTTP_HEADERS=64"  # C and C++ have to agree on what a header says
SWITCHES = {
    "USE_NOGIL": "0",
    "USE_TLS": "0",
    "MG_IO_SIZE": "32768",
    "CFLAGS": HEADERS,
    "CXXFLAGS": HEADERS,
}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_switches_of_the_environment_reach_the_build(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
    if importlib.util.find_spec("scikit_build_core"):
        pip.append("--no-build-isolation")
    # "None" instead of "Release": CMake adds no level of optimization of its own, which is quicker to compile.
    where = [f"--config-settings=build-dir={tmp_path / 'build'}", "--target", tmp_path / "lib"]
    pip += ["--config-settings=cmake.build-type=None"]
    run(*pip, *where, ROOT, env={**os.environ, **SWITCHES})

    env = {**os.environ, "PYTHONPATH": str(tmp_path / "lib")}
    info = json.loads(
        run(sys.executable, "-m", "pymongoose", "--build-info", env=env, cwd=tmp_path)
    )
    assert (info["nogil"], info["tls"]) == (False, False)
    assert (info["io_size"], info["max_headers"]) == (32768, 64)
    flags = run(sys.executable, "-m", "pymongoose", "--pkgconfig-dir", env=env, cwd=tmp_path)
    assert "-DMG_IO_SIZE=32768" in (Path(flags) / "mongoose.pc").read_text()

    hello = ROOT / "examples/http_hello.py"
    with serving(
        "env", f"PYTHONPATH={tmp_path / 'lib'}", sys.executable, hello, "--port", "0"
    ) as it:
        assert it.get() == b"Hello, World!\n"
