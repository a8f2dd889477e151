"""Parts of testssl.sh and of the Autobahn suite, where they are installed; `make conformance` runs all of them."""

import os
import shutil
import subprocess
import sys

import pytest
from programs import ROOT

from pymongoose import build_info

WSTEST = os.environ.get("WSTEST", str(ROOT / "build" / "autobahn" / "venv" / "bin" / "wstest"))
# One or two of each kind: framing, pings, reserved bits, opcodes, fragments, UTF-8, close codes, misc, limits, compression.
CASES = "1.1.* 1.2.8 2.* 3.1 3.7 4.1.* 5.* 6.2.* 6.4.1 7.1.* 7.7.1 7.9.* 10.* 12.1.1 13.3.1"


@pytest.mark.skipif(
    not os.access(WSTEST, os.X_OK), reason="the Autobahn suite is not installed: make conformance"
)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("side", ["server", "client"])
def test_autobahn(side, tmp_path):
    env = {
        **os.environ,
        "WSTEST": WSTEST,
        "AUTOBAHN": str(tmp_path),
        "PY": sys.executable,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "CASES": CASES,
        "SKIP": "",
        "SIDE": side,
    }
    command = ["bash", ROOT / "tests" / "conformance" / "autobahn.sh"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not clean: none" in done.stdout


@pytest.mark.skipif(
    not build_info()["tls"] or not (shutil.which("testssl") or shutil.which("testssl.sh")),
    reason="testssl.sh is not installed, or a build without TLS",
)
@pytest.mark.timeout(300)
def test_testssl(tmp_path):
    """Protocols, cipher categories, server defaults, and the flaws that take no time to look for."""
    env = {
        **os.environ,
        "PY": sys.executable,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OUT": str(tmp_path),
        "ARGS": "-p -s -S -H -R",
    }
    command = ["bash", ROOT / "tests" / "conformance" / "testssl.sh"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not clean: none" in done.stdout
