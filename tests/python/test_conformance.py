"""Parts of testssl.sh and of the Autobahn suite. `make conformance` runs all of them, the large messages and every kind of compression too.

The Autobahn suite is installed when that can be done: it is code for Python 2.7, which tests/conformance/autobahn.sh finds, or has pyenv install.
"""

import os
import shutil
import subprocess
import sys

import pytest
from programs import ROOT

from pymongoose import build_info

# One or more of each kind: framing, pings, reserved bits, opcodes, fragments, UTF-8, close codes, limits, misc, compression.
CASES = (
    "1.1.1 1.1.5 1.1.6 1.1.8 1.2.3 1.2.8 2.* 3.1 3.2 3.7 4.1.1 4.1.5 4.2.1 4.2.5 5.1 5.3 5.5 5.9 5.15 5.18 5.19 6.2.* 6.4.1 6.4.2 "
    "6.12.1 7.1.* 7.3.* 7.5.1 7.7.1 7.7.13 7.9.1 7.9.7 7.13.1 9.3.1 10.* 12.1.1 12.1.7 12.3.4 12.5.3 13.1.1 13.2.2 13.3.1 13.4.3 13.7.2"
)


def run(suite, **env):
    path = os.pathsep.join(p for p in sys.path if p)
    env = {**os.environ, "PY": sys.executable, "PYTHONPATH": path, **env}
    script = ROOT / "tests" / "conformance" / f"{suite}.sh"
    return subprocess.run(["bash", script], check=False, capture_output=True, text=True, env=env)


@pytest.mark.timeout(1800)  # compiling a Python takes its time; the cases take seconds
def test_autobahn_finds_nothing_to_complain_about_in_server_and_client(tmp_path):
    installed = run("autobahn", INSTALL="1")
    if installed.returncode == 77:
        pytest.skip(installed.stderr.strip())
    assert installed.returncode == 0, installed.stdout + installed.stderr
    wstest = os.environ.get("WSTEST", str(ROOT / "build" / "autobahn" / "venv" / "bin" / "wstest"))
    done = run("autobahn", WSTEST=wstest, AUTOBAHN=str(tmp_path), CASES=CASES, SKIP="", SIDE="both")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "server: not clean: none" in done.stdout
    assert "client: not clean: none" in done.stdout


@pytest.mark.skipif(
    not build_info()["tls"] or not (shutil.which("testssl") or shutil.which("testssl.sh")),
    reason="testssl.sh is not installed, or a build without TLS",
)
@pytest.mark.timeout(300)
def test_testssl(tmp_path):
    """Protocols, cipher categories, server defaults, and the flaws that take no time to look for."""
    done = run("testssl", OUT=str(tmp_path), ARGS="-p -s -S -H -R")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not clean: none" in done.stdout
