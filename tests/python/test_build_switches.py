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


# Whoever asks for TLS is told at once that it is not there, and nothing listens or connects in plain text instead.
WITHOUT_TLS = """
from pymongoose import Manager, TlsError, TlsOpts
with Manager() as mgr:
    plain = mgr.listen("http://127.0.0.1:0")
    for ask in (
        lambda: mgr.listen("https://127.0.0.1:0"),
        lambda: mgr.listen("tcp://127.0.0.1:0", tls=TlsOpts()),
        lambda: mgr.connect("https://127.0.0.1:1"),
        lambda: mgr.connect("tls://127.0.0.1:1"),
        lambda: mgr.ws_connect("wss://127.0.0.1:1"),
        lambda: mgr.request("GET", "https://127.0.0.1:1/"),
        lambda: plain.tls_init(TlsOpts()),
    ):
        try:
            print("nothing", ask())
        except TlsError as exc:
            assert "TLS is not part of this build" in str(exc), exc
            print(type(exc).__name__)
    assert len(mgr.connections) == 1
"""


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

    assert run(sys.executable, "-c", WITHOUT_TLS, env=env, cwd=tmp_path).split() == ["TlsError"] * 7

    hello = ROOT / "examples/http_hello.py"
    with serving(
        "env", f"PYTHONPATH={tmp_path / 'lib'}", sys.executable, hello, "--port", "0"
    ) as it:
        assert it.get() == b"Hello, World!\n"
