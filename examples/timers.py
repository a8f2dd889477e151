"""Timers: one that repeats, one that fires once, and one that is cancelled. GET / tells what happened so far.
python examples/timers.py --port 8000, then: curl http://127.0.0.1:8000/"""

import argparse

from pymongoose import MG_EV_HTTP_MSG, Connection, Manager

seen = {"ticks": 0, "once": False, "cancelled": False}


def tick() -> None:
    seen["ticks"] += 1


def once() -> None:
    seen["once"] = True


def never() -> None:
    seen["cancelled"] = "it fired"


def handler(conn: Connection, ev: int, data: object) -> None:
    if ev == MG_EV_HTTP_MSG:
        conn.reply_json(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    mgr = Manager(handler)
    mgr.timer_add(100, tick, repeat=True, run_now=True)
    mgr.timer_add(50, once)
    timer = mgr.timer_add(10_000, never)
    timer.cancel()
    seen["cancelled"] = not timer.active
    site = mgr.listen(f"http://127.0.0.1:{parser.parse_args().port}")
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
