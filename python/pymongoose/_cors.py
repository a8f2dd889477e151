"""Cross-origin resource sharing, as the Fetch standard has it (3.3): which other sites' scripts may read our answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from ._core import MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG

if TYPE_CHECKING:
    from ._core import Connection, HttpMessage

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/?#\s,A-Z]+")


class Cors:
    """Rules of one site; ``mgr.listen(url, cors=Cors(["https://app.example"]))``.

    Args:
        origins: ``"*"``, or origins exactly as browsers send them: scheme, host, and port unless it is the scheme's own; or a function of
            an origin that tells whether it may.
        methods: what a preflight allows beside GET, HEAD and POST, which need no leave.
        headers: request headers that scripts may set beside the safelisted ones; ``"*"`` for any.
        expose: answer headers that scripts may read.
        credentials: cookies and Authorization may come along. Not with ``origins="*"``: then any site could act as the user.
        max_age: seconds a browser may remember a preflight.

    A preflight is answered with 204 and reaches no handler; an origin that may not gets no leave, and the browser does the refusing. The
    other answers carry the headers whoever gives them: handlers, errors, refusals of the engine after the head was read. What respond()
    answers from memory has the headers given there.

    Raises:
        ValueError: origins="*" with credentials, an origin with a path or a trailing slash, a name that is no token.
    """

    def __init__(
        self,
        origins: str | Iterable[str] | Callable[[str], bool] = "*",
        *,
        methods: Iterable[str] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
        headers: str | Iterable[str] = (),
        expose: Iterable[str] = (),
        credentials: bool = False,
        max_age: float = 600.0,
    ) -> None:
        self._any = origins == "*"
        self._may: Callable[[str], bool]
        if callable(origins):
            self._may = origins
        else:
            given = frozenset([origins] if isinstance(origins, str) else origins)
            if "*" in given and credentials:
                raise ValueError(
                    "origins='*' with credentials=True would let any site act as the user"
                )
            self._any = "*" in given
            for origin in given - {"*"}:
                if not _ORIGIN.fullmatch(origin):
                    raise ValueError(
                        f"an origin is scheme://host[:port] in lower case and without a path, not {origin!r}"
                    )
            self._may = given.__contains__
        self._credentials = credentials
        self._methods = ", ".join(_tokens("methods", methods))
        self._any_header = headers == "*"
        self._headers = (
            ""
            if self._any_header
            else ", ".join(_tokens("headers", [headers] if isinstance(headers, str) else headers))
        )
        self._expose = ", ".join(_tokens("expose", expose))
        if max_age < 0:
            raise ValueError(f"max_age must be seconds >= 0, not {max_age!r}")
        self._max_age: Final = str(int(max_age))

    def headers_for(self, origin: str | None) -> dict[str, str]:
        """What an answer to a request with this Origin carries."""
        if self._any:
            out = {"Access-Control-Allow-Origin": "*"}
        elif origin is not None and _ORIGIN.fullmatch(origin) and self._may(origin):
            out = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        else:
            return {"Vary": "Origin"}  # a cache must not give this answer to an origin that may
        if self._credentials:
            out["Access-Control-Allow-Credentials"] = "true"
        if self._expose:
            out["Access-Control-Expose-Headers"] = self._expose
        return out

    def apply(self, conn: Connection, message: HttpMessage) -> bool:
        """Put the headers on the answer to come; True when the request was a preflight, which is answered now.

        For a handler; call it first, in MG_EV_HTTP_HDRS or MG_EV_HTTP_MSG. Twice does no harm.
        """
        origin = message.header("Origin")
        found = self.headers_for(origin)
        wanted = message.header("Access-Control-Request-Method")
        if message.method == "OPTIONS" and origin is not None and wanted is not None:
            conn.reply(204, b"", self._preflight(found, message))
            return True
        for name, value in found.items():
            conn.set_header(name, value)
        return False

    def _preflight(self, found: dict[str, str], message: HttpMessage) -> dict[str, str]:
        vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        if "Access-Control-Allow-Origin" not in found:
            return {"Vary": vary}
        found.pop("Access-Control-Expose-Headers", None)
        found["Access-Control-Allow-Methods"] = self._methods
        headers = self._headers
        if (
            self._any_header
        ):  # by name: "*" does not cover Authorization, nor anything with credentials
            asked = (
                name.strip()
                for name in message.header("Access-Control-Request-Headers", "").split(",")
            )
            headers = ", ".join(name for name in asked if _TOKEN.fullmatch(name))
        if headers:
            found["Access-Control-Allow-Headers"] = headers
        found["Access-Control-Max-Age"] = self._max_age
        found["Vary"] = vary
        return found

    def wrap(self, handler: Callable[[], Callable[..., object] | None]) -> Callable[..., object]:
        """A handler that does all this in front of handler(), which is looked up at each event."""

        def handle(conn: Connection, ev: int, data: Any) -> None:
            if (
                ev in (MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG)
                and not conn.is_client
                and self._first(conn, data)
            ):
                return
            then = handler()
            if then is not None:
                then(conn, ev, data)

        return handle

    def _first(self, conn: Connection, message: HttpMessage) -> bool:
        return conn._unanswered and self.apply(conn, message)


def _tokens(what: str, names: Iterable[str]) -> list[str]:
    out = list(names)
    for name in out:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{what} must be names, not {name!r}")
    return out
