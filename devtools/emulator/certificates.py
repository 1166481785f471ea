"""The certificate of the CONNECT side, signed by an authority that is made once and kept in the emulator's folder."""

import datetime
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("www.googleapis.com", "oauth2.googleapis.com", "accounts.google.com", "drive.googleapis.com")
AUTHORITY_DAYS, SERVER_DAYS = 3650, 365
HOUR = datetime.timedelta(hours=1)
USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
Extensions = Sequence[tuple[x509.ExtensionType, bool]]


def _certificate(
    common: str,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    uses: set[str],
    extensions: Extensions,
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
) -> x509.Certificate:
    """One that `authority` signs, or that signs itself; with all that strict verifiers ask for."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    start = datetime.datetime.now(datetime.UTC) - HOUR
    signing = authority[1] if authority else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority[0].subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.KeyUsage(**{use: use in uses for use in USES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signing, hashes.SHA256())


def _write(path: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """The key beside the certificate, then the certificate: where that is, both are."""
    kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret = path.with_suffix(".key")
    secret.touch(mode=0o600)
    secret.write_bytes(key.private_bytes(*kind))
    new = path.with_suffix(".new")
    new.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    os.replace(new, path)


def _authority(path: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        constraints = [(x509.BasicConstraints(ca=True, path_length=0), True)]
        uses = {"key_cert_sign", "crl_sign"}
        _write(path, made, _certificate("Drive emulator's authority", made, AUTHORITY_DAYS, uses, constraints))
    key = serialization.load_pem_private_key(path.with_suffix(".key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate(path.read_bytes()), key


def server_context(folder: Path) -> ssl.SSLContext:
    """TLS as Google's servers, for who trusts `folder/ca.pem`; the authority is kept, the certificate is new."""
    authority = _authority(folder / "ca.pem")
    key = ec.generate_private_key(ec.SECP256R1())
    extensions: Extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    ]
    path = folder / "server.pem"
    _write(path, key, _certificate(NAMES[0], key, SERVER_DAYS, {"digital_signature"}, extensions, authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, path.with_suffix(".key"))
    context.set_alpn_protocols(["http/1.1"])
    return context
