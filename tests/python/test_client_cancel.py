"""A request that is given up while it is in any of its phases: then= hears CancelledError once, and its connection is closed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest
from conftest import DEADLINE, Served, Until, eventually

from pymongoose import MG_EV_HTTP_MSG, ClientLimits, HttpRequest, RequestBody, build_info

OK = b"HTTP/1.1 200 OK\r\n"
EXPECT = {"Expect": "100-continue"}


class Peer:
    """Takes one connection, reads until `awaits` came, says `says` and nothing more; `reached` then, `gone` when the client went away."""

    def __init__(self, awaits: bytes, says: bytes) -> None:
        self.reached, self.gone = Until(), Until()
        self._awaits, self._says = awaits, says
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with self._listener, self._listener.accept()[0] as sock:
            sock.settimeout(DEADLINE)
            got, reached = b"", False
            try:
                while True:
                    if not reached and self._awaits in got:
                        sock.sendall(self._says)
                        reached = True
                        self.reached.set()
                    if not (piece := sock.recv(65536)):
                        break
                    got = (got + piece)[-100_000:]
            except ConnectionError:
                pass
            self.gone.set()


HELLO = b"\x16\x03\x01"  # a ClientHello
TUNNEL = b"HTTP/1.1 200 you are through\r\n\r\n"
# name: (what the peer waits for, what it says then, how it is asked)
PHASES: dict[str, tuple[bytes, bytes, dict[str, Any]]] = {
    "TLS handshake": (HELLO, b"", {"scheme": "https"}),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\n", b"", {"proxied": "https://a/"}),
    "CONNECT, half an answer": (b"\r\n\r\n", b"HTTP/1.1 200", {"proxied": "https://a/"}),
    "TLS handshake in a tunnel": (b"\r\n\r\n", TUNNEL, {"proxied": "https://a/"}),
    "100 Continue awaited": (b"\r\n\r\n", b"", {"body": b"x", "headers": EXPECT}),
    "body, endless": (b"\r\n\r\n", b"", {"body": lambda: b"x" * 65536}),
    "body, of another thread": (b"first\r\n", b"", {}),
    "head awaited": (b"\r\n\r\n", b"", {}),
    "head": (b"\r\n\r\n", OK + b"Content-Len", {}),
    "interim": (b"\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", {}),
    "body counted": (b"\r\n\r\n", OK + b"Content-Length: 9\r\n\r\nabc", {}),
    "body chunked": (b"\r\n\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", {}),
    "body until the close": (b"\r\n\r\n", OK + b"\r\nabc", {}),
    "body in pieces": (b"\r\n\r\n", OK + b"Content-Length: 9\r\n\r\nabc", {"on_data": lambda piece: None}),
}  # fmt: skip


def given_up(asked: HttpRequest, told: list[Any]) -> None:
    assert asked.cancel()
    assert asked.cancelled()
    eventually(lambda: told)
    with pytest.raises(CancelledError):
        asked.result(0)
    assert [type(resp.error) for resp in told] == [CancelledError]


@pytest.mark.parametrize("phase", PHASES)
def test_cancel_in_every_phase(serve: Callable[..., Served], phase: str) -> None:
    awaits, says, how = PHASES[phase]
    how = dict(how)
    if not build_info()["tls"] and (how.get("scheme") == "https" or "proxied" in how):
        pytest.skip("a build without TLS")
    if phase == "body, of another thread":
        how["body"] = RequestBody()
        how["body"].write(b"first")
    served, peer, told = serve(None, None), Peer(awaits, says), []
    url = f"{how.pop('scheme', 'http')}://127.0.0.1:{peer.port}/"
    if target := how.pop("proxied", None):
        how["proxy"], url = url, target
    asked = served.mgr.request("POST", url, then=told.append, timeout=None, **how)
    peer.reached.get()
    given_up(asked, told)
    peer.gone.get()
    assert served.mgr.connections == ()


def test_cancel_while_a_name_is_looked_up(serve: Callable[..., Served]) -> None:
    served, told = serve(None, None), []
    asked = served.mgr.request("GET", "http://no-such-name.invalid/", then=told.append)
    given_up(asked, told)
    eventually(lambda: served.mgr.connections == ())


def test_cancel_while_connecting(serve: Callable[..., Served]) -> None:
    """A listener whose backlog is full: the handshake of TCP does not come to its end."""
    served, told = serve(None, None), []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        asked = served.mgr.request("GET", url, then=told.append, timeout=None)
        eventually(lambda: served.mgr.connections)
        given_up(asked, told)
        eventually(lambda: served.mgr.connections == ())
        for filler in fillers:
            filler.close()


def test_cancel_while_it_waits_for_a_connection(serve: Callable[..., Served]) -> None:
    served, peer, told = serve(None, None, client=ClientLimits(max_per_origin=1)), Peer(b"\r\n\r\n", b""), []  # fmt: skip
    url = f"http://127.0.0.1:{peer.port}/"
    first = served.mgr.request("GET", url, timeout=None)
    peer.reached.get()
    asked = served.mgr.request("GET", url, then=told.append, timeout=None)
    given_up(asked, told)
    assert not first.done()  # whose connection is not touched
    first.cancel()
    peer.gone.get()


def test_cancel_between_a_redirect_and_its_answer(serve: Callable[..., Served]) -> None:
    peer, told = Peer(b"\r\n\r\n", b""), []
    served = serve(
        lambda conn, ev, data: (
            conn.reply(307, "", {"Location": f"http://127.0.0.1:{peer.port}/"})
            if ev == MG_EV_HTTP_MSG
            else None
        )
    )
    asked = served.mgr.request("GET", f"http://127.0.0.1:{served.port}/", then=told.append)
    peer.reached.get()
    given_up(asked, told)
    peer.gone.get()


def test_cancel_by_then_of_another_and_twice(serve: Callable[..., Served]) -> None:
    served, told = (
        serve(lambda conn, ev, data: conn.reply(200, "x") if ev == MG_EV_HTTP_MSG else None),
        [],
    )
    url = f"http://127.0.0.1:{served.port}/"
    asked: list[HttpRequest] = []
    peer = Peer(b"\r\n\r\n", b"")
    asked.append(served.mgr.request("GET", f"http://127.0.0.1:{peer.port}/", then=told.append))
    peer.reached.get()
    other = served.mgr.request("GET", url, then=lambda resp: asked[0].cancel())
    assert other.result(DEADLINE).text == "x"
    assert not other.cancel()
    eventually(lambda: told)
    assert asked[0].cancel()  # as every Future: it is cancelled already
    assert [type(resp.error) for resp in told] == [CancelledError]
    peer.gone.get()
