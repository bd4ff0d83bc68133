"""Keys and certificates that are trusted, and whether one of them made a signature.

In: PEM files of public keys (elliptic curves) and of certificates of authorities, the verification
material of a bundle, what was signed and the signature. Out: who signed, or why that is not known.
Needs the package ``cryptography``; without it nothing is verified, and that is said. Certificates
are judged at the time at which the signer's one began, since a bundle tells no other.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

MAX_PEM_BYTES: Final = 1 << 20
MAX_CHAIN: Final = 8
_CURVES: Final = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
_CODE_SIGNING: Final = "1.3.6.1.5.5.7.3.3"


class Trust(NamedTuple):
    """What is trusted."""

    pem: tuple[bytes, ...] = ()
    """Public keys and certificates."""


class Verdict(NamedTuple):
    """Who signed; or nobody that is known, and why."""

    signer: str | None
    problem: str | None = None


def trust_in(paths: Iterable[str | Path]) -> Trust:
    """Return what the files at *paths* say is trusted.

    Raises:
        OSError: one cannot be read.

    """
    found = []
    for path in paths:
        with Path(path).open("rb") as file:
            found.append(file.read(MAX_PEM_BYTES))
    return Trust(tuple(found))


def verified_by(material: Any, signed: bytes, signature: bytes, trust: Trust) -> Verdict:
    """Return who of *trust* made *signature* over *signed*."""
    if "publicKey" not in material and "x509CertificateChain" not in material:
        return Verdict(None, "not verified: keyless, which needs a trust root")
    if not trust.pem:
        return Verdict(None, "not verified: no key is trusted (MVTRACE_TRUSTED_KEYS)")
    try:
        from cryptography import x509  # noqa: F401, PLC0415 (an extra)
    except ImportError:
        return Verdict(None, "not verified: the package cryptography is not installed")
    if "publicKey" in material:
        return _by_key(signed, signature, trust)
    return _by_certificate(material, signed, signature, trust)


def _by_key(signed: bytes, signature: bytes, trust: Trust) -> Verdict:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    for pem in trust.pem:
        try:
            key: Any = serialization.load_pem_public_key(pem)
        except (ValueError, TypeError):
            continue  # a certificate, or a key of another kind
        if _has_signed(key, signature, signed):
            return Verdict(f"key sha256:{_digest_of_key(key)}")
    return Verdict(None, "not verified: no trusted key made it")


def _by_certificate(material: Any, signed: bytes, signature: bytes, trust: Trust) -> Verdict:
    from cryptography import x509  # noqa: PLC0415

    try:
        listed = material["x509CertificateChain"]["certificates"][:MAX_CHAIN]
        chain = [x509.load_der_x509_certificate(der(one)) for one in listed]
        leaf = chain[0]
        roots = [one for pem in trust.pem for one in _certificates(pem)]
        has_signed = _has_signed(leaf.public_key(), signature, signed)
        if not has_signed or not _may_sign(leaf):
            return Verdict(None, "not verified: its certificate did not make it, or may not sign")
        if not _leads_to(chain, roots):
            return Verdict(None, "not verified: its certificate leads to no trusted one")
        fingerprint = hashlib.sha256(der(listed[0])).hexdigest()
        return Verdict(f"{leaf.subject.rfc4514_string()} (certificate sha256:{fingerprint})")
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        return Verdict(None, f"not verified: its certificates cannot be read ({error})"[:200])


def der(listed: Any) -> bytes:
    """Return the DER bytes of a certificate of a bundle."""
    return base64.b64decode(listed["rawBytes"])


def _certificates(pem: bytes) -> list[Any]:
    from cryptography import x509  # noqa: PLC0415

    try:
        return list(x509.load_pem_x509_certificates(pem))
    except ValueError:
        return []  # a public key


def _has_signed(key: Any, signature: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        return False
    try:
        key.verify(signature, signed, ec.ECDSA(getattr(hashes, _CURVES[key.curve.name])()))
    except InvalidSignature:
        return False
    return True


def _leads_to(chain: list[Any], roots: list[Any]) -> bool:
    """Whether each of *chain* issued the one before it, and one of *roots* the last or is it."""
    at = chain[0].not_valid_before_utc
    for below, above in itertools.pairwise(chain):
        if not _issued(above, below, at):
            return False
    last = chain[-1]
    return any(last == root or _issued(root, last, at) for root in roots)


def _issued(issuer: Any, certificate: Any, at: Any) -> bool:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    try:
        certificate.verify_directly_issued_by(issuer)
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return bool(limits.ca) and issuer.not_valid_before_utc <= at <= issuer.not_valid_after_utc


def _may_sign(certificate: Any) -> bool:
    from cryptography import x509  # noqa: PLC0415

    found = {one.oid: one.value for one in certificate.extensions}
    usage = found.get(x509.KeyUsage.oid)
    if usage is not None and usage.digital_signature:
        return True
    extended = found.get(x509.ExtendedKeyUsage.oid)
    return extended is not None and any(one.dotted_string == _CODE_SIGNING for one in extended)


def _digest_of_key(key: Any) -> str:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(pem).hexdigest()
