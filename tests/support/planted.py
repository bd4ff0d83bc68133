"""Secrets and personal data to plant, places to plant them, and the search for them in files.

All numbers are the published examples of their kind and belong to nobody.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from openllmetry import TEXT_KEYS
from opentelemetry.trace import Link, Status, StatusCode, Tracer

import mvtrace

PROSE = "marmalade-zebra-seventy-seven"
"""What no rule finds: only the mode `digest` and encryption keep it out."""
PERSONAL = {
    "email": "anna.muster@example.org",
    "phone-number": "+49 30 901820",
    "card-number": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
}
SECRETS = {
    "api-key": "sk-proj-Zq81mPlantedKey0042xYz",
    "bearer-token": "Planted.Token-77aBcDeF",
    "secret-value": "hunter2-planted",
    "url-user": "paul:pw-planted",
    "url-secret": "url-token-planted",
}
PROMPT = (
    f"{PROSE}: write to {PERSONAL['email']}, call {PERSONAL['phone-number']}, charge "
    f"{PERSONAL['card-number']} or {PERSONAL['iban']}; use {SECRETS['api-key']}, Bearer "
    f"{SECRETS['bearer-token']}, password={SECRETS['secret-value']}, "
    f"https://{SECRETS['url-user']}@shop.example/?token={SECRETS['url-secret']}"
)
EVERYTHING = (PROSE, *PERSONAL.values(), *SECRETS.values())

DUMP = """
import sys
from mvtrace.store import open_store
PLAIN = {"output_format_json_escape_forward_slashes": 0}
with open_store(sys.argv[1], read_only=True) as store:
    for (table,) in store.query("SHOW TABLES").rows:
        rows = store.raw(f"SELECT * FROM {table}", settings=PLAIN)
        sys.stdout.buffer.write(rows)
"""


def own_calls(name: str = "") -> str:
    """Make a request with every own wrapper that takes text; return its id."""
    with mvtrace.request(route="/ask") as request:
        if name:
            mvtrace.subject(name)
        with mvtrace.retrieval("notes", query=PROMPT, top_k=1) as retrieval:
            retrieval.documents([("doc-1", 0.5)])
        with mvtrace.generation("answer", model="m") as generation:
            generation.rendered([{"role": "user", "content": PROMPT}])
            generation.response(model="m", text=f"Answer to {PROMPT}")
        with mvtrace.tool("search", arguments={"q": PROMPT, "api_key": SECRETS["api-key"]}) as tool:
            tool.result(PROMPT)
        with mvtrace.embedding("embed", model="e") as embedding:
            embedding.input([PROMPT])
        try:
            with mvtrace.postprocess("trim") as step:
                step.input(PROMPT)
                raise ValueError(PROMPT)
        except ValueError:
            pass
    return request.request_id


def foreign_spans(tracer: Tracer) -> None:
    """Make the spans that OpenLLMetry and OpenInference make, with everything planted."""
    with tracer.start_as_current_span("openai.chat") as span:
        span.set_attributes(
            {
                "gen_ai.system": "openai",
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": PROMPT,
                "gen_ai.completion.0.content": PROMPT,
                "gen_ai.openai.api_key": SECRETS["api-key"],
                "traceloop.entity.input": PROMPT,
                "http.request.header.authorization": f"Bearer {SECRETS['bearer-token']}",
                "url.full": f"https://{SECRETS['url-user']}@h.example/a?q={PROMPT}",
                "url.query": PROMPT,
            }
        )
        span.add_event("gen_ai.user.message", {"role": "user", "content": PROMPT})
        span.add_event("gen_ai.content.prompt", {"gen_ai.prompt": PROMPT})
        span.record_exception(ValueError(PROMPT))
        span.set_status(Status(StatusCode.ERROR, PROMPT))
        link = Link(span.get_span_context(), {"traceloop.entity.input": PROMPT})
    with tracer.start_as_current_span("every form", links=[link]) as span:
        span.set_attributes(dict.fromkeys(TEXT_KEYS, PROMPT))
        span.set_attribute("mlflow.chat.messages", [PROMPT])
        span.set_attribute("embedding.text", PROMPT)
    with tracer.start_as_current_span("ChatCompletion") as span:
        span.set_attributes(
            {
                "openinference.span.kind": "LLM",
                "input.value": PROMPT,
                "output.value": PROMPT,
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.content": PROMPT,
                "llm.invocation_parameters": f'{{"system": "{PROMPT}"}}',
                "retrieval.documents.0.document.content": PROMPT,
                "metadata": f'{{"mail": "{PERSONAL["email"]}"}}',
                "user.email": PERSONAL["email"],
            }
        )


def found_in(folders: Iterable[Path], words: Iterable[str] = EVERYTHING) -> list[tuple[str, str]]:
    """Return each file in *folders* that holds one of *words*, with the word."""
    found: list[tuple[str, str]] = []
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # one may just be deleted
            held = path.read_bytes()
            found += [(path.name, word) for word in words if word.encode() in held]
    return found


def dumped(store: Path) -> str:
    """Return every row of every table as JSON text: what compression hides from a search."""
    command = [sys.executable, "-c", DUMP, f"chdb://{store}"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return done.stdout.decode(errors="replace")
