"""How content leaves the process in the modes ``redacted`` and ``full``; in ``digest`` none does.

In: texts of one request, on the writer's thread, before anything is on the disk. Out: log events
``mvtrace.payload``: the text after the rules (``redacted``), or encrypted under the data key of the
person it is about (``full``), in pieces, with its keyed digest and a report of rules and counts.
Secrets by shape or name go in both modes. A wrapped data key travels in an event of its own, which
the collector keeps apart from all data.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from mvtrace import content, semconv
from mvtrace.capture.privacy_keys import Sealed, SubjectKeys, read_master_key, sealed
from mvtrace.capture.privacy_rules import Rules, read_rules, rules_of
from mvtrace.config import TracingConfig
from mvtrace.digest import canonical_bytes
from mvtrace.ids import unix_ms_of
from mvtrace.otlp import AttributeValue, LogEvent

MAX_TEXT_BYTES: Final = 1 << 20
"""Of one text; of a longer one the beginning is kept, and that it was cut."""
MAX_HELD: Final = 8 << 20
"""Characters of all texts of a request that are held until it ends."""
PIECE_BYTES: Final = 128 << 10
MAX_REQUESTS: Final = 4096
"""Requests whose subject is remembered for spans that come later."""


class Text(NamedTuple):
    """One text of a request."""

    kind: str
    """Where it was: ``generation/answer/<span id>/output``, ``span/<span id>``."""
    text: str
    digest: str
    """Keyed digest of the text as it was; the record has the same."""


class Held(NamedTuple):
    """The texts of one request that wait for the writer."""

    request_id: str
    subject: str | None
    """Digest of the person they are about; None is the request itself."""
    texts: Sequence[Text]

    @property
    def size(self) -> int:
        """How many characters it holds."""
        return sum(len(one.text) for one in self.texts)


def subject_digest(keyed_digest: Callable[[str], str], name: str) -> str:
    """Return the digest that stands for the subject *name* in what is stored."""
    return keyed_digest(f"mvtrace.subject/1\n{name}")


def bound_to(request_id: str, kind: str, subject: str, digest: str) -> bytes:
    """Return what a ciphertext is bound to: it opens in its own place only."""
    return f"mvtrace.payload/1\n{request_id}\n{kind}\n{subject}\n{digest}".encode()


class Privacy:
    """The treatment of one mode; used on the writer's thread."""

    def __init__(
        self, rules: Rules, keys: SubjectKeys | None, keyed_digest: Callable[[str], str]
    ) -> None:
        self._rules = rules
        self._keys = keys
        self._keyed_digest = keyed_digest
        self._subjects: OrderedDict[str, str] = OrderedDict()

    @classmethod
    def of(cls, config: TracingConfig, keyed_digest: Callable[[str], str]) -> Self | None:
        """Return the treatment of *config*; None where no text leaves.

        Raises:
            ConfigurationError: the rules or the key cannot be read.
        """
        if config.content == "digest":
            return None
        own = read_rules(config.redaction_rules) if config.redaction_rules else ()
        if config.content == "redacted":
            return cls(rules_of(is_personal=True, own=own), None, keyed_digest)
        master = read_master_key(config.payload_key, config.payload_key_file)
        if master is None:  # the configuration has been checked for it
            raise ValueError("content=full without a payload key")
        return cls(rules_of(is_personal=False, own=own), SubjectKeys(master), keyed_digest)

    def text_of_span(
        self, span_id: bytes, taken: Sequence[tuple[str, AttributeValue]], report: Counter[str]
    ) -> Text | None:
        """Return what was *taken* out of a span as one text; None if only secrets were."""
        found = {}
        for key, value in taken:
            if content.is_secret(key):
                report["secret-key"] += 1
            else:
                found[key] = value
        if not found:
            return None
        text = json.dumps(found, ensure_ascii=False, default=str)
        return Text(f"span/{span_id.hex()}", text, self._keyed_digest(text))

    def events(self, held: Held, report: Mapping[str, int] | None = None) -> Iterator[LogEvent]:
        """Yield the events of *held*; *report* tells what was left out before."""
        subject = self._subject_of(held)
        key = self._keys.key_of(subject) if self._keys is not None else None
        time_ns = unix_ms_of(held.request_id) * 1_000_000
        if key is not None:
            yield LogEvent(
                name=semconv.EVENT_PAYLOAD_KEY,
                time_unix_nano=key.made_ms * 1_000_000,
                body=_base64(key.wrapped),
                attributes={
                    semconv.PAYLOAD_KEY_ID: key.id,
                    semconv.PAYLOAD_SUBJECT: subject,
                    semconv.PAYLOAD_KEY_MADE: key.made_ms,
                },
            )
        for one in held.texts:
            redacted = self._rules.redact(one.text)
            counts = Counter(redacted.counts)
            counts.update(report or {})
            plain, is_cut = _limited(redacted.text)
            about = bound_to(held.request_id, one.kind, subject, one.digest)
            closed = sealed(key.key, plain, about=about) if key is not None else Sealed(b"", plain)
            facts = {
                "request_id": held.request_id,
                "kind": one.kind,
                "subject": subject,
                "mode": "redacted" if key is None else "full",
                "key_id": key.id if key is not None else "",
                "nonce": _base64(closed.nonce),
                "digest": one.digest,
                "bytes": len(plain),
                "is_cut": is_cut,
                "redactions": dict(counts),
            }
            yield from _pieces(facts, closed.ciphertext, time_ns)

    def _subject_of(self, held: Held) -> str:
        """Return the subject of *held*; what comes later without one has that of its request."""
        subject = held.subject or self._subjects.get(held.request_id)
        if subject is None:
            return subject_digest(self._keyed_digest, held.request_id)
        self._subjects[held.request_id] = subject
        while len(self._subjects) > MAX_REQUESTS:
            self._subjects.popitem(last=False)
        return subject


def _limited(text: str) -> tuple[bytes, bool]:
    whole = text.encode("utf-8", "replace")
    if len(whole) <= MAX_TEXT_BYTES:
        return whole, False
    return whole[:MAX_TEXT_BYTES].decode("utf-8", "ignore").encode(), True


def _pieces(facts: Mapping[str, Any], body: bytes, time_ns: int) -> Iterator[LogEvent]:
    pieces = max(1, -(-len(body) // PIECE_BYTES))
    for number in range(pieces):
        part = body[number * PIECE_BYTES : (number + 1) * PIECE_BYTES]
        said = {**facts, "piece": number, "pieces": pieces, "body": _base64(part)}
        yield LogEvent(
            name=semconv.EVENT_PAYLOAD,
            time_unix_nano=time_ns,
            body=canonical_bytes(said).decode(),
            attributes={semconv.REQUEST_ID: str(facts["request_id"])},
        )


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
