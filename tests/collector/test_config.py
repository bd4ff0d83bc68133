from __future__ import annotations

from pathlib import Path

import pytest

from mvtrace.errors import ConfigurationError
from mvtrace_collector.config import CollectorConfig, parse_listen
from mvtrace_collector.limits import MIB

KEY = "a-key-of-sixteen-characters"


def config_of(environ: dict[str, str] | None = None, **given: object) -> CollectorConfig:
    given.setdefault("store", "chdb:///var/lib/mvtrace")
    return CollectorConfig.from_environ(environ=environ or {}, **given)  # type: ignore[arg-type]


def test_defaults() -> None:
    """
    A collector listens on loopback and keeps its inbox beside an embedded store.
    """
    config = config_of()

    assert (config.host, config.port, config.url) == ("127.0.0.1", 4318, "http://127.0.0.1:4318")
    assert config.inbox_dir == Path("/var/lib/mvtrace.inbox")
    assert config.is_loopback
    assert config.api_key is None
    assert config.limits.compressed_bytes == 16 * MIB
    assert config.limits.inflated_bytes == 64 * MIB
    assert config.inbox.retention_seconds == 48 * 3600


def test_arguments_win_over_the_environment() -> None:
    """
    Each value may come from the environment; an argument wins.
    """
    environ = {
        "MVTRACE_STORE": "chdb:///from/environ",
        "MVTRACE_LISTEN": "[::1]:9",
        "MVTRACE_DATA": "/data",
        "MVTRACE_API_KEY": KEY,
        "MVTRACE_MAX_BODY_MIB": "1",
        "MVTRACE_MAX_INFLATED_MIB": "2",
        "MVTRACE_INBOX_RETENTION_HOURS": "0.5",
        "MVTRACE_INBOX_RETENTION_MIB": "3",
        "MVTRACE_INBOX_UNSTORED_MIB": "4",
        "MVTRACE_INBOX_FLOOR_MIB": "5",
        "MVTRACE_LOADER_MEMORY_MIB": "6",
    }
    from_environ = config_of(environ, store=None)
    from_arguments = config_of(environ, listen="127.0.0.1:0", data="/other")

    assert from_environ.store == "chdb:///from/environ"
    assert (from_environ.host, from_environ.port) == ("::1", 9)
    assert from_environ.url == "http://[::1]:9"
    assert from_environ.inbox_dir == Path("/data")
    assert from_environ.api_key == KEY
    assert from_environ.limits.compressed_bytes == MIB
    assert from_environ.limits.inflated_bytes == 2 * MIB
    assert from_environ.inbox.retention_seconds == 1800
    assert from_environ.inbox.retention_bytes == 3 * MIB
    assert from_environ.inbox.unstored_bytes == 4 * MIB
    assert from_environ.inbox.disk_floor_bytes == 5 * MIB
    assert from_environ.loader_memory_bytes == 6 * MIB
    assert (from_arguments.store, from_arguments.port) == ("chdb:///var/lib/mvtrace", 0)
    assert from_arguments.inbox_dir == Path("/other")
    assert from_arguments.with_port(77).url == "http://127.0.0.1:77"


@pytest.mark.parametrize(
    ("listen", "is_loopback"),
    [("localhost:1", True), ("127.8.8.8:1", True), ("[::1]:1", True), (":1", True), ("0.0.0.0:1", False), ("[::]:1", False), ("10.0.0.1:1", False), ("collector:1", False)],
)  # fmt: skip
def test_without_tls_only_loopback(listen: str, is_loopback: bool, tmp_path: Path) -> None:
    """
    A public address needs TLS, or that it is asked for in so many words.
    """
    if is_loopback:
        assert config_of(listen=listen).is_loopback
        return
    certificate = tmp_path / "cert.pem"
    certificate.touch()
    for environ in ({}, {"MVTRACE_API_KEY": KEY}):
        with pytest.raises(ConfigurationError) as caught:
            config_of(environ, listen=listen)

    host, port = parse_listen(listen)
    assert caught.value.message == (
        f"--listen is '{host}:{port}'; without TLS a collector listens on loopback only."
    )
    assert caught.value.hint == (
        "Pass --tls-cert and --tls-key, or --allow-remote behind a proxy with TLS."
    )
    assert config_of(listen=listen, allow_remote=True).port == 1
    assert config_of({"MVTRACE_ALLOW_REMOTE": "true"}, listen=listen).port == 1
    assert config_of({"MVTRACE_TLS_CERT": str(certificate)}, listen=listen).url.startswith("https:")


