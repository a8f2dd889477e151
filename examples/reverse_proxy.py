"""A reverse proxy: passes requests on and answers back, bodies of any size both ways in constant memory, over kept connections.
python examples/reverse_proxy.py http://127.0.0.1:8080 --port 8000"""

import argparse
from concurrent.futures import CancelledError

from pymongoose import MG_EV_CLOSE, MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, Manager, RequestBody, TimedOut

# Between neighbours, not for whoever is behind them (RFC 9110 7.6.1); and Expect, which the server answers by itself.
HOP = {"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer"}
HOP |= {"proxy-authorization", "transfer-encoding", "upgrade", "expect"}
OWN = {"host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}


def end_to_end(msg):
    named = [v.split(",") for n, v in msg.headers() if n.lower() == "connection"]
    drop = HOP.union(token.strip().lower() for tokens in named for token in tokens)
    return [(n, v) for n, v in msg.headers() if n.lower() not in drop]


class Exchange:
    """A request on its way there, and its answer on its way back."""

    def __init__(self, conn, msg, has_body):
        self.conn, self.answer, self.body = conn, None, None
        if has_body:
            self.body = RequestBody(on_drain=conn.resume_reading)
            conn.stream_body(self.take, self.body.end)
        hops = [v for n, v in msg.headers() if n.lower() == "x-forwarded-for"]
        headers = [h for h in end_to_end(msg) if h[0].lower() not in OWN]
        headers += [("X-Forwarded-For", ", ".join([*hops, conn.remote_addr[0]]))]
        headers += [("X-Forwarded-Proto", msg.scheme), ("X-Forwarded-Host", msg.host)]
        url = args.upstream.rstrip("/") + msg.uri + ("?" + msg.query if msg.query else "")
        how = {"timeout": None, "connect_timeout": args.wait, "read_timeout": args.wait}
        how |= {"raw": True, "follow_redirects": False, "headers": headers, "body": self.body}
        self.request = mgr.request(
            msg.method, url, on_head=self.head, on_data=self.data, then=self.done, **how
        )

    def take(self, piece):  # from the client
        if not self.body.closed:
            self.body.write(piece)
            if self.body.full:
                self.conn.pause_reading()

    def head(self, resp):  # from upstream
        resume = self.request.resume
        self.answer = self.conn.start_response(resp.status, end_to_end(resp), on_drain=resume)

    def data(self, piece):
        self.answer.write(piece)
        if self.answer.full:
            self.request.pause()

    def done(self, resp):
        if resp.error is None:
            self.answer.end()
        elif self.answer is not None:
            self.answer.abort()  # half of it must not look whole
        elif not isinstance(resp.error, CancelledError):
            self.conn.reply(504 if isinstance(resp.error, TimedOut) else 502, f"{resp.error}\n")


def handler(conn, ev, data):
    if ev in (MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG):  # the first for those with a body
        if data.uri.startswith("/"):
            conn.userdata = Exchange(conn, data, has_body=ev == MG_EV_HTTP_HDRS)
        else:
            conn.reply(400, "no path\n")
    elif ev == MG_EV_CLOSE and conn.userdata:  # nobody waits for it any more
        conn.userdata.request.cancel()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("upstream")
parser.add_argument("--port", type=int, default=8000)
parser.add_argument("--wait", type=float, default=30.0, help="seconds of silence: then 504")
args = parser.parse_args()
mgr = Manager(handler)
site = mgr.listen(f"http://127.0.0.1:{args.port}")
print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
mgr.run()
