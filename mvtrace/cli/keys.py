"""``mvtrace keys``: who may send, read, query, govern, erase, administer; in which projects.

In: arguments. Out: requests to a collector's ``/api/v1/keys`` with the key of an admin; or, with
``--store``, to the store itself, where no collector runs yet.
"""

from __future__ import annotations

import getpass
import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import click

from mvtrace.cli import listing
from mvtrace.cli.errors import CommandLineError, ExtraMissingError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.sources import collector_at
from mvtrace.cli.text import table_text

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN: Final = re.compile(r"(\d{1,6})([smhd])")
_COLUMNS: Final = ("key", "label", "scopes", "projects", "created", "by", "state")

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="The store itself, while no collector has it.")
JSON = click.option("--json", "as_json", is_flag=True)


class Keys(Protocol):
    """Where keys are kept: behind a collector, or in an open store."""

    def listed(self) -> list[dict[str, Any]]: ...

    def create(self, wanted: Mapping[str, Any]) -> dict[str, Any]: ...

    def rotate(self, key_id: str, overlap_s: int) -> dict[str, Any]: ...

    def revoke(self, key_id: str) -> dict[str, Any]: ...


class RemoteKeys:
    """The keys of a running collector."""

    def __init__(self, url: str | None) -> None:
        self._collector = collector_at(url)

    def listed(self) -> list[dict[str, Any]]:
        """Return every key."""
        return list(self._collector.get("/api/v1/keys")["keys"])

    def create(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Make a key; its text is in the answer."""
        return self._collector.post("/api/v1/keys", wanted)

    def rotate(self, key_id: str, overlap_s: int) -> dict[str, Any]:
        """Make a successor."""
        return self._collector.post(f"/api/v1/keys/{key_id}/rotate", {"overlap_s": overlap_s})

    def revoke(self, key_id: str) -> dict[str, Any]:
        """End a key."""
        return self._collector.post(f"/api/v1/keys/{key_id}/revoke", {})


def keys_at(url: str | None, store: str | None) -> Keys:
    """Return the keys of the collector at *url*, or of the *store*."""
    if url and store:
        raise CommandLineError("--url and --store name two places.", hint="Give one of them.")
    if store is None:
        return RemoteKeys(url)
    try:
        from mvtrace_collector.local_keys import LocalKeys  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise ExtraMissingError("embedded", str(error)) from error
    return LocalKeys(store, by=_user())


@click.group(epilog="Example: mvtrace keys create --scope admin --project '*' --label admin")
def keys() -> None:
    """Make, list, rotate and revoke API keys.

    A collector without keys is open to every process of its host. Its first key closes it, and must
    have the scope admin; from then on these commands need such a key in MVTRACE_API_KEY.
    """


@keys.command(epilog="Example: mvtrace keys create --scope ingest --project support --label edge")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="ingest, read, sql, score, govern, erase or admin; may be repeated.",
)
@click.option(
    "--project", "projects", multiple=True, required=True, help="May be repeated; '*' is every one."
)
@click.option("--label", required=True, help="What the key is for, for people.")
@click.option("--expires", metavar="SPAN", help="When it ends: 12h, 90d; never by default.")
@URL
@STORE
@JSON
def create(
    scopes: Sequence[str],
    projects: Sequence[str],
    expires: str | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a key and print it; nobody can print it again."""
    wanted: dict[str, Any] = {
        "scopes": list(scopes),
        "projects": list(projects),
        "label": options["label"],
    }
    if expires is not None:
        wanted["expires_ms"] = _now_ms() + seconds_of("--expires", expires) * 1000
    _write_new(keys_at(options["url"], options["store"]).create(wanted), as_json=as_json)


@keys.command("list", epilog="Example: mvtrace keys list")
@URL
@STORE
@JSON
def list_keys(*, url: str | None, store: str | None, as_json: bool) -> None:
    """List every key ever made, without secrets."""
    found = keys_at(url, store).listed()
    if as_json:
        listing.write(json_text({"keys": found}))
    elif not found:
        listing.write("There is no key: the collector is open to every process of its host.\n")
    else:
        now_ms = _now_ms()
        listing.write(table_text(_COLUMNS, [_row(key, now_ms) for key in found]))


@keys.command(epilog="Example: mvtrace keys rotate 3f9c01d2ab45 --overlap 24h")
@click.argument("key_id")
@click.option(
    "--overlap", default="24h", show_default=True, help="How long the old key goes on working."
)
@URL
@STORE
@JSON
def rotate(key_id: str, overlap: str, url: str | None, store: str | None, *, as_json: bool) -> None:
    """Make a successor with the same scopes and projects; the old key ends after the overlap."""
    place = keys_at(url, store)
    _write_new(place.rotate(_checked(key_id), seconds_of("--overlap", overlap)), as_json=as_json)


@keys.command(epilog="Example: mvtrace keys revoke 3f9c01d2ab45")
@click.argument("key_id")
@URL
@STORE
def revoke(key_id: str, url: str | None, store: str | None) -> None:
    """End a key at once; other collectors of the same store follow within seconds."""
    ended = keys_at(url, store).revoke(_checked(key_id))
    listing.write(f"Key {ended['id']} ({inert(ended['label'])}) opens nothing any more.\n")


def seconds_of(option: str, text: str) -> int:
    """Return the seconds of ``90d``, ``12h``, ``30m`` or ``0s``; raises CommandLineError."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise CommandLineError(
            f"{option} is {text[:40]!r}; it is a number with s, m, h or d, for example 24h."
        )
    return int(match[1]) * _UNITS[match[2]]


def _checked(key_id: str) -> str:
    """Return *key_id*, or that of a whole key given by mistake."""
    match = re.fullmatch(r"(?:mvt_)?([0-9a-f]{12})(?:_.*)?", key_id, re.DOTALL)
    if match is None:
        raise CommandLineError(
            f"{key_id[:40]!r} is no key's id; it has 12 hex digits.",
            hint="'mvtrace keys list' shows them.",
        )
    return match[1]


def _write_new(new: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        listing.write(json_text(new))
        return
    listing.write(
        f"{new['key']}\n\n"
        f"Key {new['id']} ({inert(new['label'])}): {', '.join(new['scopes'])} in "
        f"{', '.join(new['projects'])}. It is shown this once; only its digest is kept.\n"
    )


def _row(key: Mapping[str, Any], now_ms: int) -> list[str]:
    ends = [key[name] for name in ("expires_ms", "revoked_ms") if key[name] is not None]
    end = min(ends, default=None)
    state = "valid"
    if end is not None:
        state = f"until {_moment(end)}" if end > now_ms else f"ended {_moment(end)}"
    return [
        key["id"],
        key["label"],
        " ".join(key["scopes"]),
        " ".join(key["projects"]),
        _moment(key["created_ms"]),
        key["created_by"],
        state,
    ]


def _moment(unix_ms: int) -> str:
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _user() -> str:
    try:
        return f"{getpass.getuser()} (store)"
    except (KeyError, OSError):
        return f"uid {os.getuid()} (store)"
