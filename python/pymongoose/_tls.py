"""TLS: what a listener or a client is told to do, and what a connection says came of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

PemOrPath: TypeAlias = "str | bytes | os.PathLike[str] | None"
ClientAuth: TypeAlias = Literal["none", "optional", "required"]


def _pem(value: PemOrPath, name: str) -> bytes:
    """PEM text as it is, or a path; as bytes."""
    if value is None:
        return b""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str | os.PathLike):
        return os.fsencode(value)
    raise TypeError(f"{name} must be str, bytes, a path or None, not {type(value).__name__}")


def _shown(value: bytes) -> str:
    """A path as it is; of anything that may have a key in it, its size."""
    is_path = b"\n" not in value and (len(value) <= 60 or (len(value) < 1024 and b"." in value))
    return repr(value) if is_path else f"<{len(value)} bytes>"


def _show(it: object, secret: str = "key") -> str:
    pems = {"ca", "cert", "ocsp"}
    parts = []
    for name in it.__slots__:  # type: ignore[attr-defined]
        value = getattr(it, name)
        if name != secret:
            parts.append(f"{name}={_shown(value) if name in pems else repr(value)}")
    return f"{type(it).__name__}({', '.join(parts)})"


def _words(value: Iterable[str] | str, name: str) -> bytes:
    words = [value] if isinstance(value, str) else list(value)
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"{name} must be strings, not {type(word).__name__}")
        if not word or "," in word:
            raise ValueError(f"{name}: {word!r} is not a name")
    return ",".join(words).encode()


@dataclass(frozen=True, slots=True, init=False)
class TlsCert:
    """One more certificate of a server, chosen by the name that the client asks for (SNI).

    Args:
        cert: PEM text or a path: the certificate and the chain that leads to its authority.
        key: PEM text or a path; not needed when it is in ``cert``.
        names: host names it is for, ``*.example.com`` for one label; default: those in the certificate.
    """

    cert: bytes
    key: bytes = field(repr=False)
    names: bytes

    def __init__(
        self, cert: PemOrPath, key: PemOrPath = None, names: Iterable[str] | str = ()
    ) -> None:
        put = object.__setattr__
        put(self, "cert", _pem(cert, "cert"))
        put(self, "key", _pem(key, "key"))
        put(self, "names", _words(names, "names"))

    def __repr__(self) -> str:
        return _show(self)


@dataclass(frozen=True, slots=True, init=False)
class TlsOpts:
    """How to speak TLS 1.2 and 1.3. Immutable; one object serves any number of listeners and connections.

    Certificates and keys are PEM text (``str`` or ``bytes``) or paths of PEM files. They are read when the options are used: by
    ``listen()``, ``connect()``, ``Connection.tls_init()`` or ``tls_reload()``, which raise TlsError when something is wrong with them.

    Args:
        ca: whom to trust. Clients: instead of the system's authorities. Servers: for client certificates, which are then required.
        cert: own certificate, and the chain that leads to its authority.
        key: its private key, not encrypted; not needed when it is in ``cert``.
        name: clients: the server's name or IP address to verify and ask for; default: the URL's host.
        skip_verification: clients take any certificate. For tests only: whoever sits between can read and change everything.
        certs: servers: further certificates, chosen by the name the client asks for.
        alpn: protocols to offer or accept, best first (RFC 7301). Default: what the URL's scheme speaks: "http/1.1" for https and wss,
            "mqtt" for mqtts. ``()``: none.
        client_auth: servers: "none", "optional" (what is shown must verify) or "required"; default: required when ``ca`` is given.
        ciphers: of TLS 1.2, in OpenSSL's syntax; default: ECDHE with AES-GCM or ChaCha20-Poly1305.
        min_version: "1.2" or "1.3".
        resumption: let clients come back without a full handshake, by tickets whose keys change by the hour.
        ocsp: servers: an OCSP response for ``cert`` to staple, DER or a path.
        ktls: let the Linux kernel encrypt where it can, so that files go out without entering the process.
    """

    ca: bytes
    cert: bytes
    key: bytes = field(repr=False)
    name: bytes
    skip_verification: bool
    certs: tuple[TlsCert, ...]
    alpn: bytes
    client_auth: ClientAuth | None
    ciphers: str
    min_version: str
    resumption: bool
    ocsp: bytes
    ktls: bool

    def __init__(
        self,
        ca: PemOrPath = None,
        cert: PemOrPath = None,
        key: PemOrPath = None,
        name: str | bytes | None = None,
        skip_verification: bool = False,
        *,
        certs: Iterable[TlsCert] = (),
        alpn: Iterable[str] | None = None,
        client_auth: ClientAuth | None = None,
        ciphers: str = "",
        min_version: str = "1.2",
        resumption: bool = True,
        ocsp: PemOrPath = None,
        ktls: bool = False,
    ) -> None:
        put = object.__setattr__
        for what, value in (("ca", ca), ("cert", cert), ("key", key), ("ocsp", ocsp)):
            put(self, what, _pem(value, what))
        if name is not None and not isinstance(name, str | bytes):
            raise TypeError(f"name must be str, bytes or None, not {type(name).__name__}")
        # Names with letters beyond ASCII are asked for in the form that certificates have them in (RFC 5890).
        try:
            host = name.encode("idna") if isinstance(name, str) and name else name or b""
        except UnicodeError as exc:
            raise ValueError(f"name: {name!r} is not a host's name: {exc}") from None
        if len(host) > 255 or b"\0" in host or host[:1] == b".":
            raise ValueError(f"name: {host!r} is not a host's name")
        put(self, "name", host)
        put(self, "skip_verification", bool(skip_verification))
        certs = tuple(certs)
        for cert_ in certs:
            if not isinstance(cert_, TlsCert):
                raise TypeError(f"certs must be TlsCert objects, not {type(cert_).__name__}")
        put(self, "certs", certs)
        put(self, "alpn", b"" if alpn is None else _words(alpn, "alpn") or b"-")
        if client_auth not in (None, "none", "optional", "required"):
            raise ValueError(
                f"client_auth must be 'none', 'optional' or 'required', not {client_auth!r}"
            )
        put(self, "client_auth", client_auth)
        put(self, "ciphers", ciphers)
        if min_version not in ("1.2", "1.3"):
            raise ValueError(f"min_version must be '1.2' or '1.3', not {min_version!r}")
        put(self, "min_version", min_version)
        put(self, "resumption", bool(resumption))
        put(self, "ktls", bool(ktls))

    def __repr__(self) -> str:
        return _show(self)


@dataclass(frozen=True, slots=True)
class TlsPeer:
    """The certificate that the other side showed, and proved to be its own."""

    subject: str
    """Distinguished name as in RFC 4514: ``CN=alice,O=Example``."""
    issuer: str
    serial: str
    """Hexadecimal."""
    names: tuple[str, ...]
    """Subject alternative names: ``DNS:…``, ``IP:…``, ``URI:…``, ``email:…``."""
    not_before: int
    """Seconds since 1970."""
    not_after: int
    sha256: str
    """Fingerprint, hexadecimal."""
    verified: bool
    """It leads to an authority that was trusted, and a server's is for the name that was asked for."""
    der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What the two sides of a connection agreed on."""

    version: str
    """``TLSv1.2`` or ``TLSv1.3``."""
    cipher: str
    alpn: str | None
    """The protocol chosen by ALPN."""
    server_name: str | None
    """The name that was asked for (SNI)."""
    resumed: bool
    """A session of before went on: no full handshake."""
    truncated: bool
    """The peer's end came without TLS's own end: bytes may be missing."""
    in_kernel: bool
    """The kernel encrypts."""
    peer: TlsPeer | None
    """Clients: the server. Servers: the client, when it showed a certificate."""
