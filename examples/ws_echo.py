"""WebSocket echo: every message goes back as it came, compressed where the client offers it.
python examples/ws_echo.py --port 8000, then: python -m websockets ws://127.0.0.1:8000/"""

import argparse

from pymongoose import MG_EV_HTTP_MSG, MG_EV_WS_MSG, Connection, Manager


def handler(conn: Connection, ev: int, data: object) -> None:
    if ev == MG_EV_HTTP_MSG:
        conn.ws_upgrade(data, compress=True)
    elif ev == MG_EV_WS_MSG:
        conn.ws_send(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    mgr = Manager(handler)
    listener = mgr.listen(f"ws://127.0.0.1:{parser.parse_args().port}")
    print(f"ws://127.0.0.1:{listener.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
