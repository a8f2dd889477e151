"""How much one peer may use of the server."""

from __future__ import annotations

from dataclasses import dataclass


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
    max_recv: int = 3 << 20
    """Unread input of a raw connection before reading pauses."""
    send_high: int = 4 << 20
    """Waiting output from which ``is_full`` is true ..."""
    send_low: int = 1 << 20
    """... until it has sunk to this, when ``on_drain`` is called."""
    send_max: int = 64 << 20
    """Waiting output behind which no more is accepted: QueueFull."""
    max_connections: int = 0
    """Open at once; 0: 80 % of the descriptor limit. Then accepting pauses."""
    max_per_address: int = 0
    """Open at once from one address; more are closed."""
