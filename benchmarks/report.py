"""results.jsonl -> RESULTS.md: ratios first, then what they were made of."""

import json
import statistics
from collections import defaultdict

from .load import SCENARIOS
from .servers import LIMIT, OURS

YARDSTICKS = {OURS, LIMIT, "limit-uring", "pyfloor"}  # not peers
# What we hold ourselves to: cost of ours / cost of the limit, best rounds, one run.
GOALS = {
    "c100": 1.12,
    "c8": 1.12,
    "c1000": 1.12,
    "native": 1.06,
    "pipe16": 1.8,
    "json1k": 1.2,
    "get64k": 1.0,
    "close": 1.15,
    "ws64": 1.25,
    "offload": 2.0,
}


def read(path):
    """-> (rows of round cells by scenario and server, all other rows by kind)."""
    cells, others = defaultdict(lambda: defaultdict(list)), defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if "cpu_us" in row:
            cells[row["scenario"]][row["server"]].append(row)
        elif "failed" in row:
            others["failed"].append(row)
        else:
            others[row.get("kind", "")].append(row)
    return cells, others


def best(rows):
    return min(r["cpu_us"] for r in rows)


def median(rows, key="cpu_us"):
    return statistics.median(r[key] for r in rows)


def ratio_of_bests(a, b):
    return best(a) / best(b)


def median_ratio(a, b):
    """Of the ratios within each round both sides took part in."""
    theirs = {r["round"]: r["cpu_us"] for r in b}
    ratios = [r["cpu_us"] / theirs[r["round"]] for r in a if r["round"] in theirs]
    return statistics.median(ratios) if ratios else None


def _n(x, digits=2):
    return "-" if x is None else f"{x:,.{digits}f}"


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def summary(cells):
    """Ours against the limit and against each peer, scenario by scenario."""
    rows = []
    for name in SCENARIOS:
        c = cells.get(name, {})
        if OURS not in c:
            continue
        ours, limit = c[OURS], c.get(LIMIT)
        peers = sorted((best(v), k) for k, v in c.items() if k not in YARDSTICKS)
        near = peers[0][1] if peers else None
        rows.append(
            [
                name,
                f"{best(ours):.2f} ({median(ours):.2f})",
                f"{best(limit):.2f} ({median(limit):.2f})" if limit else "-",
                _n(limit and ratio_of_bests(ours, limit)),
                _n(limit and median_ratio(ours, limit)),
                _n(GOALS.get(name)),
                _n(("cymongoose" in c and ratio_of_bests(ours, c["cymongoose"])) or None),
                f"{near} {ratio_of_bests(ours, c[near]):.2f}" if near else "-",
            ]
        )
    head = [
        "scenario",
        "ours, us/req best (median)",
        "limit",
        "ours / limit",
        "median of rounds",
        "goal",
    ]
    return _table([*head, "ours / cymongoose", "ours / cheapest other"], rows)


def idle(cells):
    """What 10,000 silent connections cost the eight that speak."""
    rows = []
    for server, few in cells.get("idle0", {}).items():
        many = cells.get("idle10k", {}).get(server)
        if not many:
            continue
        rows.append(
            [
                server,
                f"{best(few):.2f}",
                f"{best(many):.2f}",
                _n(ratio_of_bests(many, few)),
                _n(median_ratio(many, few)),
                _n(min(r["open_s"] for r in many)),
                f"{median(many, 'rss_per_idle'):,.0f}",
                _n(median(many, "waiting_cpu_pct"), 1),
                f"{min(r['alive'] for r in many):,}",
            ]
        )
    head = [
        "server",
        "us/req, 0 idle",
        "10,000 idle",
        "ratio",
        "median of rounds",
        "seconds to open (best)",
    ]
    return _table([*head, "bytes RSS per idle", "CPU % while nobody asks", "alive after"], rows)


def _latency(rows):
    """p99 in milliseconds; wrk has none for pipelined batches."""
    worst = [r["p99_us"] / 1e3 for r in rows]
    return f"{statistics.median(worst):.2f} ({min(worst):.2f})" if min(worst) else "-"


def details(name, servers):
    ours, limit = servers.get(OURS), servers.get(LIMIT)
    rows = []
    for server, r in sorted(servers.items(), key=lambda kv: best(kv[1])):
        low = min(r, key=lambda x: x["cpu_us"])
        rows.append(
            [
                server,
                f"{best(r):.2f} ({median(r):.2f})",
                f"{low['user_us']:.2f}",
                _n(limit and ratio_of_bests(r, limit)),
                _n(ours and ratio_of_bests(ours, r)),
                f"{median(r, 'rps'):,.0f}",
                f"{median(r, 'cpu_pct'):.0f}",
                f"{median(r, 'all_us'):.2f}" if all("all_us" in x for x in r) else "-",
                f"{median(r, 'p50_us') / 1e3:.2f}",
                _latency(r),
                f"{sum(x['errors'] for x in r):.0f}",
            ]
        )
    head = [
        "server",
        "CPU us/req best (median)",
        "of it user",
        "/ limit",
        "ours / it",
        "req/s median",
        "its CPU %",
        "both cores us/req",
    ]
    return f"### {name}\n\n" + _table([*head, "p50 ms", "p99 ms median (best)", "errors"], rows)


def markdown(path):
    cells, others = read(path)
    run = others["run"][-1] if others["run"] else {}
    parts = [
        "# Results\n",
        "How to read them: [README.md](README.md). All rows: `results.jsonl`.\n",
    ]
    if run:
        every = [row for servers in cells.values() for rows in servers.values() for row in rows]
        steal = f"; the host took {median(every, 'steal_pct'):.1f} % (median)" if every else ""
        parts.append(
            f"{run['date']}, {run['machine']}, Python {run['python']}; {run['rounds']} rounds of "
            f"{run['seconds']} s cells{steal}.\n\n"
            f"Build: {run['build']}.\n\nVersions: {run['versions']}.\n"
        )
    if cells:
        parts.append("![CPU time per request, as a multiple of the limit's](results.svg)\n")
        parts += [
            "## Ours against the limit and the peers\n",
            "CPU microseconds per request; smaller is better.\n",
            summary(cells),
        ]
    if "idle0" in cells:
        parts += ["## 8 active beside 10,000 idle connections\n", idle(cells)]
    for row in {row["program"]: row for row in others["program"]}.values():  # of each the last
        parts += [
            f"## {row['title']}\n",
            f"`python -m benchmarks.{row['program']}`\n",
            row["text"].strip() + "\n",
        ]
    if cells:
        parts.append("## Scenario by scenario\n")
        parts += [details(name, cells[name]) for name in SCENARIOS if name in cells]
    if others["failed"]:
        parts.append("## What failed\n")
        seen = dict.fromkeys(
            (r["server"], r.get("scenario") or r.get("mode") or "-", r["failed"])
            for r in others["failed"]
        )
        parts.append(_table(["server", "where", "reason"], seen))
    return "\n".join(parts)
