"""TracingConfig: the environment, arguments, OpenTelemetry's variables, and every refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvtrace.config import TracingConfig, default_spool_dir
from mvtrace.errors import ConfigurationError

KEY = "0123456789abcdef"


def test_every_variable(tmp_path: Path) -> None:
    """
    Each MVTRACE_* variable sets its field.
    """
    environ = {
        "MVTRACE_URL": "https://collector.internal:4318/",
        "MVTRACE_API_KEY": "mvt_a_b",
        "MVTRACE_SERVICE": "answers",
        "MVTRACE_ENVIRONMENT": "production",
        "MVTRACE_PROJECT": "support",
        "MVTRACE_SPOOL_DIR": str(tmp_path),
        "MVTRACE_SPOOL_MAX_BYTES": "1048576",
        "MVTRACE_SPOOL_MIN_FREE_BYTES": "0",
        "MVTRACE_CONTENT": "digest",
        "MVTRACE_DIGEST_KEY": KEY,
        "MVTRACE_PROPAGATE_TO": "API.internal, *.svc:8080",
        "MVTRACE_TRUST_INCOMING": "true",
        "MVTRACE_ARM": "canary",
        "MVTRACE_COMPOSITE": "app.system:system",
        "MVTRACE_SPAN_RATIO": "0.25",
        "MVTRACE_SLOW_MS": "1500",
        "MVTRACE_SET_GLOBAL": "yes",
        "MVTRACE_REGISTER_CONTENT": "off",
        "MVTRACE_DISABLED": "1",
        "MVTRACE_EXIT_GRACE_S": "0.5",
    }

    assert TracingConfig.from_environ(environ) == TracingConfig(
        url="https://collector.internal:4318",
        api_key="mvt_a_b",
        service="answers",
        environment="production",
        project="support",
        spool_dir=tmp_path,
        spool_max_bytes=1048576,
        spool_min_free_bytes=0,
        digest_key=KEY,
        propagate_to=("api.internal", "*.svc:8080"),
        trust_incoming=True,
        arm="canary",
        composite="app.system:system",
        span_ratio=0.25,
        slow_ms=1500.0,
        set_global=True,
        register_content=False,
        disabled=True,
        exit_grace_s=0.5,
    )


def test_defaults(tmp_path: Path) -> None:
    """
    Without variables the collector is local, content stays away and nothing is made global.
    """
    config = TracingConfig.from_environ({"HOME": str(tmp_path)})

    assert config == TracingConfig(spool_dir=tmp_path / ".local/state/mvtrace/spool")
    assert config.url == "http://127.0.0.1:4318"
    assert (config.content, config.set_global, config.trust_incoming) == ("digest", False, None)


def test_opentelemetrys_variables_are_honoured() -> None:
    """
    Where OpenTelemetry defines a variable it is read, and ours wins over it.
    """
    environ = {
        "OTEL_SERVICE_NAME": "otel-name",
        "OTEL_RESOURCE_ATTRIBUTES": (
            "service.name=less,deployment.environment.name=staging,"
            "service.version=1.2,mvtrace.project=p,team=a%20b,broken"
        ),
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318/base/",
        "OTEL_EXPORTER_OTLP_HEADERS": "X-Tenant=t%201,authorization=Basic%20x",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "10000",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_SDK_DISABLED": "true",
    }

    config = TracingConfig.from_environ(environ)
    ours = TracingConfig.from_environ(
        {**environ, "MVTRACE_URL": "http://ours:1", "MVTRACE_SERVICE": "ours"}
    )

    assert config.url == "http://otel:4318/base"
    assert config.headers == {"x-tenant": "t 1", "authorization": "Basic x"}
    assert (config.timeout_s, config.compression, config.disabled) == (60.0, "none", True)
    assert config.resource("instance") == {
        "team": "a b",
        "service.name": "otel-name",
        "service.version": "1.2",
        "service.instance.id": "instance",
        "deployment.environment.name": "staging",
        "mvtrace.project": "p",
    }
    assert (ours.url, ours.headers, ours.service) == ("http://ours:1", {}, "ours")
    assert (ours.timeout_s, ours.compression) == (10.0, "auto")


def test_grpc_endpoint_is_not_ours() -> None:
    """
    An endpoint for gRPC does not become the URL of an HTTP delivery.
    """
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }

    assert TracingConfig.from_environ(environ).url == "http://127.0.0.1:4318"


def test_arguments_win(tmp_path: Path) -> None:
    """
    An argument wins over the environment; None leaves it to the environment.
    """
    environ = {
        "MVTRACE_SERVICE": "environ",
        "MVTRACE_ARM": "canary",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret",
    }

    config = TracingConfig.from_environ(
        environ,
        service="argument",
        arm=None,
        url="http://c:1/",
        spool_dir=str(tmp_path),
        propagate_to="API",
    )

    assert (config.service, config.arm, config.url) == ("argument", "canary", "http://c:1")
    assert (config.spool_dir, config.propagate_to, config.headers) == (tmp_path, ("api",), {})


def test_secrets_are_not_shown() -> None:
    """
    The API key, the digest key and the headers are not in the text of a configuration.
    """
    config = TracingConfig(api_key="mvt_secret", digest_key=KEY, headers={"authorization": "s3"})

    assert "secret" not in repr(config)
    assert KEY not in repr(config)
    assert "s3" not in repr(config)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"MVTRACE_URL": "127.0.0.1:4318"},
            "MVTRACE_URL is '127.0.0.1:4318'; it is http://HOST[:PORT] or https://….",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "file:///x"},
            "OTEL_EXPORTER_OTLP_ENDPOINT is 'file:///x'; it is http://HOST[:PORT] or https://….",
        ),
        (
            {"MVTRACE_URL": "http://host:port"},
            "MVTRACE_URL is 'http://host:port'; it is http://HOST[:PORT] or https://….",
        ),
        (
            {"MVTRACE_URL": "http://user:password@host"},
            "MVTRACE_URL is 'http://***@host'; it is http://HOST[:PORT] or https://….",
        ),
        (
            {"MVTRACE_CONTENT": "plain"},
            "MVTRACE_CONTENT is 'plain'; it is digest, redacted or full.",
        ),
        (
            {"MVTRACE_CONTENT": "full"},
            "MVTRACE_CONTENT is 'full'; without MVTRACE_PAYLOAD_KEY nothing can be encrypted.",
        ),
        ({"MVTRACE_SPAN_RATIO": "1.5"}, "MVTRACE_SPAN_RATIO is 1.5; it is from 0 to 1."),
        ({"MVTRACE_SPAN_RATIO": "all"}, "MVTRACE_SPAN_RATIO is 'all'; it is a number."),
        ({"MVTRACE_SPAN_RATIO": "nan"}, "MVTRACE_SPAN_RATIO is nan; it is from 0 to 1."),
        ({"MVTRACE_SLOW_MS": "-1"}, "MVTRACE_SLOW_MS is -1.0; it is at least 0."),
        ({"MVTRACE_EXIT_GRACE_S": "900"}, "MVTRACE_EXIT_GRACE_S is 900.0; it is from 0 to 60."),
        ({"MVTRACE_SET_GLOBAL": "maybe"}, "MVTRACE_SET_GLOBAL is 'maybe'; it is true or false."),
        (
            {"MVTRACE_SPOOL_MAX_BYTES": "1 GB"},
            "MVTRACE_SPOOL_MAX_BYTES is '1 GB'; it is a whole number of bytes.",
        ),
        (
            {"MVTRACE_SPOOL_MAX_BYTES": "10"},
            "MVTRACE_SPOOL_MAX_BYTES is 10; it is at least 1.04858e+06.",
        ),
        (
            {"MVTRACE_DIGEST_KEY": "short"},
            "MVTRACE_DIGEST_KEY is '*****'; it needs at least 16 characters.",
        ),
        (
            {"MVTRACE_API_KEY": "a b"},
            "MVTRACE_API_KEY is '***'; it has visible ASCII characters only, and no space.",
        ),
        (
            {"MVTRACE_PROPAGATE_TO": "http://api"},
            "MVTRACE_PROPAGATE_TO is 'http://api'; an entry is a host, host:port or *.domain.",
        ),
        (
            {"MVTRACE_ARM": "a b"},
            "MVTRACE_ARM is 'a b'; it has letters, digits, '_', '.', '-', 128 at most.",
        ),
        (
            {"MVTRACE_PROJECT": "/"},
            "MVTRACE_PROJECT is '/'; it has lower-case letters, digits, '_', '-', 63 at most.",
        ),
        (
            {"MVTRACE_COMPOSITE": "system"},
            "MVTRACE_COMPOSITE is 'system'; it is 'package.module:name'.",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TIMEOUT": "0"},
            "OTEL_EXPORTER_OTLP_TIMEOUT is 0.0; it is from 0.001 to 60.",
        ),
        (
            {"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"},
            "OTEL_EXPORTER_OTLP_COMPRESSION is 'zstd'; it is gzip or none.",
        ),
    ],
)
def test_value_that_cannot_be(environ: dict[str, str], message: str) -> None:
    """
    A wrong value is told at once, with the variable that set it and what holds.
    """
    with pytest.raises(ConfigurationError) as caught:
        TracingConfig.from_environ(environ)

    assert caught.value.message == message


def test_argument_that_cannot_be() -> None:
    """
    A wrong argument is told by its name, and an unknown one with those that exist.
    """
    with pytest.raises(ConfigurationError, match=r"^span_ratio is 2; it is from 0 to 1\.$"):
        TracingConfig.from_environ({"MVTRACE_SPAN_RATIO": "0.5"}, span_ratio=2)
    with pytest.raises(ConfigurationError, match=r"^colour is 'red'; known options are api_key, "):
        TracingConfig.from_environ({}, colour="red")


def test_spool_follows_xdg(tmp_path: Path) -> None:
    """
    The spool is below XDG_STATE_HOME, else below the home.
    """
    state, home = str(tmp_path / "state"), str(tmp_path / "home")

    assert default_spool_dir({"XDG_STATE_HOME": state, "HOME": home}) == Path(
        state, "mvtrace/spool"
    )
    assert default_spool_dir({"HOME": home}) == Path(home, ".local/state/mvtrace/spool")


def test_spool_without_a_home() -> None:
    """
    Without a home the spool is below the temporary files, in a directory of this user.
    """
    found = default_spool_dir({})

    assert found.name == "spool"
    assert found.parent.name.startswith("mvtrace-")
