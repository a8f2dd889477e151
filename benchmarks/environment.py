"""What has to be there before anything is measured.

wrk and nginx, the C limits, and a virtual environment with this checkout and the peers. Everything
goes to build/, is made once, and is brought up to date by the next call. What cannot be installed
is named, and only the servers that need it are missing.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / "build/bench-venv"
WITHOUT_NOGIL = ROOT / "build/bench-locked"  # the package built with USE_NOGIL=0, for nogil.py
LIMITS = ROOT / "build/bench-limits"

# command or header -> Debian package
SYSTEM = {
    "wrk": "wrk",
    "nginx": "nginx-light",
    "strace": "strace",
    "slowhttptest": "slowhttptest",
    "/usr/include/ev.h": "libev-dev",
}
NEEDED = {"wrk"}
# One line each: a peer that does not install only leaves its own rows out.
PEERS = [
    "matplotlib",
    "cymongoose",
    "orjson",
    "msgspec",
    "pysimdjson",
    "aiohttp",
    "uvicorn[standard]",
    "fastapi",
    "flask",
    "mrhttp mrpacker",  # it needs mrpacker and does not say so
    "bjoern",
    "fastpysgi",
    "socketify",
    "granian",
    "robyn",
    "sanic",
    "blacksheep",
    "fastwsgi",
    "picows",
    "websockets",
    "structlog",
    "loguru",
    "python-json-logger",
    "fapilog",
]


def prepare(python=None, *, report_only=False):
    """-> (folder of the limits, interpreter for servers and programs)."""
    if report_only:
        return LIMITS, python or (VENV / "bin/python" if VENV.exists() else Path(sys.executable))
    system_packages()
    if python is None:
        python = bench_venv()
    build_limits(python)
    return LIMITS, python


def system_packages():
    def missing():
        return {
            k: v
            for k, v in SYSTEM.items()
            if not (Path(k).exists() if k.startswith("/") else shutil.which(k, path=_path()))
        }

    lacking = missing()
    root = _become_root()
    if lacking and shutil.which("apt-get") and root is not None:
        print("== installing", *lacking.values(), flush=True)
        quiet = {
            "stdout": subprocess.DEVNULL,
            "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        }
        subprocess.run([*root, "apt-get", "-qq", "update"], check=False, **quiet)
        subprocess.run(
            [
                *[*root, "apt-get", "-qq", "install", "--no-install-recommends", "-y"],
                *lacking.values(),
            ],
            check=False,
            **quiet,
        )
        lacking = missing()
    if lacking:
        print("== missing, please install (Debian names):", *lacking.values(), flush=True)
        if gone := NEEDED & set(lacking):
            sys.exit(f"without {', '.join(sorted(gone))} there is no load")


def _become_root():
    """-> what to put before a command, or None where it is not allowed."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        asked = subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True)
        return ["sudo", "-n"] if asked.returncode == 0 else None
    return None


def bench_venv():
    python = VENV / "bin/python"
    if not python.exists():
        print("== making a virtual environment for the peers", flush=True)
        venv.create(VENV, with_pip=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    _step("tools", [*pip, "scikit-build-core", "pybind11>=3", "cmake", "ninja"], once=True)
    build = ["--no-build-isolation", "--no-deps", "--force-reinstall"]
    settings = "--config-settings=build-dir="
    print("== building pymongoose, release", flush=True)
    if not _step("pymongoose", [*pip, *build, f"{settings}{ROOT}/build/bench-package", str(ROOT)]):
        sys.exit("pymongoose does not build")
    locked = [
        *pip,
        *build,
        "--upgrade",
        "--target",
        str(WITHOUT_NOGIL),
        f"{settings}{ROOT}/build/bench-package-locked",
        str(ROOT),
    ]
    _step("pymongoose with USE_NOGIL=0", locked, USE_NOGIL="0")
    for peer in PEERS:
        _step(peer, [*pip, *peer.split()], once=True)
    return python


def with_symbols():
    """-> a folder with the package, optimized as always but not stripped; for costs.py."""
    folder = ROOT / "build/bench-symbols"
    flags = {k: f"{os.environ.get(k, '')} -g" for k in ("CFLAGS", "CXXFLAGS")}
    options = ["--config-settings=install.strip=false", "--no-build-isolation", "--no-deps"]
    target = ["--upgrade", "--target", str(folder)]
    build = f"--config-settings=build-dir={ROOT}/build/bench-package-symbols"
    pip = [sys.executable, "-m", "pip", "--quiet", "install", *options, *target, build, str(ROOT)]
    if not _step("pymongoose with symbols", pip, **flags):
        sys.exit("pymongoose does not build")
    return folder


def build_limits(python):
    _step(
        "limits",
        [
            "make",
            "--silent",
            "-C",
            str(ROOT / "benchmarks/limit"),
            f"PYTHON={Path(python).absolute()}",
            f"OUT={LIMITS}",
        ],
    )
    if not (LIMITS / "epoll_limit").exists():
        sys.exit("the limit does not build: a C compiler and make are needed")


def versions(python):
    """How the package was built, and the versions of all that is compared."""
    names = [p.split()[0].split("[")[0] for p in PEERS[1:]]
    code = (
        "import importlib.metadata as m, json, platform, pymongoose\n"
        "def version(n):\n"
        "    try: return n + ' ' + m.version(n)\n"
        "    except m.PackageNotFoundError: return None\n"
        f"peers = ', '.join(filter(None, map(version, {names!r})))\n"
        "build = ', '.join(f'{k} {v}' for k, v in pymongoose.build_info().items())\n"
        "print(json.dumps({'python': platform.python_version(),"
        " 'build': build, 'versions': peers}))"
    )
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"pymongoose cannot be imported: {done.stderr.strip()[-200:]}")
    return json.loads(done.stdout)


def _step(name, command, *, once=False, **environ):
    """Run a command of the preparation and return whether it went well.

    With once, what went well is not done again.
    """
    stamp = VENV / f"bench-{name.split()[0]}.done"
    if once and stamp.exists():
        return True
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": _path(), **environ},
    )
    if done.returncode:
        print(
            f"== {name}: failed, {(done.stderr.strip().splitlines() or ['no message'])[-1][:200]}",
            flush=True,
        )
        return False
    if once:
        stamp.touch()
    return True


def _path():
    return os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", ""), "/usr/sbin"])
