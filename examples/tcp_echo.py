"""Raw TCP: send every line back in capitals; what is not a whole line yet stays in the receive buffer.
python examples/tcp_echo.py --port 8000, then: nc 127.0.0.1 8000"""

import argparse

from pymongoose import MG_EV_READ, Connection, Manager


def handler(conn: Connection, ev: int, data: None) -> None:
    if ev != MG_EV_READ:
        return
    lines, newline, _ = conn.recv_data().rpartition(b"\n")
    if newline:
        conn.send(conn.read(len(lines) + 1).upper())
    elif conn.recv_len > 65536:
        conn.error("a line of more than 64 KiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    mgr = Manager(handler)
    listener = mgr.listen(f"tcp://127.0.0.1:{parser.parse_args().port}")
    print(f"tcp://127.0.0.1:{listener.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
