"""A subject is erased: what is gone, what remains, and that no old copy brings anything back."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from explained import explained
from planted import PROSE, dumped, found_in, own_calls
from private_app import DIGEST_KEY, KEY, application, cli, content, serving

import mvtrace
from mvtrace.capture.privacy import bound_to
from mvtrace.capture.privacy_keys import Sealed, opened, unwrapped
from mvtrace_collector.payload_keys import KEYS_FILE

SUBJECT = "customer-4711"
OTHER = "customer-4712"
ALIAS = '"kind":"subject"'


def erase(url: str, subject: str = SUBJECT, **environ: str) -> dict[str, object]:
    asked = ("erase", "--subject", subject, "--reason", "asked for it", "--url", url, "--json")
    done = cli(*asked, MVTRACE_DIGEST_KEY=DIGEST_KEY, **environ)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def findings(url: str, request_id: str) -> dict[str, dict[str, object]]:
    found = explained(url, request_id)["findings"]
    assert isinstance(found, list)
    return {one["code"]: one for one in found}


def captured(url: str, folder: Path, mode: str = "full") -> tuple[str, str]:
    """Capture one request of each of two subjects; return their ids."""
    key = {"payload_key": KEY} if mode == "full" else {}
    with application(url, folder, content=mode, **key):
        mine = own_calls(SUBJECT)
        other = own_calls(OTHER)
    for request_id in (mine, other):
        explained(url, request_id)
    return mine, other


def test_content_goes_and_evidence_stays(tmp_path: Path) -> None:
    """
    After an erasure nothing of the subject can be read, not even with the key; the explanation says
    by whom, when and why, and proves the version as before; another subject keeps everything.
    """
    with serving(tmp_path) as one:
        mine, other = captured(one.url, tmp_path)
        before = explained(one.url, mine)
        found = erase(one.url)
        again = erase(one.url)
        after = explained(one.url, mine)
        said = findings(one.url, mine)
        gone = content(one.url, mine, MVTRACE_PAYLOAD_KEY=KEY)
        kept = content(one.url, other, MVTRACE_PAYLOAD_KEY=KEY)

    assert (found["requests"], found["keys"]) == (1, 1)
    assert int(str(found["payloads"])) >= 5
    assert (again["payloads"], again["keys"]) == (0, 0)
    assert after["composite"] == before["composite"]
    assert after["calls"] == before["calls"]
    assert "content_kept" not in said
    erased = said["content_erased"]
    assert "erased on" in str(erased["text"])
    assert f"by {found['erased_by']} (asked for it)" in str(erased["text"])
    assert gone.returncode == 1
    assert "erased on" in gone.stderr
    assert PROSE in kept.stdout
    assert found_in([tmp_path], [PROSE, SUBJECT]) == []


def test_copied_backup_is_unreadable(tmp_path: Path) -> None:
    """
    A copy of store and inbox from before holds ciphertext only, and no key that opens it: neither
    the copy nor the key store has it after the erasure.
    """
    backup = tmp_path / "backup"
    with serving(tmp_path) as one:
        mine, _ = captured(one.url, tmp_path)
        wrapped = _wrapped_keys(tmp_path)
    for name in ("store", "store.inbox"):
        shutil.copytree(tmp_path / name, backup / name, symlinks=True)
    assert _opens(backup, wrapped)  # with the key it does: the copy does hold the content

    with serving(tmp_path) as one:
        erase(one.url)

    assert len(wrapped) == 2
    left = _wrapped_keys(tmp_path)
    assert len(left) == 1
    [gone] = [raw for key_id, (_, raw) in wrapped.items() if key_id not in left]
    assert not _opens(backup, left, request_id=mine)
    copies = [path for folder in (backup, tmp_path) for path in folder.rglob("*")]
    assert [path for path in copies if path.is_file() and gone in path.read_bytes()] == []


def test_restored_backup_is_erased_again(tmp_path: Path) -> None:
    """
    Where an old copy of store and inbox is put back, the collector erases it before it serves:
    nothing is readable, and the explanation says that it was erased.
    """
    with serving(tmp_path) as one:
        mine, other = captured(one.url, tmp_path)
    for name in ("store", "store.inbox"):
        shutil.copytree(tmp_path / name, tmp_path / "backup" / name, symlinks=True)
    with serving(tmp_path) as one:
        erase(one.url)
    for name in ("store", "store.inbox"):
        shutil.rmtree(tmp_path / name)
        shutil.copytree(tmp_path / "backup" / name, tmp_path / name, symlinks=True)

    with serving(tmp_path) as one:
        said = findings(one.url, mine)
        gone = content(one.url, mine, MVTRACE_PAYLOAD_KEY=KEY)
        kept = content(one.url, other, MVTRACE_PAYLOAD_KEY=KEY)

    assert "content_erased" in said
    assert "content_kept" not in said
    assert gone.returncode == 1
    assert PROSE in kept.stdout


@pytest.mark.parametrize("mode", ["full", "redacted"])
def test_replay_of_the_inbox_brings_nothing_back(tmp_path: Path, mode: str) -> None:
    """
    The inbox loaded once more after an erasure lets the evidence in and no content, in both modes,
    nor the ids that the application gave.
    """
    with serving(tmp_path) as one:
        mine, other = captured(one.url, tmp_path, mode)
        erase(one.url)
    for path in (tmp_path / "store.inbox").glob("index.sqlite*"):
        path.unlink()  # the index is made anew, and everything is loaded once more

    with serving(tmp_path) as one:
        said = findings(one.url, mine)
        gone = content(one.url, mine, MVTRACE_PAYLOAD_KEY=KEY)
        kept = content(one.url, other, MVTRACE_PAYLOAD_KEY=KEY)
        verified = cli("verify", "--url", one.url)

    assert "content_erased" in said
    assert gone.returncode == 1
    assert "seventy-seven" in kept.stdout
    assert verified.returncode == 0, verified.stdout
    rows = dumped(tmp_path / "store")
    named = {line[: line.index("request_id")] for line in rows.splitlines() if ALIAS in line}
    assert len(named) == 1


def test_late_content_of_an_erased_subject_is_not_let_in(tmp_path: Path) -> None:
    """
    What a spool still held when the subject was erased comes later and is refused; what the subject
    does after the erasure is captured again.
    """
    nowhere = {"url": "http://127.0.0.1:9", "spool_dir": tmp_path / "spool"}
    mvtrace.configure(**nowhere, digest_key=DIGEST_KEY, content="redacted", exit_grace_s=0.0)
    late = own_calls(SUBJECT)
    mvtrace.shutdown()
    with serving(tmp_path) as one:
        first = erase(one.url)
        with application(one.url, tmp_path, content="redacted"):
            new = own_calls(SUBJECT)
        explained(one.url, new)
        said = findings(one.url, late)
        kept = content(one.url, new)

    assert first["requests"] == 0
    assert "content_erased" in said
    assert "content_kept" not in said
    assert "seventy-seven" in kept.stdout


def test_request_without_subject_is_erased_by_its_id(tmp_path: Path) -> None:
    """
    Where the application names nobody, each request is a subject of its own.
    """
    with serving(tmp_path) as one:
        with application(one.url, tmp_path, content="full", payload_key=KEY):
            mine, other = own_calls(), own_calls()
        explained(one.url, other)
        found = erase(one.url, mine)
        gone = content(one.url, mine, MVTRACE_PAYLOAD_KEY=KEY)
        kept = content(one.url, other, MVTRACE_PAYLOAD_KEY=KEY)

    assert (found["requests"], found["keys"]) == (1, 1)
    assert gone.returncode == 1
    assert PROSE in kept.stdout


def test_erasing_needs_the_scope(tmp_path: Path) -> None:
    """
    A key that may read everything may not erase; one with the scope is named in the evidence.
    """
    store = f"chdb://{tmp_path / 'store'}"
    keys = {}
    for label, scopes in (("boss", "admin,ingest,read"), ("eraser", "erase"), ("reader", "read")):
        options = [part for scope in scopes.split(",") for part in ("--scope", scope)]
        made = cli("keys", "create", *options, "--project", "default", "--label", label,
                   "--store", store, "--json")  # fmt: skip
        assert made.returncode == 0, made.stderr
        keys[label] = json.loads(made.stdout)
    with serving(tmp_path) as one:
        asked = ("erase", "--subject", SUBJECT, "--url", one.url, "--json")
        refused = cli(*asked, MVTRACE_DIGEST_KEY=DIGEST_KEY, MVTRACE_API_KEY=keys["reader"]["key"])
        done = cli(*asked, MVTRACE_DIGEST_KEY=DIGEST_KEY, MVTRACE_API_KEY=keys["eraser"]["key"])

    assert refused.returncode != 0
    assert json.loads(done.stdout)["erased_by"] == keys["eraser"]["id"]


def test_erasing_without_the_digest_key_is_told(tmp_path: Path) -> None:
    """
    Without the applications' digest key no subject can be named, and the command says so.
    """
    done = cli("erase", "--subject", SUBJECT, MVTRACE_SPOOL_DIR=str(tmp_path))

    assert done.returncode == 2
    assert "digest key" in done.stderr


def _wrapped_keys(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return the data keys in the key store: subject and wrapped key by id."""
    with closing(sqlite3.connect(folder / "store.keys" / KEYS_FILE)) as connection:
        rows = connection.execute("SELECT key_id, subject, wrapped FROM data_keys").fetchall()
    return {key_id: (subject, bytes(wrapped)) for key_id, subject, wrapped in rows}


