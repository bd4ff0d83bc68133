"""Generate ``schemas/canonical/vectors.json``: inputs, and what mvtrace makes of them.

Run from the repository root: ``python tests/conformance/canonical_vectors.py``. A change of the
file is a change of every id there is: it needs a new version of the domain concerned.

Inputs are typed, since JSON readers lose numbers: ``{"int": "5"}``, ``{"float": "0.5"}``,
``{"object": [[key, value], …]}``, lists, texts, booleans and null as themselves. A long text is
``{"repeat": "x", "times": 1000}``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mvtrace.components import composite, hash_artifact, index, prompt, router
from mvtrace.components.artifact_cache import ArtifactCache
from mvtrace.components.content import pin_content
from mvtrace.digest import (
    ARTIFACT_DOMAIN,
    COMPONENT_DOMAIN,
    COMPOSITE_DOMAIN,
    CONTENT_DOMAIN,
    RECORD_DOMAIN,
    canonical_bytes,
    digest_of,
)

VECTORS = Path(__file__).parents[2] / "schemas" / "canonical" / "vectors.json"
DOMAINS = {
    "component": COMPONENT_DOMAIN,
    "composite": COMPOSITE_DOMAIN,
    "content": CONTENT_DOMAIN,
    "artifact": ARTIFACT_DOMAIN,
    "record": RECORD_DOMAIN,
}


def i(number: int) -> dict[str, str]:
    """Return the typed form of an integer."""
    return {"int": str(number)}


def f(number: str) -> dict[str, str]:
    """Return the typed form of a double, by its decimal text."""
    return {"float": number}


def o(**members: Any) -> dict[str, Any]:
    """Return the typed form of an object, in this order."""
    return {"object": [[key, value] for key, value in members.items()]}


def value_of(typed: Any) -> Any:
    """Return the plain value of a typed input."""
    if isinstance(typed, list):
        return [value_of(item) for item in typed]
    if not isinstance(typed, dict):
        return typed
    if "int" in typed:
        return int(typed["int"])
    if "float" in typed:
        return float(typed["float"])
    if "repeat" in typed:
        return typed["repeat"] * typed["times"]
    return {value_of(key): value_of(value) for key, value in typed["object"]}


def nested(depth: int) -> Any:
    """Return *depth* lists around null."""
    typed: Any = None
    for _ in range(depth):
        typed = [typed]
    return typed


CANONICAL: dict[str, Any] = {
    "null": None,
    "booleans": [True, False],
    "empty": [o(), [], ""],
    "keys are sorted": o(b=i(1), a=i(2), B=i(3), A=i(4), _=i(5)),
    "keys are sorted by UTF-16 units": {
        "object": [["\ufb33", i(1)], ["\U0001f600", i(2)], ["\u20ac", i(3)], ["é", i(4)]]
    },
    "text is never normalized": ["é", "e\u0301", "\u212b", "\u00c5"],
    "text is escaped as little as can be": '\x00\x08\t\n\x0b\x0c\r\x1f"\\/\x7f\u2028\U0001f600',
    "small integers": [i(0), i(-1), i(42), i(-(2**31))],
    "largest plain integers": [i(2**53 - 1), i(-(2**53 - 1))],
    "larger integers are tagged": [i(2**53), i(-(2**53)), i(2**64), i(10**30)],
    "a nanosecond time": o(started_at=i(1_763_869_327_123_456_789)),
    "doubles": [f("0.5"), f("-0.1"), f("0.30000000000000004"), f("3.141592653589793")],
    "whole doubles have no point": [f("5.0"), f("-0.0"), f("100.0"), f("1e15")],
    "small and large doubles": [
        f("0.001"), f("0.0001"), f("0.00001"), f("0.000001"), f("0.0000001"), f("5e-324"),
        f("1e16"), f("123456789012345680000.0"), f("1e20"), f("1e21"), f("1.7976931348623157e308"),
    ],
    "doubles beyond 2^53 are not tagged": [f("9007199254740992.0"), f("9007199254740994.0")],
    "keys that begin with $ are escaped": {
        "object": [["$int", "5"], ["$", i(1)], ["$$a", i(2)], ["a$", i(3)]]
    },
    "a tag of the caller is no integer": {"object": [["$int", "9007199254740993"]]},
    "depth 64": nested(64),
}  # fmt: skip

REFUSED: dict[str, Any] = {
    "NaN": f("nan"),
    "infinity": f("inf"),
    "minus infinity": o(score=f("-inf")),
    "a lone surrogate": "\ud800",
    "a lone surrogate in a key": {"object": [["\udfff", i(1)]]},
    "a key that is no text": {"object": [[i(1), "a"]]},
    "deeper than 64": nested(65),
}

NOT_CANONICAL = {
    "keys out of order": '{"b":1,"a":2}',
    "space": '{"a": 1}',
    "a needless escape": '{"a":"\\u0041"}',
    "an escaped solidus": '"\\/"',
    "a point in a whole number": "[1.0]",
    "an exponent": "[1E3]",
    "minus zero": "[-0]",
    "a tag that is not needed": '{"$int":"5"}',
    "a tag with a leading zero": '{"$int":"09007199254740993"}',
    "a tag with a plus": '{"$int":"+9007199254740993"}',
    "an upper-case escape": '"\\u001F"',
}

CONTENTS: dict[str, Any] = {
    "empty": "",
    "short": "Answer: {question}",
    "exactly one piece": {"repeat": "x", "times": 131_072},
    "one byte more": {"repeat": "x", "times": 131_073},
    "characters are not cut": {"repeat": "é€", "times": 60_000},
}

ARTIFACTS = {
    "one file": {".": "weights"},
    "a folder": {"config.json": "{}", "b/z.bin": "2", "b.bin": "1", "é.txt": "text"},
}

BODIES: dict[str, tuple[str, Any]] = {
    "a component": ("component", o(kind="model", facts=o(provider="p", model_id="m-1"))),
    "an empty manifest": ("composite", o(components=[], edges=[])),
    "a record's start": (
        "record",
        o(request_id="0190b5a2-7c00-7000-8000-000000000000", revision=i(1)),
    ),
}


def build() -> dict[str, Any]:
    """Return everything that the file holds."""
    return {
        "format": 1,
        "domains": {name: domain.decode() for name, domain in DOMAINS.items()},
        "canonical": [
            {"name": name, "input": typed, "canonical": canonical_bytes(value_of(typed)).decode()}
            for name, typed in CANONICAL.items()
        ],
        "refused": [{"name": name, "input": typed} for name, typed in REFUSED.items()],
        "not_canonical": [{"name": name, "text": text} for name, text in NOT_CANONICAL.items()],
        "digests": [_digest(name, *body) for name, body in BODIES.items()],
        "mismatches": _mismatches(),
        "contents": [
            {"name": name, "input": typed, "reference": pin_content(value_of(typed)).reference}
            for name, typed in CONTENTS.items()
        ],
        "artifacts": [_artifact(name, files) for name, files in ARTIFACTS.items()],
        "indexes": [_index()],
        "composites": [_composite()],
    }


def _digest(name: str, domain: str, typed: Any) -> dict[str, Any]:
    body = canonical_bytes(value_of(typed))
    return {
        "name": name,
        "domain": domain,
        "input": typed,
        "body": body.decode(),
        "digest": digest_of(DOMAINS[domain], body),
    }


def _mismatches() -> list[dict[str, str]]:
    body = '{"facts":{"model_id":"m-1"},"kind":"model"}'
    digest = digest_of(COMPONENT_DOMAIN, body.encode())
    edited = body.replace("m-1", "m-2")
    return [
        {"name": "an edited body", "domain": "component", "body": edited, "digest": digest},
        {"name": "another domain", "domain": "content", "body": body, "digest": digest},
        {"name": "a line feed more", "domain": "component", "body": body + "\n", "digest": digest},
        {
            "name": "upper-case digits",
            "domain": "component",
            "body": body,
            "digest": "sha256:" + digest.removeprefix("sha256:").upper(),
        },
    ]


def _artifact(name: str, files: dict[str, str]) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        root = Path(folder) / "artifact"
        for relative, text in files.items():
            path = root if relative == "." else root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        artifact = hash_artifact(root, cache=ArtifactCache(Path(folder) / "cache.json"))
    return {
        "name": name,
        "files": files,
        "listing": artifact.listing.decode(),
        "digest": artifact.digest,
        "bytes": artifact.total_bytes,
    }


def _index() -> dict[str, Any]:
    items = {"a": "first", "b": "second", "ü": "third"}
    snapshot = index("notes", items).facts["snapshot"]
    return {"name": "texts by id", "items": items, "fingerprint": snapshot["fingerprint"]}


def _composite() -> dict[str, Any]:
    answer = prompt("answer", "Answer: {question}")
    route = router("route", policy={"threshold": 0.5}, candidates=["small", answer])
    version = composite("worked-example", route)
    return {
        "name": "a router and its candidate",
        "components": [
            {"slot": part.slot, "body": part.body.decode(), "digest": part.digest}
            for part in version.components
        ],
        "manifest": version.manifest.decode(),
        "version": version.version,
    }


def render() -> str:
    """Return the text of the file: ASCII, so that no editor changes a character."""
    return json.dumps(build(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    VECTORS.write_text(render(), encoding="ascii")
    print(f"wrote {VECTORS}")
