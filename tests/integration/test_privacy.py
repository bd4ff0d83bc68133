"""Planted secrets and personal data, through every way in: what of them is where, mode by mode."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from explained import explained
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from planted import (
    EVERYTHING,
    PERSONAL,
    PROMPT,
    PROSE,
    SECRETS,
    dumped,
    foreign_spans,
    found_in,
    own_calls,
)
from private_app import DIGEST_KEY, KEY, application, content, serving, until

import mvtrace
from mvtrace.capture.keys import digest_key
from mvtrace.digest import keyed_digest

MAX_AGE_HOURS = 3 / 3600


def test_digest_lets_not_one_byte_in(tmp_path: Path) -> None:
    """
    In the mode `digest` nothing planted is in the store, the spool, the inbox or the logs, whether
    own wrappers or somebody's instrumentation carried it.
    """
    with serving(tmp_path) as one:
        with application(one.url, tmp_path) as provider:
            request_id = own_calls("customer-4711")
            with mvtrace.request(route="/chat"):
                foreign_spans(provider.get_tracer("opentelemetry.instrumentation.openai"))
            spooled = found_in([tmp_path / "spool"])
        explanation = explained(one.url, request_id)

    assert spooled == []
    assert found_in([tmp_path], [*EVERYTHING, "customer-4711"]) == []
    rows = dumped(tmp_path / "store")
    assert [word for word in (*EVERYTHING, "customer-4711") if word in rows] == []
    assert "gen_ai.prompt.0.content" in rows
    calls = explanation["calls"]
    assert isinstance(calls, list)
    assert all(call["prompt"]["rendered_digest"] for call in calls if call["kind"] == "generation")


def test_foreign_content_never_reaches_the_tables(tmp_path: Path) -> None:
    """
    Of a sender that knows nothing of mvtrace nothing planted is in the store, the inbox's index or
    the logs, but keyed digests under the applications' key; the inbox has what was sent, and no
    longer than its maximum age.
    """
    environ = {"MVTRACE_INBOX_MAX_AGE_HOURS": str(MAX_AGE_HOURS), "MVTRACE_DIGEST_KEY": DIGEST_KEY}
    with serving(tmp_path, **environ) as one:
        provider = TracerProvider(shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{one.url}/v1/traces")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        foreign_spans(provider.get_tracer("opentelemetry.instrumentation.openai"))
        provider.shutdown()
        inbox = tmp_path / "store.inbox"
        at_first = {name for name, _ in found_in([inbox])}
        is_gone = until(lambda: not found_in([inbox]))

    assert at_first
    assert not any(name.startswith("index") for name in at_first)
    assert is_gone
    assert found_in([tmp_path]) == []
    rows = dumped(tmp_path / "store")
    assert [word for word in EVERYTHING if word in rows] == []
    assert "https://h.example/a" in rows
    assert "otel.status_description" in rows
    key = digest_key(DIGEST_KEY.encode())
    assert f'"input.value":"{keyed_digest(key.key, key.key_id, PROMPT)}"' in rows
    assert '"gen_ai.openai.api_key":"hmac' not in rows


def test_redacted_keeps_what_the_rules_leave(tmp_path: Path) -> None:
    """
    In the mode `redacted` the prose stays and nothing the rules know; a rule of the application's
    own works as well; the explanation tells rules and counts and not a word of the text.
    """
    rules = tmp_path / "rules.toml"
    rules.write_text("[rules]\ncolour = 'marmalade'\n")
    with serving(tmp_path) as one:
        options = {"content": "redacted", "redaction_rules": str(rules)}
        with application(one.url, tmp_path, **options) as provider:
            request_id = own_calls()
            with mvtrace.request(route="/chat") as chat:
                foreign_spans(provider.get_tracer("opentelemetry.instrumentation.openai"))
        explanation = json.dumps(explained(one.url, request_id))
        shown = content(one.url, request_id)
        foreign = content(one.url, chat.request_id)

    known = [*PERSONAL.values(), *SECRETS.values(), PROSE]
    assert found_in([tmp_path / "store", tmp_path / "store.inbox", tmp_path / "spool"], known) == []
    rows = dumped(tmp_path / "store")
    assert [word for word in known if word in rows] == []
    assert shown.returncode == 0, shown.stderr
    texts = {one["kind"]: one for one in json.loads(shown.stdout)["contents"]}
    prompt = next(one for kind, one in texts.items() if kind.endswith("/prompt"))
    assert "[colour]-zebra-seventy-seven: write to [email], call [phone-number]" in prompt["text"]
    assert set(prompt["redactions"]) == {*PERSONAL, *SECRETS, "colour"}
    assert "zebra-seventy-seven" not in explanation
    assert '"card-number":' in explanation
    assert "zebra-seventy-seven" in foreign.stdout
    assert '"secret-key"' in foreign.stdout


def test_full_is_read_by_who_has_the_key(tmp_path: Path) -> None:
    """
    In the mode `full` no text is in any file, `mvtrace content` shows it to who has the key and to
    nobody else, and secrets are out of it all the same.
    """
    with serving(tmp_path) as one:
        with application(one.url, tmp_path, content="full", payload_key=KEY) as provider:
            request_id = own_calls("customer-4711")
            with mvtrace.request(route="/chat") as chat:
                foreign_spans(provider.get_tracer("opentelemetry.instrumentation.openai"))
        explained(one.url, request_id)
        shown = content(one.url, request_id, MVTRACE_PAYLOAD_KEY=KEY)
        foreign = content(one.url, chat.request_id, MVTRACE_PAYLOAD_KEY=KEY)
        without = content(one.url, request_id)
        wrong = content(one.url, request_id, MVTRACE_PAYLOAD_KEY="ff" * 32)

    assert shown.returncode == 0, shown.stderr
    assert PROSE in shown.stdout
    assert PERSONAL["email"] in shown.stdout
    assert PROSE in foreign.stdout
    assert [word for word in SECRETS.values() if word in shown.stdout + foreign.stdout] == []
    for other in (without, wrong):
        assert other.returncode == 1
        assert PROSE not in other.stdout + other.stderr
    assert found_in([tmp_path]) == []
    rows = dumped(tmp_path / "store")
    assert [word for word in EVERYTHING if word in rows] == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"content": "everything"}, "it is digest, redacted or full"),
        ({"content": "full"}, "without MVTRACE_PAYLOAD_KEY"),
        ({"content": "full", "payload_key": "short"}, "32 random bytes"),
        ({"content": "redacted", "redaction_rules": "/nonexistent"}, "it is TOML"),
    ],
)
def test_modes_that_cannot_be_are_refused_at_start(options: dict[str, str], text: str) -> None:
    """
    A mode without what it needs is an error at the start, never a text that leaves untreated.
    """
    with pytest.raises(mvtrace.MvtraceError, match=text):
        mvtrace.configure(**options)
