"""HTTP clients: a service that we call, and that may know, is told which request calls it.

In: what ``httpx`` (by httpcore), ``requests`` (by urllib3), urllib3 and aiohttp are about to send
at the one public function of each that sees every single hop: below redirects, and mostly below
OpenTelemetry's instrumentations. Out: ``baggage`` and ``traceparent`` on that hop alone.
What an application sees of its request does not change, and no redirect takes it to another host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mvtrace.capture.outgoing import BAGGAGE, TRACEPARENT, changed_pairs, changes, texts
from mvtrace.integrations.hooks import ArgumentsHook, Hook

HTTPX: Final = "httpx"
HTTPX2: Final = "httpx2"
URLLIB3: Final = "urllib3"
AIOHTTP: Final = "aiohttp"
MODULES: Final = {HTTPX: "httpcore", HTTPX2: "httpcore2"}
"""Clients, and the module that sends for them."""


def install_httpx() -> tuple[Hook, ...]:
    """Wrap the connection pools, with and without proxies."""
    import httpcore  # noqa: PLC0415 (only where it is installed)

    return _pools(httpcore)


def install_httpx2() -> tuple[Hook, ...]:
    """Wrap the connection pools of the second generation."""
    import httpcore2  # noqa: PLC0415 (only where it is installed)

    return _pools(httpcore2)


def _pools(library: Any) -> tuple[Hook, ...]:
    return (
        Hook(library.ConnectionPool, "handle_request", begin_httpcore),
        Hook(library.AsyncConnectionPool, "handle_async_request", begin_httpcore),
    )


def begin_httpcore(_: object, request: Any) -> None:
    """Change the headers of *request*, which its client made for this hop alone."""
    url = request.url
    place = _authority(url.host.decode("latin-1"), url.port)
    headers = changed_pairs(request.headers, f"{url.scheme.decode('latin-1')}://{place}")
    if headers is not None:
        request.headers = headers


def install_urllib3() -> tuple[Hook, ...]:
    """Wrap the pools of connections to one host."""
    import urllib3  # noqa: PLC0415 (only where it is installed)

    def begin(pool: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any] | None:
        return arguments_of_urlopen(urllib3.util.parse_url, pool, args, kwargs)

    return (ArgumentsHook(urllib3.HTTPConnectionPool, "urlopen", begin),)


_URL: Final = 1
_HEADERS: Final = 3
"""Places of ``urlopen(method, url, body, headers, …)``."""


def arguments_of_urlopen(
    parse_url: Callable[[str], Any], pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Return what to call ``urlopen`` with instead; None where nothing changes."""
    url = args[_URL] if len(args) > _URL else kwargs.get("url", "")
    scheme, host, port = pool.scheme, pool.host, pool.port
    if url.startswith(("http://", "https://")):  # passed on by a proxy, which the pool is of
        parsed = parse_url(url)
        scheme, host, port = parsed.scheme, parsed.host or "", parsed.port
    has_place = len(args) > _HEADERS
    given = args[_HEADERS] if has_place else kwargs.get("headers")
    headers = changed(
        pool.headers if given is None else given, f"{scheme}://{_authority(host, port)}"
    )
    if headers is None:
        return None
    if has_place:
        return (pool, *args[:_HEADERS], headers, *args[_HEADERS + 1 :]), kwargs
    return (pool, *args), {**kwargs, "headers": headers}


def changed(headers: Mapping[str, Any], *receivers: str) -> Any:
    """Return a copy of *headers* for *receivers*; None where nothing changes."""
    names = {_text(name).lower(): name for name in headers}
    found = changes(
        receivers,
        texts([headers[names[BAGGAGE]]] if BAGGAGE in names else ()),
        is_traced=TRACEPARENT in names,
    )
    if not found:
        return None
    copy: Any = headers.copy() if hasattr(headers, "copy") else dict(headers)
    for name, value in found.items():
        if name in names:
            del copy[names[name]]
        if value is not None:
            copy[name] = value
    return copy


def install_aiohttp() -> tuple[Hook, ...]:
    """Wrap the sending of one hop."""
    import aiohttp  # noqa: PLC0415 (only where it is installed)

    return (Hook(aiohttp.ClientRequest, "send", begin_aiohttp),)


def begin_aiohttp(request: Any, *_: object) -> None:
    """Change the headers of *request*, which is made anew for every hop."""
    url, headers = request.url, request.headers
    found = changes(
        [f"{url.scheme}://{_authority(url.raw_host or '', url.port)}"],
        headers.getall(BAGGAGE, []),
        is_traced=TRACEPARENT in headers,
    )
    for name, value in (found or {}).items():
        headers.popall(name, None)
        if value is not None:
            headers[name] = value


def _authority(host: str, port: int | None) -> str:
    bare = host.strip("[]")
    named = f"[{bare}]" if ":" in bare else bare
    return named if port is None else f"{named}:{port}"


def _text(name: object) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)
