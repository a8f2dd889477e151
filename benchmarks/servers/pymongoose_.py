from _common import BIG, CT_JSON, CT_TEXT, HELLO, MODE, POOL, PORT, STATIC_DIR, work

from pymongoose import MG_EV_HTTP_MSG, MG_EV_WS_MSG, WEBSOCKET_OP_BINARY, Manager, json_get_num


def plain(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, HELLO)


def close(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, HELLO, {"Connection": "close"})
        conn.drain()


def big(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, BIG)


def json(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(
            200, b'{"id":%d}' % int(json_get_num(data.body, "$.user.id")), {"Content-Type": CT_JSON}
        )


def static(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.serve_dir(data, root_dir=STATIC_DIR)


def ws(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.ws_upgrade(data)
    elif ev == MG_EV_WS_MSG:
        conn.ws_send(data.data, WEBSOCKET_OP_BINARY)


def offload(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.offload(work, then=lambda conn, out: conn.reply(200, out))


mode = MODE.removesuffix("1ms")
if mode == "native":
    mgr = Manager()
    mgr.listen(f"http://127.0.0.1:{PORT}").respond("/", 200, HELLO, {"Content-Type": CT_TEXT})
else:
    mgr = Manager(globals()[mode], **({"workers": POOL} if mode == "offload" else {}))
    mgr.listen(f"http://127.0.0.1:{PORT}")
mgr.run()
