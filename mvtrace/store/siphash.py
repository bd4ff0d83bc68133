"""SipHash-2-4 with a key of zeros: what ClickHouse calls ``sipHash64``, of a text's UTF-8 bytes.

The aliases' key starts with this hash. Computed here, it is a constant in the statement, and the
engine goes straight to its rows; as an expression over a parameter it would scan the table.
"""

from __future__ import annotations

from typing import Final

_MASK: Final = (1 << 64) - 1
_START: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def siphash64(text: str) -> int:
    """Return the hash of *text* as an unsigned 64 bit integer."""
    data = text.encode("utf-8", "surrogatepass")
    tail = len(data) % 8
    last = data[len(data) - tail :] + bytes(7 - tail) + bytes((len(data) & 0xFF,))
    state = _START
    for start in range(0, len(data) - tail, 8):
        state = _absorbed(state, int.from_bytes(data[start : start + 8], "little"))
    a, b, c, d = _absorbed(state, int.from_bytes(last, "little"))
    state = (a, b, c ^ 0xFF, d)
    for _ in range(4):
        state = _round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _absorbed(state: tuple[int, int, int, int], word: int) -> tuple[int, int, int, int]:
    a, b, c, d = _round(*_round(state[0], state[1], state[2], state[3] ^ word))
    return a ^ word, b, c, d


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = (a + b) & _MASK
    b = (b << 13 | b >> 51) & _MASK ^ a
    a = (a << 32 | a >> 32) & _MASK
    c = (c + d) & _MASK
    d = (d << 16 | d >> 48) & _MASK ^ c
    a = (a + d) & _MASK
    d = (d << 21 | d >> 43) & _MASK ^ a
    c = (c + b) & _MASK
    b = (b << 17 | b >> 47) & _MASK ^ c
    c = (c << 32 | c >> 32) & _MASK
    return a, b, c, d
