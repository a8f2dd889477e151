"""Cookies: read what browsers send, write what they will understand (RFC 6265, and 6265bis for SameSite, prefixes, Partitioned)."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ._core import HttpMessage

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(
    r"[!#-+\--:<-\[\]-~]*"
)  # cookie-octet: no white space, quotes, comma, semicolon, backslash
_ATTRIBUTE = re.compile(r"[\x20-:<-~]*")  # av-octet
_DOMAIN = re.compile(r"\.?[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?")


def parse_cookies(text: str) -> dict[str, str]:
    """The pairs of a Cookie field. Never fails: pieces without ``=`` or a name are left out, one pair of quotes is taken off a value, and
    nothing is decoded. Of several of a name the first counts: browsers send the one with the longest path first (RFC 6265 5.4)."""
    out: dict[str, str] = {}
    for piece in text.split(";"):
        name, equals, value = piece.partition("=")
        name, value = name.strip(" \t"), value.strip(" \t")
        if not equals or not name:
            continue
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        out.setdefault(name, value)
    return out


def cookies_of(message: HttpMessage) -> dict[str, str]:
    """HttpMessage.cookies. HTTP/2 gateways may have left several fields (RFC 9113 8.2.3)."""
    return parse_cookies(
        ";".join(value for name, value in message.headers() if name.lower() == "cookie")
    )


def set_cookie(
    name: str,
    value: str = "",
    *,
    max_age: int | None = None,
    expires: datetime | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    http_only: bool = True,
    same_site: Literal["Strict", "Lax", "None"] | None = "Lax",
    partitioned: bool = False,
) -> tuple[str, str]:
    """A header to answer with: ``conn.reply(200, b"", [set_cookie("sid", token, secure=True)])``.

    Args:
        name: a token. ``__Secure-`` needs secure; ``__Host-`` needs secure, path="/" and no domain.
        value: visible ASCII without ``"``, ``,``, ``;`` and backslash. Encode anything else yourself.
        max_age: seconds; 0 or less deletes. Neither this nor expires: until the browser closes.
        expires: an aware datetime.
        path: None: the folder of the request.
        domain: and its subdomains; None: this host only.
        secure: over https only.
        http_only: out of reach for scripts; on by default.
        same_site: "Lax" by default; "None" needs secure.
        partitioned: one jar for each site that embeds this one; needs secure.

    Returns:
        ("Set-Cookie", value).

    Raises:
        ValueError: a character or a combination that browsers refuse.
    """
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"name of a cookie must be a token, not {name!r}")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"value of cookie {name} has an illegal character: {value!r}")
    if len(name) + len(value) > 4096:
        raise ValueError(f"cookie {name} is longer than the 4096 bytes that browsers keep")
    lower = name.lower()
    if lower.startswith(("__secure-", "__host-")) and not secure:
        raise ValueError(f"cookie {name} must be secure, for its name says so")
    if lower.startswith("__host-") and (path != "/" or domain is not None):
        raise ValueError(f"cookie {name} must have path='/' and no domain, for its name says so")
    if same_site not in (None, "Strict", "Lax", "None"):
        raise ValueError(f"same_site must be 'Strict', 'Lax', 'None' or None, not {same_site!r}")
    if same_site == "None" and not secure:
        raise ValueError("same_site='None' needs secure=True")
    if partitioned and not secure:
        raise ValueError("partitioned needs secure=True")
    parts = [f"{name}={value}"]
    if max_age is not None:
        parts.append(f"Max-Age={int(max_age)}")
    if expires is not None:
        if expires.tzinfo is None:
            raise ValueError("expires must be an aware datetime, e.g. datetime.now(timezone.utc)")
        parts.append("Expires=" + format_datetime(expires.astimezone(timezone.utc), usegmt=True))
    if domain is not None:
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(f"domain of cookie {name} is no host name: {domain!r}")
        parts.append(f"Domain={domain}")
    if path is not None:
        if not path.startswith("/") or not _ATTRIBUTE.fullmatch(path):
            raise ValueError(f"path of cookie {name} must begin with '/' and have no ';': {path!r}")
        parts.append(f"Path={path}")
    if secure:
        parts.append("Secure")
    if http_only:
        parts.append("HttpOnly")
    if same_site is not None:
        parts.append(f"SameSite={same_site}")
    if partitioned:
        parts.append("Partitioned")
    return "Set-Cookie", "; ".join(parts)
