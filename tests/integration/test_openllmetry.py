"""What instrumentors of others write, in every form: in no file of the store, not even uncompressed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx2
from openllmetry import ANSWER, MARK, TEXT_KEYS, VALUE_KEYS, logs, traces
from planted import EVERYTHING, PROMPT, dumped, found_in
from private_app import DIGEST_KEY, serving, until
from processes import Running

from mvtrace.capture.keys import digest_key
from mvtrace.content import is_secret
from mvtrace.digest import keyed_digest
from mvtrace.store import migrate, open_store

PROTOBUF = {"content-type": "application/x-protobuf"}
SHORT = {"MVTRACE_INBOX_MAX_AGE_HOURS": str(3 / 3600)}


def digest(text: str) -> str:
    key = digest_key(DIGEST_KEY.encode())
    return keyed_digest(key.key, key.key_id, text)


def without_compression(folder: Path) -> None:
    """Make a store whose columns lie in their files as they are."""
    with open_store(f"chdb://{folder / 'store'}") as store:
        migrate(store)
        columns = store.query(
            "SELECT table, name FROM system.columns WHERE database = 'mvtrace' "
            "AND default_kind != 'ALIAS' AND table NOT IN (SELECT name FROM system.tables "
            "WHERE database = 'mvtrace' AND engine = 'View' OR name = 'schema_migrations')"
        ).rows
        for table, name in columns:
            store.command(f"ALTER TABLE {table} MODIFY COLUMN {name} CODEC(NONE)")


def send(one: Running) -> None:
    for path, request in (("traces", traces(PROMPT)), ("logs", logs(PROMPT))):
        body = request.SerializeToString()
        reply = httpx2.post(f"{one.url}/v1/{path}", content=body, headers=PROTOBUF, timeout=20)
        assert reply.status_code == 200, reply.text
        assert not reply.content, reply.content


def digests(one: Running) -> dict[str, str]:
    """Return the digests of the content of the span that was sent; empty while it is not stored."""
    asked = f"SELECT content_digests FROM spans WHERE name = '{MARK}' FORMAT JSONCompact"
    data = httpx2.post(f"{one.url}/sql", content=asked, timeout=20).json()["data"]
    return dict(data[0][0]) if data else {}


def is_empty(one: Running, folder: Path) -> bool:
    """Whether all is stored, and the inbox has no copy any more."""
    lag = httpx2.get(f"{one.url}/api/v1/status", timeout=20).json()["lag"]
    return not lag["batches"] and not list((folder / "store.inbox").glob("segment-*.pb"))


def test_no_form_of_content_is_in_any_file(tmp_path: Path) -> None:
    """
    Whatever OpenLLMetry and its neighbours call it, wherever it stands and of whatever type it is,
    not one planted byte is in the store's files, which lie there uncompressed, nor in any other; what
    is no content is.
    """
    without_compression(tmp_path)
    with serving(tmp_path, **SHORT) as one:
        send(one)
        assert until(lambda: is_empty(one, tmp_path))
    rows = dumped(tmp_path / "store")

    assert found_in([tmp_path / "store"], [MARK]) != []
    assert found_in([tmp_path], [*EVERYTHING, str(ANSWER), "4711.25"]) == []
    assert [word for word in (*EVERYTHING, str(ANSWER), "4711.25") if word in rows] == []
    for key in (*TEXT_KEYS, *VALUE_KEYS, "process.command_line", "otel.status_description"):
        assert f'"{key}"' in rows


def test_content_of_every_type_has_a_digest(tmp_path: Path) -> None:
    """
    With the applications' digest key a collector gives foreign content its keyed digest, of whatever
    type it is: text as it is, other values as their JSON text; a secret has none.
    """
    with serving(tmp_path, MVTRACE_DIGEST_KEY=DIGEST_KEY) as one:
        send(one)
        assert until(lambda: bool(digests(one)))
        found = digests(one)
    quoted = json.dumps(PROMPT)
    expected = {
        **{key: PROMPT for key in TEXT_KEYS if not is_secret(key)},
        "mlflow.chat.messages": f"[{quoted}]",
        "all_messages": f'{{"content":{quoted}}}',
        "mlflow.spanInputs": f'{{"$bytes":"{base64.b64encode(PROMPT.encode()).decode()}"}}',
        "embedding.vector": "[0.4711]",
        "ai.value": str(ANSWER),
        "ai.embedding": "4711.25",
        "final_result": "true",
    }

    assert found == {key: digest(text) for key, text in expected.items()}


def test_digest_key_is_in_no_file_and_no_message(tmp_path: Path) -> None:
    """
    The collector's digest key is in none of its files and in nothing it logs, also where the engine
    refuses the statement that uses it and quotes that in its message.
    """
    with serving(tmp_path, MVTRACE_DIGEST_KEY=DIGEST_KEY, MVTRACE_LOG_LEVEL="debug") as one:
        send(one)
        assert until(lambda: bool(digests(one)))
    with open_store(f"chdb://{tmp_path / 'store'}") as store:
        store.command("ALTER TABLE spans DROP COLUMN content_digests")
    with serving(tmp_path, MVTRACE_DIGEST_KEY=DIGEST_KEY, MVTRACE_LOG_LEVEL="debug") as one:
        send(one)
        log = tmp_path / "collector.log"
        assert until(lambda: "content_digests" in log.read_text())

    assert found_in([tmp_path], [DIGEST_KEY]) == []