def test_without_keys_only_loopback(tmp_path: Path) -> None:
    """
    A public address with TLS still needs a key, of the environment or of the store.
    """
    certificate = tmp_path / "cert.pem"
    certificate.touch()
    public = config_of({"MVTRACE_TLS_CERT": str(certificate)}, listen="0.0.0.0:1")

    with pytest.raises(ConfigurationError, match="without keys a collector listens on loopback"):
        public.check_keys(has_keys=False)

    public.check_keys(has_keys=True)
    config_of(listen="127.0.0.1:1").check_keys(has_keys=False)


@pytest.mark.parametrize(
    ("environ", "given", "message"),
    [
        ({}, {"store": None}, "--store is None; a collector needs a store."),
        ({}, {"store": "http://other:4318"}, "--store is 'http://other:4318'; a collector owns its store, so it must be chdb:///DIR or clickhouse://HOST:PORT."),
        ({}, {"store": "clickhouse://db/mvtrace"}, "--data is None; a collector with a server store needs a directory for its inbox."),
        ({}, {"listen": "4318"}, "--listen is '4318'; it must be HOST:PORT, for example 127.0.0.1:0."),
        ({}, {"listen": "::1:4318"}, "--listen is '::1:4318'; it must be HOST:PORT, for example 127.0.0.1:0."),
        ({}, {"listen": "127.0.0.1:http"}, "--listen is '127.0.0.1:http'; it must be HOST:PORT, for example 127.0.0.1:0."),
        ({}, {"listen": "127.0.0.1:70000"}, "--listen is 70000; a port is a number from 0 to 65535."),
        ({}, {"workers": 2}, "--workers is 2; one process owns the store and the inbox, so it must be 1."),
        ({"MVTRACE_TLS_CERT": "/no/such/cert.pem"}, {}, "--tls-cert is '/no/such/cert.pem'; it names a PEM file."),
        ({"MVTRACE_API_KEY": "short"}, {}, "MVTRACE_API_KEY is '***'; a key is 16 to 4096 printable ASCII characters."),
        ({"MVTRACE_MAX_BODY_MIB": "-1"}, {}, "MVTRACE_MAX_BODY_MIB is '-1'; it must be a positive number."),
        ({"MVTRACE_INBOX_RETENTION_HOURS": "nan"}, {}, "MVTRACE_INBOX_RETENTION_HOURS is 'nan'; it must be a positive number."),
        ({"MVTRACE_MAX_INFLATED_MIB": "much"}, {}, "MVTRACE_MAX_INFLATED_MIB is 'much'; it must be a positive number."),
    ],
)  # fmt: skip
def test_wrong_values_are_told_at_once(
    environ: dict[str, str], given: dict[str, object], message: str
) -> None:
    """
    A value that cannot be is refused with the key that set it and what is right.
    """
    with pytest.raises(ConfigurationError) as caught:
        config_of(environ, **given)

    assert caught.value.message == message


def test_secrets_are_not_shown() -> None:
    """
    Neither the key nor the password of the store is in repr or in the shown address.
    """
    config = config_of(
        {"MVTRACE_API_KEY": KEY}, store="clickhouse://u:secret@db:8123/mvtrace", data="/data"
    )

    assert KEY not in repr(config)
    assert "secret" not in repr(config) + config.shown_store
    assert config.shown_store == "clickhouse://u@db:8123/mvtrace"
