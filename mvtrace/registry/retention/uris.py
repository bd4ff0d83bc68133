"""Where bytes lie: a URI read strictly, so that one place has one name. Pure.

In: the text of a URI. Out: a :class:`Where`, comparable with others. Refused is everything that
could mean another place than it says: relative paths, ``..``, chained protocols, unknown schemes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, Self
from urllib.parse import unquote

SAME: Final = {
    **dict.fromkeys(("gcs",), "gs"),
    **dict.fromkeys(("s3a", "s3n"), "s3"),
    **dict.fromkeys(("az", "abfss", "wasb", "wasbs"), "abfs"),
}
"""Names of one scheme."""
SCHEMES: Final = ("file", "memory", "s3", "gs", "abfs", *SAME)
"""What is ever collected from."""
_URI: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL | re.IGNORECASE)
_ACCOUNT: Final = re.compile(r"^([^/@]+)@[^/]*")
"""Azure's ``container@account``: the account is the driver's to know, and no other place."""
_MAX_URI: Final = 4_096
_LOCAL_HOSTS: Final = ("", "localhost")


class Where(NamedTuple):
    """A place: *path* begins with a bucket or container, of a file with ``/``."""

    scheme: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Return the place that *uri* names; a path from ``/`` on is one of this host.

        Raises:
            ValueError: it names none that could be collected; the text says why.
        """
        if not (isinstance(uri, str) and uri.isprintable() and 0 < len(uri) <= _MAX_URI):
            raise ValueError("it is no printable text")
        found = _URI.fullmatch(uri)
        if found is None and not uri.startswith("/"):
            raise ValueError("it is neither a URI nor a path from / on")
        scheme, rest = (found[1].lower(), found[2]) if found else ("file", uri)
        scheme = SAME.get(scheme, scheme)
        if scheme not in SCHEMES:
            raise ValueError(f"nothing is collected from {scheme}://")
        if scheme == "file" and found:
            rest = _local_path(rest)
        if scheme == "abfs":
            rest = _ACCOUNT.sub(r"\1", rest)
        return cls(scheme, _checked(scheme, rest))

    def ancestors(self) -> Iterator[Where]:
        """Yield the folders that it lies in, the nearest first."""
        path = self.path
        while (cut := path.rfind("/")) > 0:
            path = path[:cut]
            yield Where(self.scheme, path)

    def overlaps(self, other: Where) -> bool:
        """Whether one of both is the other, or lies within it."""
        return self == other or self.is_below(other) or other.is_below(self)

    def is_below(self, root: Where) -> bool:
        """Whether it lies within *root*, and is not *root* itself."""
        return self.scheme == root.scheme and self.path.startswith(root.path + "/")


def _local_path(rest: str) -> str:
    host, slash, path = rest.partition("/")
    if host not in _LOCAL_HOSTS or not slash:
        raise ValueError("it is a file of another host, or has no path from / on")
    decoded = unquote("/" + path, errors="strict")
    if not decoded.isprintable():
        raise ValueError("its path is no printable text")
    return decoded


def _checked(scheme: str, path: str) -> str:
    """Return *path* without a last slash; raises ValueError where it is ambiguous."""
    path = path.removesuffix("/")
    if scheme == "memory":
        path = "/" + path.removeprefix("/")
    parts = path.removeprefix("/").split("/")
    if not all(parts):
        raise ValueError("its path has an empty step, or none")
    if any(part in (".", "..") for part in parts):
        raise ValueError("its path has a step . or ..")
    if "::" in path or "\\" in path:
        raise ValueError("its path has :: or a backslash")
    if scheme != "file" and any(sign in path for sign in "*?[]#"):
        raise ValueError("its path has a sign of patterns")
    return path
