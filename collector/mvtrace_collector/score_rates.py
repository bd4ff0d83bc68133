"""How fast who may only score may do so: a token bucket a key, and one an address.

In: a key's id, the address of a client, a number of scores. Out: nothing, or a TooManyScoresError
that says when to come again. A key that a page hands out is in everybody's hands. Memory is
bounded: of more buckets than MAX_BUCKETS the one longest unused is forgotten, which means full
again; the key's own bucket still holds then. IPv6 clients count by /64: whoever has one address has
the whole of it.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mvtrace_collector.errors import TooManyScoresError

MAX_BUCKETS: Final = 10_000
ADDRESS_A_MINUTE: Final = 60.0
KEY_A_MINUTE: Final = 6_000.0
_IPV6_NETWORK: Final = 64


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Buckets:
    """Buckets of one size by name; thread-safe.

    One holds what a minute gives, and is refilled evenly: over any time at most a minute's tokens
    and those of that time are taken.
    """

    def __init__(self, a_minute: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._size = a_minute
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, number: int) -> float:
        """Take *number* tokens, at most a full bucket's; return 0, or the seconds to wait.

        Where one has to wait nothing is taken.
        """
        wanted = min(float(number), self._size)
        with self._lock:
            now = self._monotonic()
            bucket = self._buckets.pop(name, None) or _Bucket(self._size, now)
            self._buckets[name] = bucket
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
            refilled = (now - bucket.filled_at) * self._size / 60
            bucket.tokens, bucket.filled_at = min(self._size, bucket.tokens + refilled), now
            if wanted > bucket.tokens:
                return (wanted - bucket.tokens) * 60 / self._size
            bucket.tokens -= wanted
            return 0.0


class ScoreRates:
    """The rates of one collector."""

    def __init__(
        self, *, address_a_minute: float = ADDRESS_A_MINUTE, key_a_minute: float = KEY_A_MINUTE
    ) -> None:
        self.addresses = Buckets(address_a_minute)
        self.keys = Buckets(key_a_minute)

    def take_for_address(self, address: str) -> None:
        """Count one score from a client.

        Raises:
            TooManyScoresError: it sends too many.
        """
        _check("address", self.addresses.take(_network(address), 1))

    def take_for_key(self, key_id: str, number: int) -> None:
        """Count *number* scores under a key.

        Raises:
            TooManyScoresError: there are too many.
        """
        _check("key", self.keys.take(key_id, number))


def _check(whose: str, wait_s: float) -> None:
    if wait_s > 0:
        raise TooManyScoresError(whose, math.ceil(wait_s))


def _network(address: str) -> str:
    """Return what an address counts as."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:  # noqa: PLR2004 (of IP)
        return address
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))
