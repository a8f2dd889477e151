"""Basic authentication (RFC 7617)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._core import Connection, HttpMessage


def credentials_of(message: HttpMessage) -> tuple[str, str] | None:
    """HttpMessage.basic_auth(). More than one Authorization field is none: two readers could take two users."""
    fields = [value for name, value in message.headers() if name.lower() == "authorization"]
    if len(fields) != 1:
        return None
    scheme, _, token = fields[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(token.strip(" "), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = text.partition(":")
    if not colon or any(
        ord(c) < 32 or ord(c) == 127 for c in text
    ):  # RFC 7617 2: no control characters
        return None
    return user, password


def basic_auth_header(user: str, password: str) -> tuple[str, str]:
    """The header a client sends: ``("Authorization", "Basic …")``, in UTF-8.

    Raises:
        ValueError: a colon in the user, or a control character.
    """
    if ":" in user or any(ord(c) < 32 or ord(c) == 127 for c in user + password):
        raise ValueError("user must have no ':', user and password no control characters")
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class BasicAuth:
    """Who may come in. In a handler::

        user = auth.check(conn, data)
        if user is None:
            return          # answered with 401

    Args:
        users: passwords by name, or a function of (user, password) that tells whether they are right. Store hashes with the function
            (hashlib.scrypt); it runs on the loop thread, so offload() slow ones.
        realm: what the browser shows. Visible ASCII without quotes and backslashes.

    Passwords of a mapping are compared in constant time, and an unknown user takes as long as a known one.
    """

    def __init__(
        self, users: Mapping[str, str] | Callable[[str, str], bool], realm: str = "site"
    ) -> None:
        if not realm.isascii() or not realm.isprintable() or '"' in realm or "\\" in realm:
            raise ValueError(f"realm must be visible ASCII without quotes, not {realm!r}")
        self._users = users
        self._challenge = f'Basic realm="{realm}", charset="UTF-8"'

    def check(self, conn: Connection, message: HttpMessage) -> str | None:
        """The user's name; None when the request was answered with 401. In MG_EV_HTTP_HDRS it keeps a body from being read."""
        found = message.basic_auth()
        if found is not None and self._right(*found):
            return found[0]
        conn.reply(401, "Unauthorized", {"WWW-Authenticate": self._challenge})
        return None

    def _right(self, user: str, password: str) -> bool:
        if callable(self._users):
            return bool(self._users(user, password))
        want = self._users.get(user)
        same = hmac.compare_digest(_digest(password), _digest("" if want is None else want))
        return same and want is not None


def _digest(text: str) -> bytes:
    return hashlib.sha256(
        text.encode("utf-8", "surrogatepass")
    ).digest()  # of one length, whatever the text's
