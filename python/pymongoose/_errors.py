"""Everything that can go wrong, as one tree.

``MongooseError`` is a ``RuntimeError``, so that code written for the classic API keeps working. Wrong arguments raise
``TypeError`` or ``ValueError`` and name the argument.
"""

from __future__ import annotations


class MongooseError(RuntimeError):
    """Base of all errors of this package, and the error for a call that does not fit the moment.

    Attributes:
        code: the core's status number, 0 when there is none.
        conn_id: the connection concerned, 0 when there is none.
    """

    code: int = 0
    conn_id: int = 0


class ConnectionClosed(MongooseError):
    """The connection is closed."""


class QueueFull(MongooseError):
    """A bounded queue or buffer is full; nothing was accepted."""


class TooBig(MongooseError):
    """Something is larger than a configured limit."""


class ProtocolError(MongooseError):
    """The peer broke the protocol."""


class FormError(ProtocolError, ValueError):
    """A form that cannot be read. When a handler lets it pass, it is the answer: its status and its text.

    Attributes:
        status: 400 malformed, 413 beyond a limit, 415 no form.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class TlsError(MongooseError):
    """TLS failed, or is not part of this build."""


class ResolveError(MongooseError):
    """A host name could not be resolved."""


class TimedOut(MongooseError, TimeoutError):
    """Something took longer than its timeout."""


class AddressInUse(MongooseError, OSError):
    """The address to listen on is busy."""


def from_status(code: int, text: str, conn_id: int = 0) -> MongooseError:
    """The exception for one of the core's status numbers (base/status.h) that came with an event."""
    kinds: dict[int, type[MongooseError]] = {
        -5: ConnectionClosed,
        -6: ConnectionClosed,
        -7: QueueFull,
        -8: TooBig,
        -9: ProtocolError,
        -10: TimedOut,
        -11: ResolveError,
        -12: TlsError,
    }
    error = kinds.get(code, MongooseError)(text)
    error.code, error.conn_id = code, conn_id
    return error
