"""Certificates for the tests of TLS: authorities, and leaves with any fault one may ask for. Made anew in each run; nothing secret is stored."""

from __future__ import annotations

import datetime
import functools
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


@dataclass
class Leaf:
    """A certificate with its key.

    Attributes:
        pem: the certificate and the chain behind it.
        key_pem: its private key.
    """

    cert: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        return b"".join(
            c.public_bytes(serialization.Encoding.PEM) for c in (self.cert, *self.chain)
        )

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def sha256(self) -> str:
        return self.cert.fingerprint(hashes.SHA256()).hex()


def _name(common_name: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "pymongoose tests")]
    if common_name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def _general(name: str) -> x509.GeneralName:
    if name.startswith("spiffe://"):
        return x509.UniformResourceIdentifier(name)
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key(kind: str) -> CertificateIssuerPrivateKeyTypes:
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])


class Authority(Leaf):
    """Signs leaves and further authorities."""

    def __init__(self, name: str = "root", parent: Authority | None = None) -> None:
        key = _key("p256")
        issuer = parent or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name) if parent is None else parent.cert.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        signer = key if parent is None else issuer.key
        super().__init__(
            builder.sign(signer, hashes.SHA256()),
            key,
            () if parent is None else (parent.cert, *parent.chain)[: -1 or None],
        )
        self.parent = parent

    def issue(
        self,
        names: Iterable[str] | str = ("localhost", "127.0.0.1", "::1"),
        *,
        common_name: str | None = None,
        begins: datetime.timedelta = -DAY,
        ends: datetime.timedelta = 30 * DAY,
        use: str | None = "server",
        kind: str = "p256",
        key: CertificateIssuerPrivateKeyTypes | None = None,
        signer: CertificateIssuerPrivateKeyTypes | None = None,
    ) -> Leaf:
        """A leaf for these names.

        Args:
            use: "server", "client", or None for any.
            begins, ends: from now.
            signer: another key than the authority's: a forged signature.
        """
        key = key or _key(kind)
        names = [names] if isinstance(names, str) else list(names)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self.cert.subject)
            .public_key(key.public_key())  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + begins)
            .not_valid_after(NOW + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(n) for n in names]), critical=False
            )
        if use is not None:
            oid = {
                "server": ExtendedKeyUsageOID.SERVER_AUTH,
                "client": ExtendedKeyUsageOID.CLIENT_AUTH,
            }[use]
            builder = builder.add_extension(x509.ExtendedKeyUsage([oid]), critical=True)
        cert = builder.sign(signer or self.key, hashes.SHA256())
        chain = () if self.parent is None else (self.cert, *self.chain)
        return Leaf(cert, key, chain)

    def without_chain(self, leaf: Leaf) -> Leaf:
        return Leaf(leaf.cert, leaf.key)


@functools.cache
def root() -> Authority:
    """The authority of this run."""
    return Authority("root")


@functools.cache
def other_root() -> Authority:
    """One that nobody trusts."""
    return Authority("other root")


@functools.cache
def server() -> Leaf:
    """For localhost and its addresses, by the authority of this run."""
    return root().issue()


@functools.cache
def client() -> Leaf:
    return root().issue(
        ["alice@example.com", "spiffe://example/alice"], common_name="alice", use="client"
    )
