"""Delivery over TLS: to a collector whose certificate is trusted, and never to another."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from sink import Sink

from mvtrace.capture.pipeline import Tracing
from mvtrace.config import TracingConfig
from mvtrace.errors import ConfigurationError
from mvtrace.otlp import FinishedSpan


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def sink(authority: trustme.CA) -> Iterator[Sink]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with Sink(tls=tls) as running:
        yield running


def pem(authority: trustme.CA, folder: Path) -> Path:
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def deliver(url: str, root: Path, environ: dict[str, str], timeout_s: float) -> bool:
    config = TracingConfig.from_environ(
        {"HOME": str(root), **environ}, url=url, spool_dir=root / "spool", spool_min_free_bytes=0
    )
    tracing = Tracing(config)
    tracing.emit_spans([FinishedSpan(b"t" * 16, b"s" * 8, b"", "one", 1, 1, 2, {})])
    arrived = tracing.flush(timeout_s)
    tracing.shutdown()
    return arrived


@pytest.mark.parametrize("variable", ["MVTRACE_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"])
def test_private_authority_is_trusted_where_it_is_named(
    sink: Sink, authority: trustme.CA, tmp_path: Path, variable: str
) -> None:
    """
    A certificate signed by the named authority is accepted, whichever variable names it.
    """
    assert deliver(sink.url, tmp_path, {variable: str(pem(authority, tmp_path))}, 10)

    assert [span.name for span in sink.spans] == ["one"]


def test_unknown_certificate_gets_nothing(sink: Sink, tmp_path: Path) -> None:
    """
    Nothing is sent to a collector whose certificate nobody trusted signed; the data stays spooled.
    """
    other = trustme.CA()

    arrived = deliver(sink.url, tmp_path, {"MVTRACE_CERTIFICATE": str(pem(other, tmp_path))}, 1)

    assert not arrived
    assert sink.deliveries == []
    assert [path for path in (tmp_path / "spool").rglob("*") if path.suffix == ".seg"] != []


def test_missing_certificate_file_is_told_at_once(tmp_path: Path) -> None:
    """
    A certificate that is not there fails the configuration, not each delivery.
    """
    with pytest.raises(ConfigurationError, match=r"nowhere\.pem"):
        TracingConfig(certificate=tmp_path / "nowhere.pem")
