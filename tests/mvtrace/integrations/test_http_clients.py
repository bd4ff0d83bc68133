"""HTTP clients tell an allowed service which request calls it, and tell nobody else."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from captured import Captured
from captured_table import record
from echoing import Echo, echoing

import mvtrace
from mvtrace.ids import UUID7_PATTERN

ALLOWED = "127.0.0.1"
OTHER = "localhost"
STALE = "mvtrace.request.id=01900000-0000-7000-8000-000000000000"

Headers = dict[str, str]


def _httpx(url: str, headers: Headers) -> Headers:
    import httpx

    with httpx.Client(follow_redirects=True) as client:
        return dict(client.get(url, headers=headers).json())


def _httpx_async(url: str, headers: Headers) -> Headers:
    import httpx

    async def get() -> Headers:
        async with httpx.AsyncClient(follow_redirects=True) as client:
            return dict((await client.get(url, headers=headers)).json())

    return asyncio.run(get())


def _httpx2(url: str, headers: Headers) -> Headers:
    import httpx2

    with httpx2.Client(follow_redirects=True) as client:
        return dict(client.get(url, headers=headers).json())


def _httpx2_async(url: str, headers: Headers) -> Headers:
    import httpx2

    async def get() -> Headers:
        async with httpx2.AsyncClient(follow_redirects=True) as client:
            return dict((await client.get(url, headers=headers)).json())

    return asyncio.run(get())


def _requests(url: str, headers: Headers) -> Headers:
    import requests

    with requests.Session() as session:
        return dict(session.get(url, headers=headers).json())


def _urllib3(url: str, headers: Headers) -> Headers:
    import urllib3

    with urllib3.PoolManager() as pool:
        return dict(pool.request("GET", url, headers=headers).json())


def _aiohttp(url: str, headers: Headers) -> Headers:
    import aiohttp

    async def get() -> Headers:
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
            return dict(await reply.json())

    return asyncio.run(get())


class Client(NamedTuple):
    """A library, and how it is asked for what the server was told."""

    library: str
    get: Callable[[str, Headers], Headers]


CLIENTS = {
    "httpx": Client("httpx", _httpx),
    "httpx-async": Client("httpx", _httpx_async),
    "httpx2": Client("httpx2", _httpx2),
    "httpx2-async": Client("httpx2", _httpx2_async),
    "requests": Client("requests", _requests),
    "urllib3": Client("urllib3", _urllib3),
    "aiohttp": Client("aiohttp", _aiohttp),
}


@pytest.fixture(scope="module")
def echo_server() -> Iterator[Echo]:
    with echoing() as server:
        yield server


@pytest.fixture
def echo(echo_server: Echo) -> Echo:
    """A server that has redirected nothing yet."""
    echo_server.hops.clear()
    return echo_server


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.services if name == "aiohttp" else ())
        for name in CLIENTS
    ]
)
def client(request: pytest.FixtureRequest) -> Client:
    """One client after the other, of those that are installed."""
    found = CLIENTS[request.param]
    pytest.importorskip(found.library)
    return found


@pytest.fixture
def telling(captured: Captured) -> Iterator[Captured]:
    """Tracing that may tell one host who calls, with the clients observed."""
    config = captured.tracing.config
    captured.tracing = mvtrace.configure(
        service="shop", url=config.url, spool_dir=config.spool_dir, propagate_to=[ALLOWED]
    )
    mvtrace.instrument()
    yield captured
    mvtrace.uninstrument()
    captured.tracing.shutdown()


SYSTEM = mvtrace.composite("shop", mvtrace.sampling("default", temperature=0.5))


def members(headers: Headers) -> dict[str, str]:
    pairs = (one.partition("=") for one in headers.get("baggage", "").split(",") if one)
    return {key.strip(): unquote(value) for key, _, value in pairs}


def test_an_allowed_host_is_told(client: Client, telling: Captured, echo: Echo) -> None:
    """
    A host that may know is told request, version and arm, and continues the trace.
    """
    with mvtrace.request(route="r", composite=SYSTEM, arm="canary") as work:
        said = client.get(echo.url(ALLOWED), {"x-own": "1"})

    assert members(said) == {
        "mvtrace.request.id": work.request_id,
        "mvtrace.composite.version": SYSTEM.version,
        "mvtrace.arm": "canary",
    }
    assert said["traceparent"].split("-")[1] == telling.record.trace_id
    assert said["x-own"] == "1"
    record(
        client.library,
        importlib.metadata.version(client.library),
        ["tells allowed services which request calls them"],
    )


def test_another_host_is_told_nothing(client: Client, telling: Captured, echo: Echo) -> None:
    """
    To a host that is not named nothing of ours goes, not even what our own caller said.
    """
    with mvtrace.request(route="r", composite=SYSTEM):
        plain = client.get(echo.url(OTHER), {})
        passed_on = client.get(echo.url(OTHER), {"baggage": f"user=7,{STALE}"})

    assert {"baggage", "traceparent"} & plain.keys() == set()
    assert passed_on["baggage"] == "user=7"


def test_baggage_of_the_application_stays(client: Client, telling: Captured, echo: Echo) -> None:
    """
    The application's own members and trace are kept beside ours, and its headers are not touched.
    """
    headers = {"Baggage": f"user=7;p=1,{STALE}", "TraceParent": "00-" + "a" * 32 + "-1-01"}
    before = dict(headers)

    with mvtrace.request(route="r") as work:
        said = client.get(echo.url(ALLOWED), headers)

    assert members(said) == {"mvtrace.request.id": work.request_id, "user": "7;p=1"}
    assert said["traceparent"] == headers["TraceParent"]
    assert headers == before


def test_outside_of_a_request(client: Client, telling: Captured, echo: Echo) -> None:
    """
    Without a request nothing is said, whoever is called.
    """
    said = client.get(echo.url(ALLOWED), {})

    assert {"baggage", "traceparent"} & said.keys() == set()


@pytest.mark.parametrize(("first", "then"), [(ALLOWED, OTHER), (OTHER, ALLOWED)])
def test_redirects(client: Client, telling: Captured, echo: Echo, first: str, then: str) -> None:
    """
    Where a redirect leads to another host, each of the two is told what it may know.
    """
    with mvtrace.request(route="r") as work:
        last = client.get(echo.url(first, redirect_to=echo.url(then)), {})

    told = {first: members(echo.hops[0]), then: members(last)}
    assert told == {ALLOWED: {"mvtrace.request.id": work.request_id}, OTHER: {}}


def test_left_alone_again(client: Client, telling: Captured, echo: Echo) -> None:
    """
    After uninstrument() nothing is said any more.
    """
    mvtrace.uninstrument()

    with mvtrace.request(route="r"):
        said = client.get(echo.url(ALLOWED), {})

    assert {"baggage", "traceparent"} & said.keys() == set()


def test_a_failure_of_ours_is_none_of_theirs(
    client: Client, telling: Captured, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where telling fails the call goes on as it was, and the failure is counted.
    """

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    module = importlib.import_module("mvtrace.integrations.http_clients")
    for name in ("changes", "changed_pairs"):
        monkeypatch.setattr(module, name, broken)
    before = telling.tracing.stats()["capture_errors"]

    with mvtrace.request(route="r"):
        said = client.get(echo.url(ALLOWED), {"x-own": "1"})

    assert said["x-own"] == "1"
    assert "baggage" not in said
    assert telling.tracing.stats()["capture_errors"] == before + 1


