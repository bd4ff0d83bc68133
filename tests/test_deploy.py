"""What stands in ``deploy/``, held against the code that it starts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from mvtrace.errors import ConfigurationError
from mvtrace.store.dsn import parse_dsn
from mvtrace_collector import health
from mvtrace_collector.config import CollectorConfig

ROOT = Path(__file__).resolve().parent.parent
SECRETS = {"MVTRACE_CLICKHOUSE_PASSWORD": "p" * 16, "MVTRACE_API_KEY": "k" * 16}
VARIABLE = re.compile(r"\$\{([A-Z_]+):\?[^}]*\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file with its variables filled in."""
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    return dict(yaml.safe_load(VARIABLE.sub(lambda found: SECRETS[found[1]], text)))


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """The instructions of the collector's image, each on one line."""
    text = (ROOT / "deploy" / "collector.Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_every_variable_is_demanded() -> None:
    """
    A secret that is not set stops compose instead of becoming empty.
    """
    text = (ROOT / "deploy" / "compose.yaml").read_text()

    assert set(VARIABLE.findall(text)) == SECRETS.keys()
    assert text.count("${") == len(VARIABLE.findall(text))


def test_no_service_is_root(compose: dict[str, Any], dockerfile: list[str]) -> None:
    """
    Both services run as numbered users without capabilities, and the image does so by itself.
    """
    services = compose["services"].values()

    assert [one["user"] for one in services] == ["101:101", "10001:10001"]
    assert all(one["cap_drop"] == ["ALL"] for one in services)
    assert all("no-new-privileges:true" in one["security_opt"] for one in services)
    assert [line for line in dockerfile if line.startswith("USER")] == ["USER 10001:10001"]


def test_the_collector_understands_its_environment(compose: dict[str, Any]) -> None:
    """
    Every variable that is set is one the collector reads, together they are a configuration, and the
    network is not open by accident.
    """
    environ = compose["services"]["collector"]["environment"]
    source = (ROOT / "collector" / "mvtrace_collector" / "config.py").read_text()

    config = CollectorConfig.from_environ(environ=environ)

    assert [name for name in environ if f'"{name}"' not in source] == []
    assert (config.host, config.port) == ("0.0.0.0", 4318)
    assert config.inbox_dir.is_relative_to("/var/lib/mvtrace")
    with pytest.raises(ConfigurationError):
        CollectorConfig.from_environ(
            environ={name: environ[name] for name in environ if name != "MVTRACE_ALLOW_REMOTE"}
        )


def test_the_collector_finds_clickhouse(compose: dict[str, Any]) -> None:
    """
    The address of the store is the ClickHouse service, with the user and database it makes.
    """
    clickhouse = compose["services"]["clickhouse"]
    dsn = parse_dsn(compose["services"]["collector"]["environment"]["MVTRACE_STORE"])

    assert (dsn.kind, dsn.host) == ("server", "clickhouse")
    assert str(dsn.port) in clickhouse["expose"]
    assert dsn.username == clickhouse["environment"]["CLICKHOUSE_USER"]
    assert dsn.password == clickhouse["environment"]["CLICKHOUSE_PASSWORD"]
    assert dsn.database == clickhouse["environment"]["CLICKHOUSE_DB"]


def test_health_is_asked_where_it_is_answered(
    compose: dict[str, Any], dockerfile: list[str]
) -> None:
    """
    Health checks ask a route of the collector on its own port, and nobody waits for less.
    """
    collector = compose["services"]["collector"]
    port = collector["environment"]["MVTRACE_LISTEN"].rpartition(":")[2]
    paths = {route.path for route in health.routes(None)}  # type: ignore[arg-type]

    asked = re.findall(
        r"http://127\.0\.0\.1:(\d+)(/\w+)",
        " ".join([*collector["healthcheck"]["test"], *dockerfile]),
    )

    assert {found[0] for found in asked} == {port}
    assert {found[1] for found in asked} <= paths
    assert collector["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"EXPOSE {port}" in dockerfile
    assert collector["depends_on"]["clickhouse"]["condition"] == "service_healthy"


def test_data_is_on_volumes(compose: dict[str, Any], dockerfile: list[str]) -> None:
    """
    What has to survive a container lies on a named volume, owned by the user that writes it.
    """
    mounts = [mount.split(":") for one in compose["services"].values() for mount in one["volumes"]]

    assert {name for name, _ in mounts} == set(compose["volumes"])
    assert {"/var/lib/clickhouse", "/var/lib/mvtrace"} <= {path for _, path in mounts}
    assert any("--owner=10001" in line and "/var/lib/mvtrace" in line for line in dockerfile)


def test_the_image_is_built_from_what_there_is(dockerfile: list[str]) -> None:
    """
    Every copied path exists, the extras are the project's, and the module can be run.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    copied = [
        path
        for line in dockerfile
        if line.startswith("COPY") and "--from" not in line
        for path in line.split()[1:-1]
    ]

    assert [path for path in copied if not (ROOT / path).exists()] == []
    assert re.findall(r"\.\[([\w,]+)\]", " ".join(dockerfile)) == ["collector,quality"]
    assert {"collector", "quality"} <= project["optional-dependencies"].keys()
    assert (ROOT / "collector" / "mvtrace_collector" / "__main__.py").exists()
