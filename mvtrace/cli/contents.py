"""What ``mvtrace erase`` and ``mvtrace content`` do: subjects made digests, texts decrypted, words.

In: a subject's name, or what a collector says of one request's content. Out: the digest that stands
for the subject, made with the application's own key; texts, or why one cannot be read.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mvtrace.capture.keys import KEY_FILE, load_digest_key
from mvtrace.capture.privacy import bound_to, subject_digest
from mvtrace.capture.privacy_keys import Sealed, opened, read_master_key, unwrapped
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import inert
from mvtrace.config import TracingConfig
from mvtrace.digest import keyed_digest
from mvtrace.errors import CheckFailedError, MvtraceError

_MODES: Final = {"full": "encrypted", "redacted": "redacted"}


class NothingKeptError(MvtraceError):
    """No content of the request is kept."""

    code = "no-content"

    def __init__(self, found: Mapping[str, Any]) -> None:
        gone = found["erasures"]
        why = f"erased on {gone[-1]['erased_at']} by {gone[-1]['erased_by']}" if gone else "none is"
        super().__init__(f"Nothing is kept of request {found['request_id']}: {why}.")


def digest_of_subject(name: str) -> str:
    config = TracingConfig.from_environ(os.environ)
    if config.digest_key is None and not (config.spool_dir / KEY_FILE).exists():
        raise CommandLineError(
            f"There is no digest key in {config.spool_dir}.",
            hint="Set MVTRACE_DIGEST_KEY, or MVTRACE_SPOOL_DIR, as the applications have it.",
        )
    key = load_digest_key(config)
    return subject_digest(lambda text: keyed_digest(key.key, key.key_id, text), name)


def readable(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the contents with their texts, None where one cannot be read.

    Raises:
        NothingKeptError: there are none.
    """
    if not found["contents"]:
        raise NothingKeptError(found)
    config = TracingConfig.from_environ({**os.environ, "MVTRACE_CONTENT": "digest"})
    master = read_master_key(config.payload_key, config.payload_key_file)
    return [_read(one, found, master) for one in found["contents"]]


def _read(one: Mapping[str, Any], found: Mapping[str, Any], master: bytes | None) -> dict[str, Any]:
    shown = {key: value for key, value in one.items() if key not in ("body", "nonce")}
    body = base64.b64decode(one["body"])
    if one["mode"] != "full":
        return {**shown, "text": body.decode("utf-8", "replace"), "problem": None}
    wrapped = found["keys"].get(one["key_id"])
    if wrapped is None:
        return {**shown, "text": None, "problem": "its key is destroyed"}
    if master is None:
        return {**shown, "text": None, "problem": "MVTRACE_PAYLOAD_KEY is not set"}
    if not one["is_whole"]:
        return {**shown, "text": None, "problem": "a piece of it is missing"}
    about = bound_to(found["request_id"], one["kind"], one["subject"], one["digest"])
    try:
        raw = base64.b64decode(wrapped)
        key = unwrapped(master, key_id=one["key_id"], subject=one["subject"], wrapped=raw)
        closed = Sealed(base64.b64decode(one["nonce"]), body)
        text = opened(key, closed, about=about).decode("utf-8", "replace")
    except CheckFailedError as error:
        return {**shown, "text": None, "problem": error.message}
    return {**shown, "text": text, "problem": None}


def erased_words(found: Mapping[str, Any]) -> str:
    return (
        f"Erased: {found['requests']} requests, {found['payloads']} pieces of content, "
        f"{found['keys']} keys destroyed.\n"
        "What was captured about this subject until now is not let in again.\n"
    )


def content_words(found: Mapping[str, Any], texts: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"request {found['request_id']}"]
    for one in texts:
        facts = [_MODES.get(one["mode"], one["mode"]), f"{one['bytes']} bytes"]
        facts += ["cut"] if one["is_cut"] else []
        facts += [f"{rule} {count}" for rule, count in sorted(one["redactions"].items())]
        lines += ["", inert(f"{one['kind']}  ({', '.join(facts)})")]
        text = f"not readable: {one['problem']}" if one["text"] is None else one["text"]
        lines += [f"  {inert(line)}" for line in text.splitlines() or [""]]
    return "\n".join(lines) + "\n"
