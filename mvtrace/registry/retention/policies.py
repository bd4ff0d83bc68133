"""Reading a policy: a TOML table, or what a plan says of its own.

In: plain values. Out: a :class:`Policy`. Strict: what is not understood is refused, since a word
spelled wrong would collect what somebody meant to keep.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from mvtrace.registry.refs import Ref
from mvtrace.registry.retention.planning import roots_of
from mvtrace.registry.retention.uris import SAME, SCHEMES
from mvtrace.registry.retention.values import DAY_NS, Policy

TABLE: Final = "retention"
KEYS: Final = ("environments", "window", "roots", "keep", "costs")
_WINDOW: Final = re.compile(r"([0-9]{1,5})([hdw])")
_UNITS: Final = {"h": DAY_NS // 24, "d": DAY_NS, "w": 7 * DAY_NS}
_KEPT_KINDS: Final = ("artifact", "component", "composite")


def policy_text(text: str) -> Policy:
    """Return the policy that the table ``[retention]`` of a TOML file says.

    Raises:
        ValueError: it says none; the text says which key is wrong.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is no TOML: {error}") from error
    table = said.get(TABLE)
    if not isinstance(table, dict):
        raise ValueError(f"it has no table [{TABLE}]")  # noqa: TRY004 (of the input)
    if strays := sorted(set(table) - set(KEYS)):
        raise ValueError(f"{strays[0]!r} is no key of [{TABLE}]; keys are {', '.join(KEYS)}")
    given = dict(table)
    if "window" in given:
        given["window_s"] = window_ns(given.pop("window")) // 10**9
    return policy_of(given)


def policy_of(said: Mapping[str, Any]) -> Policy:
    """Return the policy of plain values, as ``Policy.to_dict`` gives them.

    Raises:
        ValueError: they are none.
    """
    default = Policy()
    window_s = said.get("window_s", default.window_ns // 10**9)
    if type(window_s) is not int or window_s < 0:
        raise ValueError("window is no number of seconds")
    environments = _texts(said, "environments", default.environments)
    policy = Policy(
        # Whoever names others, or spells one wrong, does not make all production expendable.
        environments=tuple(dict.fromkeys((*default.environments, *environments))),
        window_ns=window_s * 10**9,
        roots=_texts(said, "roots", ()),
        keep=_texts(said, "keep", ()),
        costs=_costs(said.get("costs", {})),
    )
    if not environments:
        raise ValueError("environments is empty: then nothing would count as production")
    roots_of(policy)
    for text in policy.keep:
        if Ref.parse(text).kind not in _KEPT_KINDS:
            raise ValueError(f"keep names {text!r}; it names {', '.join(_KEPT_KINDS)}")
    return policy


def window_ns(text: object) -> int:
    """Return the nanoseconds of 12h, 30d, 8w; raises ValueError."""
    found = _WINDOW.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"window is {text!r}; it is hours, days or weeks: 12h, 30d, 8w")
    return int(found[1]) * _UNITS[found[2]]


def cost_text(text: str) -> tuple[str, float]:
    """Return scheme and price of ``s3=0.023``; raises ValueError."""
    scheme, equals, price = text.partition("=")
    try:
        cost = float(price)
    except ValueError:
        equals = ""
        cost = 0.0
    if not equals:
        raise ValueError(f"{text!r} is no cost; a cost is SCHEME=PRICE, such as s3=0.023")
    return next(iter(_costs({scheme: cost}).items()))


def _texts(said: Mapping[str, Any], key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = said.get(key, list(default))
    if not (isinstance(value, list) and all(isinstance(one, str) and one for one in value)):
        raise ValueError(f"{key} is no list of texts")
    return tuple(value)


def _costs(said: object) -> dict[str, float]:
    if not isinstance(said, dict):
        raise ValueError("costs is no table of scheme = price")  # noqa: TRY004 (of the input)
    for scheme, price in said.items():
        if scheme not in SCHEMES:
            raise ValueError(f"costs names {scheme!r}; schemes are {', '.join(SCHEMES)}")
        if type(price) not in (int, float) or not math.isfinite(price) or price < 0:
            raise ValueError(f"the cost of {scheme} is {price!r}; it is a price for 10^9 bytes")
    return {SAME.get(str(scheme), str(scheme)): float(price) for scheme, price in said.items()}