def test_through_a_proxy(telling: Captured, echo: Echo) -> None:
    """
    A proxy passes on what the host behind it may know: its own host decides nothing.
    """
    urllib3 = pytest.importorskip("urllib3")
    with urllib3.ProxyManager(echo.url(ALLOWED)) as pool, mvtrace.request(route="r") as work:
        hidden = dict(pool.request("GET", "http://provider.invalid/x").json())
    config = telling.tracing.config
    telling.tracing = mvtrace.configure(
        url=config.url, spool_dir=config.spool_dir, propagate_to=["called.invalid"]
    )
    with urllib3.ProxyManager(echo.url(ALLOWED)) as pool, mvtrace.request(route="r") as work:
        told = dict(pool.request("GET", "http://called.invalid/x").json())

    assert "baggage" not in hidden
    assert members(told)["mvtrace.request.id"] == work.request_id
    telling.tracing.shutdown()


def carried(carrier: Any) -> Any:
    return mvtrace.inject(carrier, "kafka://queue.internal:9092")


def test_any_carrier(captured: Captured) -> None:
    """
    Headers of a queue are filled in their own form, mappings with text and pairs with bytes.
    """
    config = captured.tracing.config
    captured.tracing = mvtrace.configure(
        url=config.url, spool_dir=config.spool_dir, propagate_to=["queue.internal:9092"]
    )
    pairs: list[tuple[str, bytes]] = [("baggage", f"a=b,{STALE}".encode()), ("x", b"1")]
    named = {"X": "1"}

    with mvtrace.request(route="r") as work:
        assert carried(pairs) is pairs
        assert carried(named) is named
        elsewhere = mvtrace.inject({"baggage": STALE}, "other.internal:9092")

    own = f"mvtrace.request.id={work.request_id}"
    assert named.keys() == {"X", "baggage", "traceparent"}
    assert dict(pairs)["baggage"] == f"{own},a=b".encode()
    assert dict(pairs)["x"] == b"1"
    assert dict(pairs)["traceparent"].count(b"-") == 3
    assert elsewhere == {}
    assert UUID7_PATTERN.fullmatch(str(work.request_id))
    captured.tracing.shutdown()


def test_a_carrier_that_is_none(captured: Captured) -> None:
    """
    What cannot carry headers is given back as it is, and the application is not disturbed.
    """
    broken: Any = [("only a name",), 7]
    before = captured.tracing.stats()["capture_errors"]

    with mvtrace.request(route="r"):
        assert mvtrace.inject(broken, "queue:1") is broken
        assert mvtrace.inject(None, "queue:1") is None  # type: ignore[type-var]

    assert captured.tracing.stats()["capture_errors"] == before + 1
