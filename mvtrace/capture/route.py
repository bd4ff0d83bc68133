"""The route template of a request, as the framework that routed it knows it.

In: the ASGI scope after routing (Starlette and FastAPI write ``route``, ``root_path`` and
``path_params`` into it). Out: ``/users/{id}``, or None where nobody routed: the path itself is then
on the record, since an unbounded path is no route.
"""

from __future__ import annotations

from typing import Final

from mvtrace.capture.asgi import Scope

MAX_ROUTE: Final = 512


def route_of(scope: Scope) -> str | None:
    """Return the template that *scope* was routed by, with the prefix of its mounts."""
    route = scope.get("route")
    path = getattr(route, "path", None)
    if not isinstance(path, str):
        return None
    prefix = _mounted_at(scope)
    if hasattr(route, "routes"):  # a mount whose application does not say how it routes
        return (prefix or path or "/")[:MAX_ROUTE]
    return (prefix + path)[:MAX_ROUTE]


def _mounted_at(scope: Scope) -> str:
    """Return what mounts put before the route, path parameters as their names."""
    if "app_root_path" not in scope:
        return ""
    prefix: str = scope.get("root_path", "").removeprefix(scope["app_root_path"])
    if not prefix:
        return ""
    names = {str(value): name for name, value in scope.get("path_params", {}).items()}
    return "/".join(f"{{{names[part]}}}" if part in names else part for part in prefix.split("/"))
