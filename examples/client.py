"""Ask servers without waiting: python examples/client.py URL ... prints what they say; with --port it is a gateway,
GET /?url=http://... is answered with what is there."""

import argparse

from pymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage, HttpResponse, Manager


def gateway(conn: Connection, ev: int, data: HttpMessage) -> None:
    """Answer with the answer of somebody else; nothing waits meanwhile, and no thread is needed."""
    if ev != MG_EV_HTTP_MSG:
        return
    url = data.query_var("url")
    if url is None:
        conn.reply(200, "hello from the gateway\n")
        return
    reply = conn.defer()

    def answered(resp: HttpResponse) -> None:
        if resp.error is not None:
            reply.reply(502, f"{resp.error}\n")
        else:
            reply.reply(
                resp.status, resp.body, {"Content-Type": resp.header("Content-Type", "text/plain")}
            )

    try:
        mgr.request("GET", url, timeout=5.0, then=answered)
    except ValueError as exc:
        reply.reply(400, f"{exc}\n")


def ask(urls: list[str]) -> None:
    left = set(urls)

    def answered(resp: HttpResponse) -> None:
        print(resp.error or f"{resp.status} {len(resp.body)} bytes", resp.url, flush=True)
        left.discard(resp.history[0][1] if resp.history else resp.url)
        if not left:
            mgr.stop()

    for url in urls:
        mgr.request("GET", url, then=answered)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, help="serve the gateway there")
parser.add_argument("url", nargs="*")
args = parser.parse_args()

mgr = Manager(gateway)
if args.port is not None or not args.url:
    listener = mgr.listen(f"http://127.0.0.1:{args.port or 0}")
    own = f"http://127.0.0.1:{listener.local_addr[1]}"
    print(own, flush=True)
    if args.port is None:
        ask([own + "/", own + f"/?url={own}/"])
else:
    ask(args.url)
mgr.run()
