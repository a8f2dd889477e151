"""Chat with rooms, and the page for it: each room is a group, a line is framed once for all of its members.
python examples/ws_chat.py --port 8000, then open http://127.0.0.1:8000/ in two windows"""

import argparse
import json

from pymongoose import MG_EV_CLOSE, MG_EV_HTTP_MSG, MG_EV_WS_MSG, MG_EV_WS_OPEN, Connection, Manager

PAGE = """<!doctype html><meta charset="utf-8"><title>Chat</title>
<form id="f"><input id="name" placeholder="name" value="guest"> <input id="text" placeholder="say something" autofocus>
<button>Send</button></form><pre id="log"></pre>
<script>
const room = location.hash.slice(1) || "lobby", log = document.getElementById("log");
const ws = new WebSocket(`ws://${location.host}/room/${room}`, "chat.v1");
ws.onmessage = e => { const m = JSON.parse(e.data); log.textContent += `${m.from}: ${m.text}\\n`; };
ws.onclose = e => { log.textContent += `closed: ${e.code} ${e.reason}\\n`; };
f.onsubmit = e => { e.preventDefault(); ws.send(JSON.stringify({from: name.value, text: text.value})); text.value = ""; };
</script>"""


def say(conn: Connection, who: str, text: str) -> None:
    conn.manager.broadcast(conn.userdata, json.dumps({"from": who, "text": text}))


def receive(conn: Connection, text: str) -> None:
    try:
        said = json.loads(text)
        say(conn, str(said["from"])[:20], str(said["text"])[:500])
    except (ValueError, KeyError, TypeError):
        conn.ws_close(1008, "a line is {from, text}")


def handler(conn: Connection, ev: int, data: object) -> None:
    if ev == MG_EV_HTTP_MSG:
        if data.uri == "/":
            conn.reply(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})
        elif data.uri.startswith("/room/"):
            conn.userdata = data.uri.removeprefix("/room/")
            conn.ws_upgrade(data, protocols=["chat.v1"], compress=True)
        else:
            conn.reply(404, "no such page\n")
    elif ev == MG_EV_WS_OPEN:
        conn.join(conn.userdata)
        say(conn, "server", "somebody joined")
    elif ev == MG_EV_WS_MSG:
        receive(conn, data.text)
    elif ev == MG_EV_CLOSE and conn.is_websocket:
        say(conn, "server", f"somebody left ({conn.ws_close_code})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    mgr = Manager(handler)
    listener = mgr.listen(f"http://127.0.0.1:{parser.parse_args().port}")
    print(f"http://127.0.0.1:{listener.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
