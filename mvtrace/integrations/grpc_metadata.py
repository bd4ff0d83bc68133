"""Where a gRPC call goes, and what its metadata says.

In: a channel's target as gRPC names it, and pairs of metadata. Out: hosts, and pairs that tell the
called service which request calls, where that may be known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mvtrace.capture.outgoing import BAGGAGE, TRACEPARENT, changes, texts
from mvtrace.integrations.hooks import Installed

LIBRARY: Final = "grpc"
Metadata = tuple[tuple[str, Any], ...]

_LOCAL: Final = ("unix", "unix-abstract", "vsock")
"""Targets that do not leave the machine."""


def install() -> tuple[Installed, ...]:
    """Wrap what makes channels."""
    from mvtrace.integrations import grpc_client  # noqa: PLC0415 (imports the library)

    return grpc_client.hooks()


def receivers(target: str) -> tuple[str, ...]:
    """Return the hosts that a channel to *target* (``dns:///a:1``, ``ipv4:a,b``) may talk to."""
    scheme, colon, rest = target.partition(":")
    if scheme in _LOCAL and colon:
        return ("localhost",)
    if "://" in target:
        rest = target.partition("://")[2].partition("/")[2]
    elif scheme not in ("dns", "ipv4", "ipv6", "xds", "passthrough"):
        rest = target
    return tuple(f"//{_bracketed(one, scheme)}" for one in rest.strip("/").split(","))


def _bracketed(address: str, scheme: str) -> str:
    is_bare = scheme == "ipv6" and not address.startswith("[")
    return f"[{address}]" if is_bare else address


def metadata_for(hosts: Iterable[str], metadata: Iterable[Any] | None) -> Metadata | None:
    """Return *metadata* with who calls in it; None where nothing changes."""
    given = tuple((str(key), value) for key, value in metadata or ())
    found = changes(
        hosts,
        texts(value for key, value in given if key.lower() == BAGGAGE),
        is_traced=any(key.lower() == TRACEPARENT for key, _ in given),
    )
    if not found:
        return None
    kept = tuple(pair for pair in given if pair[0].lower() not in found)
    said = tuple((name, value) for name, value in found.items() if value is not None)
    return kept + said
