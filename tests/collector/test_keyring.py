"""API keys: made, shown once, proven, rotated with overlap, revoked, kept as digests."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator

import pytest

from mvtrace.errors import ConfigurationError
from mvtrace.store import Store
from mvtrace.store.migrations import migrate
from mvtrace.store.opening import open_store
from mvtrace_collector.keyring import KeyNotFoundError, Keyring
from mvtrace_collector.keys import SCOPES, granted, parse

DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
"""Of base64 as it stands in URLs, by value."""


class Clock:
    """Milliseconds that a test sets."""

    def __init__(self) -> None:
        self.now_ms = 1_790_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path_factory.mktemp('keys') / 'store'}") as opened:
        migrate(opened)
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(store: Store, clock: Clock) -> Keyring:
    return Keyring(store, now_ms=clock)


def test_key_opens_what_it_was_made_for(ring: Keyring) -> None:
    """
    The text of a new key proves its id, scopes and projects, and nothing more.
    """
    new = ring.create(
        granted(scopes=["read", "sql"], projects=["b", "a"], label="grafana"), by="admin"
    )

    identity = ring.identity(new.text)

    assert identity is not None
    assert identity.key_id == new.key.id
    assert [scope for scope in SCOPES if identity.may(scope)] == ["read", "sql"]
    assert [identity.sees(project) for project in ("a", "b", "c", "*")] == [
        True,
        True,
        False,
        False,
    ]


def test_store_keeps_no_secret(ring: Keyring, store: Store) -> None:
    """
    Of the secret, the store has the SHA-256 alone; another ring of the same store proves it.
    """
    new = ring.create(granted(scopes=["ingest"], projects=["*"], label="edge"), by="admin")
    parts = parse(new.text)
    assert parts is not None

    body = store.raw("SELECT * FROM api_keys", None, "RowBinary")

    assert hashlib.sha256(parts[1]).digest() in body
    assert parts[1] not in body
    assert new.text.encode() not in body
    assert Keyring(store).identity(new.text) == ring.identity(new.text)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-2] + ("A" if text[-2] != "A" else "B") + text[-1],
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "E"),
        lambda text: text[:-1] + DIGITS[DIGITS.index(text[-1]) + 1],
        lambda text: text.replace("mvt_", "mvt_0", 1),
        lambda text: text[:4] + "0" * 12 + text[16:],
        lambda text: text + "A" * 1_000_000,
        lambda text: text + "\n",
        lambda text: "mvt_é" + text[5:],
        lambda _: "",
    ],
    ids=[
        "secret",
        "last digit",
        "bits beyond it",
        "form",
        "unknown id",
        "1 MB",
        "newline",
        "unicode",
        "empty",
    ],
)
def test_anything_else_is_nobody(ring: Keyring, spoil: object) -> None:
    """
    A wrong secret, an unknown id and what is no key at all are the same: nobody.
    """
    assert callable(spoil)
    new = ring.create(granted(scopes=["read"], projects=["a"], label="x"), by="admin")

    assert ring.identity(spoil(new.text)) is None


def test_rotation_overlaps(ring: Keyring, clock: Clock) -> None:
    """
    After a rotation both keys open until the overlap ends, then the new one alone.
    """
    old = ring.create(granted(scopes=["ingest"], projects=["a"], label="edge"), by="admin")
    new = ring.rotate(old.key.id, overlap_s=60, by="admin")

    clock.now_ms += 59_999
    assert ring.identity(old.text) is not None
    clock.now_ms += 1
    assert ring.identity(old.text) is None
    assert ring.identity(new.text) is not None
    assert new.key.replaces == old.key.id


def test_revoked_and_expired_open_nothing(ring: Keyring, store: Store, clock: Clock) -> None:
    """
    A revoked key opens nothing from that moment on, an expired one from its end; both stay listed.
    """
    revoked = ring.create(granted(scopes=["read"], projects=["a"], label="r"), by="admin")
    expiring = ring.create(
        granted(scopes=["read"], projects=["a"], label="e", expires_ms=clock.now_ms + 10),
        by="admin",
    )
    other = Keyring(store, now_ms=clock)

    ring.revoke(revoked.key.id)
    clock.now_ms += 10

    assert ring.identity(revoked.text) is None
    assert ring.identity(expiring.text) is None
    other.refresh()
    assert other.identity(revoked.text) is None
    assert {revoked.key.id, expiring.key.id} <= {key.id for key in other.keys}


def test_ended_key_has_no_successor(ring: Keyring) -> None:
    """
    A revoked key cannot be rotated, and nothing is made of it.
    """
    ended = ring.create(granted(scopes=["read"], projects=["a"], label="r"), by="admin")
    ring.revoke(ended.key.id)
    before = len(ring.keys)

    with pytest.raises(ConfigurationError, match="this key has ended"):
        ring.rotate(ended.key.id, overlap_s=60, by="admin")

    assert len(ring.keys) == before


def test_refresh_never_brings_an_older_state_back(ring: Keyring, store: Store) -> None:
    """
    What this collector changed holds whatever order the table's rows are read in.
    """
    new = ring.create(granted(scopes=["read"], projects=["a"], label="r"), by="admin")
    ring.revoke(new.key.id)

    ring.refresh()

    assert ring.identity(new.text) is None


@pytest.mark.parametrize(
    ("scopes", "projects", "label", "named"),
    [
        (["root"], ["a"], "x", "root"),
        ([], ["a"], "x", "scopes are"),
        (["read"], ["A B"], "x", "A B"),
        (["read"], ["*", "a"], "x", r"'\*'"),
        (["read"], [], "x", "a project is"),
        (["read"], ["a"], "", "--label"),
        (["read"], ["a"], "\x1b[31m", "--label"),
    ],
)
def test_bad_values_are_named(
    ring: Keyring, scopes: list[str], projects: list[str], label: str, named: str
) -> None:
    """
    A scope, project or label that is none is refused with its value, and nothing is stored.
    """
    before = len(ring.keys)

    with pytest.raises(ConfigurationError, match=named):
        ring.create(granted(scopes=scopes, projects=projects, label=label), by="admin")

    ring.refresh()
    assert len(ring.keys) == before


def test_unknown_key_is_not_found(ring: Keyring) -> None:
    """
    Rotating or revoking an id that no key has says so.
    """
    with pytest.raises(KeyNotFoundError, match="0123"):
        ring.rotate("0123", overlap_s=0, by="admin")
    with pytest.raises(KeyNotFoundError, match="0123"):
        ring.revoke("0123")


@pytest.mark.parametrize("is_revoked_first", [True, False])
def test_of_two_ends_the_earlier_holds(
    store: Store, clock: Clock, *, is_revoked_first: bool
) -> None:
    """
    Two collectors end the same state of a key at a time, one by a rotation with overlap: whoever was
    first, it is ended for both and for every later one, and nothing brings it back.
    """
    one, two = Keyring(store, now_ms=clock), Keyring(store, now_ms=clock)
    new = one.create(granted(scopes=["read"], projects=["a"], label="x"), by="admin")
    two.refresh()
    ended, rotated = new.key.ending(clock.now_ms), new.key.ending(clock.now_ms + 3_600_000)
    writes = [(one, ended), (two, rotated)]
    for ring, state in writes if is_revoked_first else reversed(writes):
        ring._write(state)
    for ring in (one, two):
        ring.refresh()

    assert ended.revision == rotated.revision
    rings = (one, two, Keyring(store, now_ms=clock))
    assert [ring.identity(new.text) for ring in rings] == [None, None, None]
    one.refresh()
    two._write(rotated)
    assert [ring.identity(new.text) for ring in rings] == [None, None, None]
    with pytest.raises(ConfigurationError, match="this key has ended"):
        two.rotate(new.key.id, overlap_s=60, by="admin")


def test_revocation_in_the_middle_of_a_rotation(store: Store, clock: Clock) -> None:
    """
    A key that another collector revokes while this one makes its successor has none: the rotation
    fails, and neither opens anything.
    """
    one = Keyring(store, now_ms=clock)
    new = one.create(granted(scopes=["read"], projects=["a"], label="y"), by="admin")

    def revoking() -> int:
        one.revoke(new.key.id)
        return clock.now_ms

    two = Keyring(store, now_ms=revoking)
    with pytest.raises(ConfigurationError, match="this key has ended"):
        two.rotate(new.key.id, overlap_s=3600, by="admin")

    successors = [key for key in Keyring(store).keys if key.replaces == new.key.id]
    assert [key.is_valid(clock.now_ms) for key in successors] == [False]
    assert Keyring(store, now_ms=clock).identity(new.text) is None
