"""results.jsonl -> results.svg: CPU time per request of every server, in multiples of the limit's."""

import sys
from pathlib import Path

from . import report
from .load import SCENARIOS
from .servers import LIMIT, OURS


def draw(folder):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "pymongoose"  # the same rows make the same file
    matplotlib.rcParams["svg.fonttype"] = "none"
    import matplotlib.pyplot as plt

    cells, _ = report.read(folder / "results.jsonl")
    rows = [s for s in SCENARIOS if OURS in cells.get(s, {}) and LIMIT in cells[s]]
    names = [OURS, *sorted({n for s in rows for n in cells[s]} - {OURS, LIMIT})]
    colours = plt.get_cmap("tab20").colors
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.42 * len(rows)), layout="constrained")
    for k, name in enumerate(names):
        points = [
            (report.ratio_of_bests(cells[s][name], cells[s][LIMIT]), y)
            for y, s in enumerate(rows)
            if name in cells[s]
        ]
        ours = name == OURS
        style = (
            {"s": 90, "marker": "D", "color": "black", "zorder": 3}
            if ours
            else {"s": 36, "color": colours[k % 20]}
        )
        axes.scatter(*zip(*points, strict=True), label=name, **style)
    goals = [(report.GOALS[s], y) for y, s in enumerate(rows) if s in report.GOALS]
    if goals:
        axes.scatter(
            *zip(*goals, strict=True), label="goal", marker="|", s=300, color="red", zorder=2
        )
    axes.axvline(1, color="grey", linewidth=1)
    axes.set_xscale("log")
    ticks = [1, 1.5, 2, 3, 5, 10, 20, 50]
    axes.set_xticks(ticks, [f"{t:g}x" for t in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.set_xlabel("CPU time per request / the limit's, best rounds (less is better)")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.savefig(folder / "results.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    try:
        draw(Path(sys.argv[1]))
    except ImportError:
        print("== no plot: matplotlib is not installed")
