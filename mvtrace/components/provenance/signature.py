"""OpenSSF model-signing bundles: which bytes somebody signed, checked without a network.

In: a bundle, the digests of the files as they were hashed, and the public keys or certificates that
are trusted. Out: a note. ``verified`` is a signature by a trusted key over exactly these files.
Without a trusted key, or keyless (which needs the trust root of a transparency log), it is
``declared``, with the reason; as it is where it fails. A bundle is data of a stranger, and has at
most MAX_BUNDLE_BYTES.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from mvtrace.components.provenance.note import Note
from mvtrace.components.provenance.trust import Trust, verified_by

MAX_BUNDLE_BYTES: Final = 8 << 20
SOURCE: Final = "model-signing"
PREDICATE: Final = "https://model_signing/signature/"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_BUNDLE: Final = "application/vnd.dev.sigstore.bundle"
SINGLE_FILE: Final = "."


class BundleError(ValueError):
    """It is no bundle over a model."""


def is_bundle(data: bytes) -> bool:
    """Whether *data* begins like a bundle of any kind."""
    return len(data) <= MAX_BUNDLE_BYTES and _BUNDLE.encode() in data[:512]


def note_of(data: bytes, files: Mapping[str, str], left_out: Iterable[str], trust: Trust) -> Note:
    """Return what the bundle *data* proves of *files*: hex SHA-256 by path.

    *left_out* are files that need not be signed: the bundle itself.

    Raises:
        BundleError: it is none over a model.

    """
    try:
        bundle = orjson.loads(data)
        envelope = bundle["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        statement = orjson.loads(payload)
        material = bundle["verificationMaterial"]
        resources = statement["predicate"]["resources"]
        names = {str(one["name"]): dict(one) for one in resources}
        subject, root = _subject(statement)
    except (ValueError, TypeError, LookupError, AttributeError, binascii.Error) as error:
        raise BundleError("it is no signature of a model") from error
    if not str(statement.get("predicateType", "")).startswith(PREDICATE):
        raise BundleError("it signs something else than a model")
    facts = {
        "subject": subject,
        "digest": root,
        "files": len(names),
        "method": _method(material),
    }
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        return _unverified(facts, "its payload is of another type")
    problem = _files_problem(statement["predicate"], names, files, set(left_out))
    if problem is None and root != _root(names):
        problem = "not verified: its digests do not make the digest that it names"
    if problem:
        return _unverified(facts, problem)
    found = verified_by(material, _signed_bytes(payload), signature, trust)
    if found.signer is None:
        return _unverified(facts, found.problem or "not verified")
    return Note(SOURCE, "verified", {**facts, "signer": found.signer})


def _unverified(facts: Mapping[str, Any], problem: str) -> Note:
    return Note(SOURCE, "declared", {**facts, "problem": problem})


def _method(material: Any) -> str:
    if not isinstance(material, dict):
        return "unknown"
    if "publicKey" in material:
        return "key"
    if "x509CertificateChain" in material:
        return "certificate"
    return "keyless" if "certificate" in material else "unknown"


def _files_problem(
    predicate: Mapping[str, Any], signed: Mapping[str, Any], files: Mapping[str, str], own: set[str]
) -> str | None:
    """Return why the files are not exactly those that were signed; None where they are."""
    serialization = predicate.get("serialization", {})
    plain = isinstance(serialization, dict) and serialization.get("method") == "files"
    if not plain or serialization.get("hash_type") != "sha256":
        return "its files are hashed in a way that is not recomputed here"
    listed = serialization.get("ignore_paths")
    ignored = own | ({str(one) for one in listed} if isinstance(listed, list) else set())
    for name, one in signed.items():
        if one.get("algorithm") != "sha256" or files.get(name) != one.get("digest"):
            there = "is another" if name in files else "is not there"
            return f"not verified: the signed file {name!r} {there}"
    unsigned = [name for name in files if name not in signed and not _is_below(name, ignored)]
    if unsigned:
        return f"not verified: the file {unsigned[0]!r} is not signed"
    return None


def _subject(statement: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the name and the digest of what was signed."""
    subject = statement["subject"][0]
    return subject["name"], subject["digest"]["sha256"]


def _root(signed: Mapping[str, Any]) -> str:
    """Return the digest over the digests of all files, in the order in which they are listed."""
    return hashlib.sha256(
        b"".join(bytes.fromhex(one["digest"]) for one in signed.values())
    ).hexdigest()


def _is_below(name: str, ignored: set[str]) -> bool:
    parts = name.split("/")
    return any("/".join(parts[: count + 1]) in ignored for count in range(len(parts)))


def _signed_bytes(payload: bytes) -> bytes:
    """Return what was signed: the payload with its type and lengths, as DSSE says."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
