"""How many messages the protobuf bytes of an export hold, before a parser makes an object of each.

Comes in: the bytes, and the most that is let through. Goes out: nothing, or a TooLargeError. Two
bytes can say "an empty span", for which a parser takes two hundred: measured, 7.6 MiB of them took
836 MiB. A body too short to hold too many is not looked at. Nothing is checked here but the number;
what is malformed is left to the parser.
"""

from __future__ import annotations

from typing import Final

from mvtrace_collector.errors import TooLargeError
from mvtrace_collector.segments import Signal, TornError, read_varint

_Fields = dict[int, "_Fields"]
"""Field number -> fields of the message in it, none where nothing in it counts."""

_SMALLEST: Final = 2
"""Bytes of an empty message with its tag."""
_DEEPEST: Final = 128
"""Levels; the parser refuses fewer."""
_MORE: Final = 0x80
_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)

_VALUE: Final[_Fields] = {}
_PAIR: Final[_Fields] = {2: _VALUE}
_VALUE.update({5: {1: _VALUE}, 6: {1: _PAIR}})
_RESOURCE: Final[_Fields] = {1: _PAIR, 3: {3: {}, 4: {}}}
"""Names of an entity's attributes are texts; each costs as much as a message."""
_SCOPE: Final[_Fields] = {3: _PAIR}
_SPAN: Final[_Fields] = {9: _PAIR, 11: {3: _PAIR}, 13: {4: _PAIR}, 15: {}}
_RECORD: Final[_Fields] = {5: _VALUE, 6: _PAIR}
_EXPORTS: Final[dict[Signal, _Fields]] = {
    "traces": {1: {1: _RESOURCE, 2: {1: _SCOPE, 2: _SPAN}}},
    "logs": {1: {1: _RESOURCE, 2: {1: _SCOPE, 2: _RECORD}}},
}


_TAGS: Final = bytes(
    first | more
    for first in (number << 3 | _BYTES for number in (1, 2, 3, 4, 5, 6, 9, 11, 13, 15))
    for more in (0, _MORE)
)
"""The bytes a message's tag can begin with: as short as it can be, or with needless zeroes."""


def check_messages(body: bytes, signal: Signal, most: int) -> None:
    """Raise TooLargeError where *body* holds more than *most* messages.

    The bytes that could be tags are counted first: that is quick, and enough for ordinary bodies.
    """
    if len(body) <= _SMALLEST * most or len(body) - len(body.translate(None, _TAGS)) <= most:
        return
    if _counted(body, _EXPORTS[signal], most) > most:
        raise TooLargeError("export", most, "messages (spans, attributes, values)")


def _counted(body: bytes, fields: _Fields, most: int) -> int:
    """Return the number of messages, or one more than *most*; 0 where *body* is torn."""
    try:
        return _walked(body, fields, most)
    except (IndexError, TornError):
        return 0  # torn in the middle: the parser refuses all of it


def _walked(body: bytes, fields: _Fields, most: int) -> int:  # noqa: C901, PLR0915 (for speed)
    count, position, end, groups = 0, 0, len(body), 0
    parents: list[tuple[int, int, _Fields]] = []
    while count <= most and len(parents) < _DEEPEST:
        if position >= end:
            if not parents:
                break
            position, end, fields = parents.pop()
            continue
        tag = body[position]
        position += 1
        if tag >= _MORE:
            tag, position = read_varint(body, position - 1)
        kind = tag & 7
        if kind == _BYTES:
            size = body[position]
            position += 1
            if size >= _MORE:
                size, position = read_varint(body, position - 1)
            inner = None if groups else fields.get(tag >> 3)
            if inner is None:
                position += size
                continue
            count += 1
            if size and inner:
                parents.append((position + size, end, fields))
                end, fields = position + size, inner
            else:
                position += size
        elif kind == _VARINT:
            _, position = read_varint(body, position)
        elif kind in (_GROUP, _END_GROUP):
            groups += 1 if kind == _GROUP else -1
        else:
            position += 8 if kind == _FIXED64 else 4
    return count
