"""What the kernel knows of a process: CPU time, memory, children.

Linux only, by /proc. Also: how a process gets a core for itself.
"""

import os
from collections import defaultdict
from pathlib import Path

SERVER_CPU, CLIENT_CPU = 0, 1
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(pid):
    """The process and all below it."""
    children, found, todo = defaultdict(list), [], [pid]
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(_stat(entry)[1])
        except (OSError, IndexError):
            continue  # ended while we looked
        children[parent].append(int(entry))
    while todo:
        found.append(todo.pop())
        todo += children[found[-1]]
    return found


def cpu(pid):
    """CPU seconds (user, system) of the process tree so far."""
    user = system = 0
    for p in tree(pid):
        try:
            fields = _stat(p)
        except OSError:
            continue
        user, system = user + int(fields[11]), system + int(fields[12])
    return user / TICK, system / TICK


def rss(pid):
    """Resident bytes of the process tree."""
    return sum(int(Path(f"/proc/{p}/statm").read_text().split()[1]) for p in tree(pid)) * PAGE


def stolen():
    """Clock ticks that the host took from this machine so far."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])


def busy():
    """CPU seconds that all cores of this machine have worked so far, interrupts too."""
    ticks = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    return (sum(ticks) - ticks[3] - ticks[4] - ticks[7]) / TICK


def pinned(core):
    """For preexec_fn: one core, an own session, and the highest weight the scheduler has.

    Other work on the machine waits, then, as far as it can be made to.
    """

    def before_exec():
        os.setsid()
        os.sched_setaffinity(0, {core})
        try:
            Path("/proc/self/autogroup").write_text("-20")
            os.nice(-10)
        except OSError:
            pass  # not root: then without

    return before_exec


def describe():
    """The machine in a line, without its name."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (x.split(":", 1)[1].strip() for x in info if x.startswith("model name")), os.uname().machine
    )
    release = ".".join(os.uname().release.split("-")[0].split(".")[:2])
    return f"{os.cpu_count()} cores ({model}), Linux {release}"


def _stat(pid):
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
