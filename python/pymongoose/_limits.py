"""How much one peer may use of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class WsLimits:
    """Bounds for one WebSocket; all on by default. Sizes are bytes, times are seconds, 0 turns a time or ratio off."""

    max_message: int = 1 << 20
    """Bytes of a message, put together and decompressed (close 1009)."""
    max_frame: int = 0
    """Bytes of one frame, refused when its length is seen (close 1009); 0: max_message."""
    max_ratio: int = 100
    """Decompressed bytes for each compressed one (close 1009)."""
    ping_interval: float = 20.0
    """Without a byte from the peer until it is sent a ping, and one more after each further interval; 0: never."""
    ping_timeout: float = 20.0
    """From the first ping that nothing came after until the connection is given up (1006); 0: never."""
    close_timeout: float = 5.0
    """For the peer to answer our close frame."""
    max_backlog: int = 4 << 20
    """Unsent bytes of a member of a group beyond which ``slow`` applies to it."""
    slow: Literal["close", "drop"] = "close"
    """What a broadcast does with such a member: close it with 1013, or leave this message out and count it (``Stats.ws_dropped``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflate:
    """How to compress a WebSocket (RFC 7692), for ``compress=``; True is ``Deflate()``.

    Without context takeover each message is compressed by itself, and a connection keeps no memory for it between messages.
    """

    context_takeover: bool = False
    """Keep the window from message to message: smaller messages for up to 300 KB of memory for each connection."""
    window_bits: int = 15
    """Of what we compress: 9-15."""
    level: int = 1
    """1 (fast) to 9 (small)."""
    min_size: int = 64
    """Messages of fewer bytes are sent as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds for a listener or a client; all on by default, all with a defined answer.

    Sizes are bytes, times are seconds, 0 turns a time or count off. Whoever goes beyond gets the status named here and the
    connection is closed.
    """

    max_uri: int = 8192
    """Bytes of the request target (414)."""
    max_header: int = 8192
    """Bytes of one header line (431)."""
    max_head: int = 32768
    """Bytes of request line and headers together (431)."""
    max_headers: int = 100
    """Header lines, at most 100 (431)."""
    max_body: int = 8 << 20
    """Bytes of a collected request body (413)."""
    max_pipeline: int = 16
    """Requests of one connection waiting for answers before reading pauses."""
    max_requests: int = 10_000
    """Requests on one connection, then it is closed politely."""
    header_timeout: float = 10.0
    """From accept, or from the first byte of a later request, to the end of the head (408; silently when not a byte came)."""
    body_timeout: float = 30.0
    """Without a byte of a body that is expected (408)."""
    body_grace: float = 10.0
    """Time before ``min_rate`` is asked for."""
    min_rate: int = 500
    """Bytes of body per second, on average (408)."""
    idle_timeout: float = 75.0
    """Keep-alive without a request, then closed."""
    send_timeout: float = 30.0
    """Output waiting and none taken by the peer, then reset."""
    connect_timeout: float = 10.0
    """For connections we make."""
    tls_timeout: float = 10.0
    """For a TLS handshake; an MG_EV_ERROR and the end."""
    half_close: bool = False
    """What the end of a client's input means: it is gone, with the jobs that work for it (False), or it has shut down its writing side and
    is still answered what it asked for (True)."""
    max_recv: int = 3 << 20
    """Unread input of a raw connection before reading pauses."""
    send_high: int = 4 << 20
    """Waiting output from which ``is_full`` is true ..."""
    send_low: int = 1 << 20
    """... until it has sunk to this, when ``on_drain`` is called."""
    send_max: int = 64 << 20
    """Waiting output behind which no more is accepted: QueueFull."""
    ws: WsLimits = WsLimits()
    """For WebSockets."""
    max_connections: int = 0
    """Open at once; 0: 80 % of the descriptor limit. Then accepting pauses."""
    max_per_address: int = 0
    """Open at once from one address; more are closed."""