def _opens(backup: Path, keys: dict[str, tuple[str, bytes]], request_id: str | None = None) -> bool:
    """Whether some content in a copied store can be decrypted with *keys* and the master key."""
    script = (
        "import sys, json, base64\n"
        "from mvtrace.store import open_store\n"
        "with open_store(sys.argv[1], read_only=True) as store:\n"
        "    rows = store.query('SELECT request_id_text, kind, subject, digest, key_id,'\n"
        "        ' base64Encode(nonce), base64Encode(body) FROM payloads').rows\n"
        "print(json.dumps(rows))\n"
    )
    command = [sys.executable, "-c", script, f"chdb://{backup / 'store'}"]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    return any(
        _reads(row, keys)
        for row in json.loads(done.stdout)
        if request_id is None or row[0] == request_id
    )


def _reads(row: list[str], keys: dict[str, tuple[str, bytes]]) -> bool:
    request_id, kind, subject, digest, key_id, nonce, body = row
    if key_id not in keys:
        return False
    key = unwrapped(bytes.fromhex(KEY), key_id=key_id, subject=subject, wrapped=keys[key_id][1])
    closed = Sealed(base64.b64decode(nonce), base64.b64decode(body))
    about = bound_to(request_id, kind, subject, digest)
    return PROSE.encode() in opened(key, closed, about=about)


def test_erasing_while_more_comes_in(tmp_path: Path) -> None:
    """
    An erasure in the middle of a stream of the subject's requests: of none that was stored before it
    anything can be read afterwards, also not after a restart, and all are explained.
    """
    with serving(tmp_path) as one:
        with application(one.url, tmp_path, content="full", payload_key=KEY):
            before = [own_calls(SUBJECT) for _ in range(5)]
            explained(one.url, before[-1])
            with ThreadPoolExecutor(1) as beside:
                erased = beside.submit(erase, one.url)
                while not erased.done():
                    own_calls(SUBJECT)
        assert int(str(erased.result()["requests"])) >= len(before)
    with serving(tmp_path) as one:
        said = [findings(one.url, request_id) for request_id in before]
        read = content(one.url, before[0], MVTRACE_PAYLOAD_KEY=KEY)

    assert all("content_erased" in found and "content_kept" not in found for found in said)
    assert read.returncode == 1
    assert found_in([tmp_path], [PROSE, SUBJECT]) == []
