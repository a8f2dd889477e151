"""UDP: one MG_EV_READ for each datagram; send() answers the peer it came from.
python examples/udp_echo.py --port 8000, then: nc -u 127.0.0.1 8000"""

import argparse

from pymongoose import MG_EV_READ, Connection, Manager


def handler(conn: Connection, ev: int, data: None) -> None:
    if ev == MG_EV_READ:
        conn.send(conn.read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    mgr = Manager(handler)
    listener = mgr.listen(f"udp://127.0.0.1:{parser.parse_args().port}")
    print(f"udp://127.0.0.1:{listener.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
