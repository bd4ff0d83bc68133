"""Who is let in where keys were once, and who may look into the files that hold keys."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest
from private_app import DIGEST_KEY, KEY, cli, serving
from processes import collector_command, running

import mvtrace
from mvtrace.capture.privacy_keys import read_master_key

ADMIN = ("--scope", "admin", "--project", "*", "--label", "admin")


def start(folder: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Start a collector that is to refuse."""
    store = f"chdb://{folder / 'store'}"
    return cli("collector", "--store", store, "--listen", "127.0.0.1:0", *options, **environ)


def test_copy_from_before_the_first_key_opens_nothing(tmp_path: Path) -> None:
    """
    Where a copy of the store without keys is put back, the collector does not start by itself; with
    --open it does, and with a new admin's key it is closed again.
    """
    with serving(tmp_path) as one:
        assert httpx2.get(f"{one.url}/api/v1/requests").status_code == 200
    for name in ("store", "store.inbox"):
        shutil.copytree(tmp_path / name, tmp_path / "backup" / name, symlinks=True)
    with serving(tmp_path) as one:
        made = cli("keys", "create", *ADMIN, "--url", one.url, "--json")
        assert json.loads(made.stdout)["key"]
        assert httpx2.get(f"{one.url}/api/v1/requests").status_code == 401
    for name in ("store", "store.inbox"):
        shutil.rmtree(tmp_path / name)
        shutil.copytree(tmp_path / "backup" / name, tmp_path / name, symlinks=True)

    refused = start(tmp_path)
    command = collector_command(tmp_path / "store", "--open")
    with running(command, tmp_path / "collector.log") as one:
        opened = httpx2.get(f"{one.url}/api/v1/requests").status_code
    again = start(tmp_path)
    cli("keys", "create", *ADMIN, "--store", f"chdb://{tmp_path / 'store'}")
    with serving(tmp_path) as one:
        closed = httpx2.get(f"{one.url}/api/v1/requests").status_code

    assert (refused.returncode, again.returncode) == (2, 2)
    assert "had keys" in refused.stderr
    assert "--open" in refused.stderr
    assert (opened, closed) == (200, 401)


def test_key_of_the_environment_counts_too(tmp_path: Path) -> None:
    """
    A collector that was closed by MVTRACE_API_KEY does not start open without it.
    """
    with serving(tmp_path, MVTRACE_API_KEY="a-static-key-of-the-tests") as one:
        assert httpx2.get(f"{one.url}/api/v1/requests").status_code == 401

    assert start(tmp_path).returncode == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_master_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """
    A file with the master key that is open to more than its owner is no key, and the message says
    how to close it; one that is not, is.
    """
    path = tmp_path / "master.key"
    path.write_text(KEY)
    path.chmod(mode)

    with pytest.raises(mvtrace.MvtraceError, match=f"mode {mode:04o}"):
        read_master_key(None, path)
    path.chmod(0o400)
    assert read_master_key(None, path) == bytes.fromhex(KEY)


@pytest.mark.parametrize("name", ["", "payload-keys.sqlite"])
def test_keys_that_others_may_read_are_refused(tmp_path: Path, name: str) -> None:
    """
    A collector does not start over a directory, or a file in it, of data keys that others may read.
    """
    with serving(tmp_path):
        pass
    path = tmp_path / "store.keys" / name
    path.chmod(path.stat().st_mode | 0o044)

    refused = start(tmp_path)

    assert refused.returncode == 2
    assert "others may read" in refused.stderr
    assert "chmod" in refused.stderr


def test_subject_comes_from_stdin(tmp_path: Path) -> None:
    """
    `--subject -` reads the name from stdin; none there, or two lines, is a wrong use.
    """
    with serving(tmp_path) as one:
        asked = ("erase", "--subject", "-", "--url", one.url, "--json")
        done = cli(*asked, stdin="customer-4711\n", MVTRACE_DIGEST_KEY=DIGEST_KEY)
        named = cli(
            "erase", "--subject", "customer-4711", *asked[3:], MVTRACE_DIGEST_KEY=DIGEST_KEY
        )
        wrong = [
            cli(*asked, stdin=text, MVTRACE_DIGEST_KEY=DIGEST_KEY) for text in ("", "a\nb\n", "\n")
        ]

    assert json.loads(done.stdout)["subject"] == json.loads(named.stdout)["subject"]
    assert [one.returncode for one in wrong] == [2, 2, 2]
