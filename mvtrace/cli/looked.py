"""What is left of a version's artifacts: by their tombstones, and as seen from this host.

In: the artifacts of a decision as the collector tells them. Out: which no longer exist, which are
not found where they were registered, and which could not be looked at, in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mvtrace.cli.inert import inert
from mvtrace.cli.words import plural, time_words
from mvtrace.errors import MvtraceError
from mvtrace.registry.retention.places import Storage
from mvtrace.registry.retention.uris import Where


class Looked:
    """What became of a version's artifacts: by their tombstones, and as seen from this host."""

    def __init__(self, artifacts: Sequence[Mapping[str, Any]], *, left_out: int = 0) -> None:
        self.left_out = left_out
        self.gone = [one for one in artifacts if one["is_gone"]]
        self.absent: list[tuple[Mapping[str, Any], str]] = []
        self.unseen: list[tuple[Mapping[str, Any], str]] = []
        self.seen = 0
        for one in artifacts:
            if not one["is_gone"]:
                self._look(one)

    def _look(self, artifact: Mapping[str, Any]) -> None:
        """Look for the bytes where they were registered, until they are found."""
        living = [place["uri"] for place in artifact["places"] if place["collected"] is None]
        problems = []
        for uri in living:
            try:
                if _exists(Where.parse(uri)):
                    self.seen += 1
                    return
            except (MvtraceError, ValueError, OSError) as error:
                problems.append(f"{uri} ({error})")
            except Exception as error:  # noqa: BLE001 (drivers of storages raise what they like)
                problems.append(f"{uri} ({type(error).__name__}: {error})")
        if problems:
            self.unseen.append((artifact, "; ".join(problems)))
        else:
            self.absent.append((artifact, "; ".join(living)))

    def to_dict(self) -> dict[str, Any]:
        """Return the digests of what was found, and of what was not, as plain JSON values."""
        return {
            "seen": self.seen,
            "gone": [one["artifact"] for one in self.gone],
            "absent": [one["artifact"] for one, _ in self.absent],
            "not_looked_at": [one["artifact"] for one, _ in self.unseen],
        }

    def words(self) -> str:
        """Return which artifacts no longer exist, as far as is known here."""
        lines = [*self._gone_words()]
        lines += [
            f"not found from here: artifact {one['artifact'][:12]} at {inert(where)}"
            for one, where in self.absent
        ]
        lines += [
            f"not looked at: artifact {one['artifact'][:12]} at {inert(why)}"
            for one, why in self.unseen
        ]
        if self.left_out:
            lines.append(f"not told: {plural(self.left_out, 'artifact')} more of it.")
        if self.seen and not lines:
            lines = [f"{plural(self.seen, 'artifact')} of it found where registered."]
        return "".join(f"{line}\n" for line in lines)

    def _gone_words(self) -> Iterator[str]:
        for one in self.gone:
            for place in one["places"]:
                stone = place["collected"]
                yield (
                    f"no longer exists: artifact {one['artifact'][:12]} from {inert(place['uri'])} "
                    f"({place['bytes']:,} bytes), collected {time_words(stone['at'])} by "
                    f"{inert(stone['actor_label'] or stone['actor'])}: {inert(stone['reason'])}"
                )


def _exists(where: Where) -> bool:
    """Whether anything is at *where*; raises what the storage raises where it does not say."""
    if where.scheme == "file":
        return Path(where.path).exists()
    return Storage(()).exists(where)
