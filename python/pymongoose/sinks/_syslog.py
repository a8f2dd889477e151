"""SyslogSink: events to a syslog receiver."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from typing import Any, Literal

from ._batched import BatchedSink
from ._checks import a_count, a_duration, one_of
from ._outcome import Partial, each_of
from ._sink import DrainResult
from ._syslog_format import SyslogFormat, a_sd_id, facility_number
from ._syslog_wire import Wire, a_context, parse_address
from ._work_thread import WorkThread, finish

LIMITS = {
    "udp": 2048,
    "unix": 8192,
    "tcp": 8192,
    "tls": 8192,
}  # bytes; what receivers take without being told


class SyslogSink(BatchedSink):
    """Sends events as syslog messages (RFC 5424).

    The level becomes the severity, ``message`` the message, ``ts`` the timestamp; the other fields are parameters of one structured-data
    element, text as it is and everything else as JSON. Names keep at most 32 characters of printable ASCII; what is not allowed becomes
    ``_``, a name that occurs twice gets ``~2`` behind it. Messages that are not ASCII start with a byte order mark, as the standard asks.

    Syslog has no acknowledgement. Over TCP and TLS a batch counts as sent when the receiver's machine has confirmed it (Linux), on a Unix
    stream when the receiver has read it; what a receiver had in its buffers when it died is lost. Datagrams count as sent when the kernel
    took them: UDP loses some under load. After an error the whole batch is sent once more, over a new connection.

    Args:
        address: ``udp://host:514`` (RFC 5426), ``tcp://host:601`` (RFC 6587), ``tls://host:6514`` (RFC 5425; the numbers are the defaults), or
            ``unix:/dev/log``, a socket for datagrams or for streams.
        facility: name ("user", "local0" …) or number.
        app_name: default: the name of the program. hostname: default: this machine's. procid: default: the process id. msgid: "-" for none.
        sd_id: name of the structured-data element, ``name@number`` with an enterprise number of your own; that of the default is the one for
            examples.
        framing: of streams: "octets" writes each message's length before it; "lines" ends it with a line feed, for old receivers, and
            line feeds inside become spaces.
        max_message: bytes of a message at most. Longer ones lose parameters, then the end of the message, and say ``truncated="1"``. Default:
            2048 for UDP, else 8192.
        tls: a context for ``tls://``. Default: ``ssl.create_default_context()``, which verifies the receiver's certificate and name; for an
            authority of your own ``ssl.create_default_context(cafile="ca.pem")``, for a client certificate its ``load_cert_chain()``.
        server_name: the name to verify. Default: the address's host.
        timeout: seconds for connecting, and for a batch to be taken.
        batch_size: messages that are sent at once, without waiting.
        batch_timeout: seconds after which fewer are.
        options: of :class:`BatchedSink`.

    Raises:
        TypeError, ValueError: an argument is wrong.

    Example::

        with Pipeline([SyslogSink("unix:/dev/log", facility="local0")]) as log:
            log.emit("order created", order=42)
    """

    def __init__(
        self,
        address: str = "unix:/dev/log",
        *,
        facility: str | int = "user",
        app_name: str | None = None,
        hostname: str | None = None,
        procid: str | None = None,
        msgid: str = "-",
        sd_id: str = "fields@32473",
        framing: Literal["octets", "lines"] = "octets",
        max_message: int | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        timeout: float = 10.0,
        batch_size: int = 100,
        batch_timeout: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, batch_timeout=batch_timeout, **options)
        where = parse_address(address)
        one_of("framing", framing, ("octets", "lines"))
        a_sd_id("sd_id", sd_id)
        if max_message is None:
            max_message = LIMITS[where.scheme]
        a_count(
            "max_message", max_message, "bytes", 480, 65507 if where.scheme == "udp" else 1 << 20
        )
        a_duration("timeout", timeout)
        if tls is not None and where.scheme != "tls":
            raise ValueError(f"tls is for tls:// addresses, not {address!r}")
        if where.scheme == "tls":
            tls = a_context("tls", tls)
        self._procid = procid
        self._messages = SyslogFormat(
            facility_number(facility),
            socket.gethostname() if hostname is None else hostname,
            os.path.basename(sys.argv[0] if sys.argv else "") or "python"
            if app_name is None
            else app_name,
            msgid,
            sd_id,
            max_message,
        )
        self._wire = Wire(where, framing, tls, server_name, timeout)
        self._wire_thread = WorkThread("pymongoose-syslog")

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        await self._wire_thread.run_to_end(self._send_messages, batch)

    def _send_messages(self, batch: list[dict[str, Any]]) -> None:
        procid = str(os.getpid()) if self._procid is None else self._procid
        message = self._messages.message
        messages, places, rejected = each_of(batch, lambda event: message(event, procid))
        refused = self._wire.send(messages) if messages else {}
        rejected.update({places[i]: reason for i, reason in refused.items()})
        if rejected:
            raise Partial(rejected=rejected)

    def forked(self) -> None:
        super().forked()
        self._wire.close()  # the parent's connection goes on

    async def stop(self) -> DrainResult:
        try:
            return await super().stop()
        finally:
            self._wire.abort()  # of a send that was given up
            await finish(self._wire_thread, self._wire.close)
