"""Install what is missing, measure, write results.jsonl, RESULTS.md and results.svg.

make bench                         the servers and scenarios that matter, 25 minutes
make bench ARGS="--quick"          limit, ours and cymongoose, 2 rounds
make bench ARGS="--scenarios all --servers all --rounds 3"
make bench ARGS="--report"         only write RESULTS.md and the plot anew, of results.jsonl
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import environment, load, machine, report, rounds
from .servers import LIMIT, OURS, SERVERS, Place

HERE = Path(__file__).resolve().parent
# program -> (its question, seconds it may take)
PROGRAMS = {
    "wakeups": ("A million posts from eight threads, 10,000 connections beside them", 180),
    "broadcast": ("1 KiB to a thousand WebSocket clients", 240),
    "tls": ("TLS beside nginx: keep-alive requests, and full handshakes", 180),
    "sinks": ("A structured event, from the call to its line in a file", 300),
    "access_log": ("What the access log adds to a request", 60),
    "sinks_http": ("A structured event, from the call to an HTTP server", 120),
    "ws_bytes": ("Masks and UTF-8 of WebSocket messages, GB/s", 60),
    "slow_clients": ("Others beside 1,000 slow heads and 1,000 slow bodies", 240),
    "json_fields": ("One field out of a JSON document", 180),
    "syscalls": ("System calls per keep-alive request", 60),
    "nogil": ("What letting go of Python's lock brings to another thread", 120),
    "costs": ("Where the instructions of a request go", 400),
    "classic": ("wrk -t4 -c100 -d10s, nothing pinned", 180),
}


def arguments():
    ap = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument(
        "--scenarios",
        default=",".join(rounds.DEFAULT),
        help="comma-separated, 'all' or 'none'; default: %(default)s",
    )
    ap.add_argument(
        "--servers", help="comma-separated or 'all'; default: those that matter in each scenario"
    )
    ap.add_argument(
        "--programs",
        default=",".join(p for p in PROGRAMS if p != "costs"),
        help="comma-separated or 'none'; default: %(default)s",
    )
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=int, default=2, help="of one cell; default: 2")
    ap.add_argument(
        "--quick", action="store_true", help="limit, ours and cymongoose, 2 rounds, no programs"
    )
    ap.add_argument("--append", action="store_true", help="keep the rows of an earlier run")
    ap.add_argument("--report", action="store_true", help="measure nothing")
    ap.add_argument(
        "--out", type=Path, default=HERE, help="folder of the results; default: benchmarks/"
    )
    ap.add_argument(
        "--python",
        type=Path,
        help="an interpreter that has pymongoose and peers; default: one is made in build/",
    )
    ap.add_argument("--prepare", action="store_true", help="install and build, measure nothing")
    return ap.parse_args()


def chosen(words, all_words, what):
    if words == "none":
        return []
    picked = list(all_words) if words == "all" else words.split(",")
    if unknown := set(picked) - set(all_words):
        sys.exit(f"unknown {what}: {', '.join(sorted(unknown))}; there are: {', '.join(all_words)}")
    return picked


def run_programs(names, place, out):
    for name in names:
        title, limit = PROGRAMS[name]
        print(f"== {name}: {title}", flush=True)
        command = [str(place.python), "-m", f"benchmarks.{name}"]
        environ = {**place.environment(), "BENCH_LIMITS": str(place.limits)}
        start = time.monotonic()
        try:
            done = subprocess.run(
                command,
                check=False,
                cwd=HERE.parent,
                env=environ,
                capture_output=True,
                text=True,
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            row = {"server": name, "failed": f"took longer than {limit} s"}
        else:
            print(done.stdout + done.stderr, flush=True)
            row = {
                "kind": "program",
                "program": name,
                "title": title,
                "text": done.stdout,
                "took_s": round(time.monotonic() - start, 1),
            }
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                row = {"server": name, "failed": f"exit {done.returncode}: {last}"[:200]}
        out.write(json.dumps(row) + "\n")
        out.flush()


def write_report(out):
    (out / "RESULTS.md").write_text(report.markdown(out / "results.jsonl"))


def main():
    args = arguments()
    limits, python = environment.prepare(args.python, report_only=args.report)
    if not args.report and not args.prepare:
        measure(args, limits, python)
    if not args.prepare:
        write_report(args.out)
        subprocess.run(
            [str(python), "-m", "benchmarks.plot", str(args.out)], cwd=HERE.parent, check=False
        )
        print((args.out / "RESULTS.md").read_text().split("## Scenario by scenario")[0])


def measure(args, limits, python):
    scenarios = chosen(args.scenarios, load.SCENARIOS, "scenarios")
    servers = chosen(args.servers, SERVERS, "servers") if args.servers else None
    programs = chosen(args.programs, PROGRAMS, "programs")
    if args.quick:
        servers, args.rounds, programs = (
            servers or [LIMIT, OURS, "cymongoose"],
            min(args.rounds, 2),
            [],
        )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as tmp,
        (args.out / "results.jsonl").open("a" if args.append else "w") as out,
    ):
        place = Place(python, limits, tmp)
        row = {
            "kind": "run",
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine.describe(),
            **environment.versions(python),
        }
        out.write(json.dumps({**row, "rounds": args.rounds, "seconds": args.seconds}) + "\n")
        if scenarios:
            rounds.Rounds(
                place,
                out,
                scenarios=scenarios,
                servers=servers,
                rounds=args.rounds,
                seconds=args.seconds,
            ).run()
        run_programs(programs, place, out)
    print(f"== measured for {(time.monotonic() - start) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
