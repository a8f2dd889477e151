"""Where do the instructions of a request go, outside the kernel?

callgrind counts them, so the figures are the same on every run and on a busy machine; they say
nothing of the kernel's share and of cache misses, for which `perf` is the tool. The package is
built once more for this, optimized as always, with symbols.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict

from . import environment, load
from .servers import Place, Server

# part of a source's path, or of its object's -> layer. The first match counts.
LAYERS = {
    "/mongoose/codec": "codec",
    "/mongoose/proto": "proto",
    "/mongoose/loop": "loop",
    "/mongoose/base": "base",
    "/cpp/": "binding",
    "_core.": "binding",  # headers of Python and the compiler, inlined
    "libc": "libc",
    "sysdeps": "libc",
    "ython": "CPython",
}


class Counted(Place):
    """A place whose servers run under callgrind, not counting until told to."""

    def command(self, name, mode, port):
        out = f"--callgrind-out-file={self.tmp}/calls"
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", out]
        return [*valgrind, *super().command(name, mode, port)]

    def environment(self):
        environ = super().environment()
        path = f"{environment.with_symbols()}{os.pathsep}{environ['PYTHONPATH']}"
        return {**environ, "PYTHONPATH": path}


def count(place, scenario):
    """-> {(layer, function): instructions per request}"""
    s = load.SCENARIOS[scenario]
    with Server(place, "pymongoose", s.mode, patience=60) as server:
        load.run(place, server.port, s, 2)
        _counting("on", server.pid)
        done = load.run(place, server.port, s, 4)
        _counting("off", server.pid)
        os.kill(server.pid, signal.SIGTERM)
        end = time.monotonic() + 30
        while server.running() and time.monotonic() < end:
            time.sleep(0.1)
    text = subprocess.run(
        ["callgrind_annotate", "--threshold=100", str(place.tmp / "calls")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = defaultdict(float)
    for line in text.splitlines():
        m = re.match(r" *([\d,]+) \( *[\d.]+%\)\s+(\S+?):(.+?)(?: \[(.*)\])?$", line)
        if m:
            where = next((v for k, v in LAYERS.items() if k in m[2] or k in (m[4] or "")), "others")
            name = re.sub(r"\(anonymous namespace\)::|\(.*|'\d+$", "", m[3]).strip()
            found[where, name] += int(m[1].replace(",", "")) / done.requests
    return _reunited(found)


def _reunited(found):
    """What was inlined from a header of the compiler or of Python belongs to who called it."""
    home = {name: layer for layer, name in found if layer != "others"}
    whole = defaultdict(float)
    for (layer, name), n in found.items():
        whole[home.get(name, layer), name] += n
    return whole


def _counting(state, pid):
    subprocess.run(["callgrind_control", "-i", state, str(pid)], capture_output=True, check=True)


def main():
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed")
    limits = os.environ.get("BENCH_LIMITS", environment.LIMITS)
    with tempfile.TemporaryDirectory(prefix="bench-") as tmp:
        results = {s: count(Counted(sys.executable, limits, tmp), s) for s in ("c100", "pipe16")}
    layers = {s: defaultdict(float) for s in results}
    for scenario, found in results.items():
        for (layer, _), n in found.items():
            layers[scenario][layer] += n
    _table("layer", layers, sorted(layers["c100"], key=lambda k: -layers["c100"][k]))
    print()
    top = sorted(results["pipe16"], key=lambda k: -results["pipe16"][k])[:20]
    _table("function", results, top)
    print("\nInstructions per request outside the kernel. c100: 100 connections, one request at a")
    print("time; pipe16: sixteen requests arrive together, so system calls hardly count.")


def _table(what, columns, keys):
    print(f"| {what} | {' | '.join(columns)} |\n|" + "---|" * (1 + len(columns)))
    for key in keys:
        label = f"{key[0]}: `{key[1]}`" if isinstance(key, tuple) else key
        print(f"| {label} | {' | '.join(f'{c.get(key, 0):,.0f}' for c in columns.values())} |")
    if what == "layer":
        print(f"| all | {' | '.join(f'{sum(c.values()):,.0f}' for c in columns.values())} |")


if __name__ == "__main__":
    main()
