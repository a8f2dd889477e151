"""Are a WebSocket's bytes unmasked, and its texts checked, as fast as memory is?

GB/s of the functions of the core (limit/ws_bytes.c) beside memcpy on the same machine, for a small frame, a page, and more than the nearer
caches hold. Text that is not ASCII is checked with AVX2 where the processor has it.
"""

import os
import subprocess
import sys
from pathlib import Path

from . import environment, machine


def main():
    program = Path(os.environ.get("BENCH_LIMITS", environment.LIMITS)) / "ws_bytes"
    if not program.exists():
        sys.exit(f"{program} is not there: make bench ARGS=--prepare")
    done = subprocess.run(
        [str(program)],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=machine.pinned(machine.SERVER_CPU),
    )
    print(done.stdout, end="")


if __name__ == "__main__":
    main()
