"""Models signed as OpenSSF model-signing does it: bundles over files, by a key or a certificate."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TYPE = "application/vnd.in-toto+json"
IGNORED = [".gitattributes", ".github", ".gitignore", ".git", "model.sig"]


def new_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def statement(folder: Path, **changes: Any) -> dict[str, Any]:
    """What is said of the files of *folder*."""
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "model.sig"
    )
    digests = {name: hashlib.sha256((folder / name).read_bytes()) for name in files}
    root = hashlib.sha256(b"".join(one.digest() for one in digests.values()))
    made = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": folder.name, "digest": {"sha256": root.hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "ignore_paths": IGNORED},
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": one.hexdigest()}
                for name, one in digests.items()
            ],
        },
    }
    return made | changes


def bundle(
    said: Any, key: ec.EllipticCurvePrivateKey, chain: list[x509.Certificate] | None = None
) -> bytes:
    """A bundle over *said*, signed with *key*."""
    payload = json.dumps(said, indent=2).encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(payload), payload)
    algorithm = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.key_size]
    signature = key.sign(signed, ec.ECDSA(algorithm))
    hint = hashlib.sha256(public_pem(key)).hexdigest()
    material: dict[str, Any] = {"publicKey": {"hint": hint}, "tlogEntries": []}
    if chain is not None:
        der = [one.public_bytes(serialization.Encoding.DER) for one in chain]
        listed = [{"rawBytes": base64.b64encode(one).decode()} for one in der]
        material = {"x509CertificateChain": {"certificates": listed}, "tlogEntries": []}
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": TYPE,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
    ).encode()


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[str, ec.EllipticCurvePrivateKey] | None = None,
    *,
    is_authority: bool = False,
    may_sign: bool = True,
) -> x509.Certificate:
    """A certificate of *key*, issued by *issuer* or by itself."""
    by, with_key = issuer or (name, key)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGAN)
        .not_valid_after(BEGAN + dt.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=may_sign,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=is_authority,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    return made.sign(with_key, hashes.SHA256())


def pem_of(one: x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.PEM)
