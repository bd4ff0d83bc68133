"""The canonical row: values and the form they have."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.registry.datasets.columns import cast, parse_columns
from mvtrace.registry.datasets.rows import Rows, parse_row, row_bytes

names = st.text(max_size=6)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        escaped = {("$" + k if k.startswith("$") else k): v for k, v in value.items()}
        return {name: without_nulls(item) for name, item in escaped.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@given(row=st.dictionaries(names, values, max_size=5))
def test_a_row_is_rfc_8785_without_null_members(row: dict[str, Any]) -> None:
    """
    Both ways to write one, the fast and the thorough, give the bytes of the reference.
    """
    expected = rfc8785.dumps(without_nulls(row))

    assert row_bytes(row) == expected
    assert Rows().row(dict(row)) == expected


@given(row=st.dictionaries(names, st.text(max_size=5) | st.integers(), max_size=5))
def test_a_row_can_be_read_back(row: dict[str, Any]) -> None:
    """
    parse_row(row_bytes(row)) == row, for texts and integers of any size.
    """
    assert parse_row(row_bytes(row)) == row


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (b"\x00\xff", '{"$bytes":"AP8="}'),
        (datetime(2026, 8, 22, 11, tzinfo=UTC), '{"$timestamp":"2026-08-22T11:00:00Z"}'),
        (
            datetime(2026, 8, 22, 13, 0, 0, 500_000, timezone(timedelta(hours=2))),
            '{"$timestamp":"2026-08-22T11:00:00.5Z"}',
        ),
        (datetime(2026, 8, 22, 11), '{"$timestamp":"2026-08-22T11:00:00"}'),  # noqa: DTZ001
        (datetime(1, 1, 1), '{"$timestamp":"0001-01-01T00:00:00"}'),  # noqa: DTZ001
        (date(2026, 8, 22), '{"$date":"2026-08-22"}'),
        (time(11, 0, 1, 250), '{"$time":"11:00:01.00025"}'),
        (timedelta(seconds=-1.5), '{"$duration":"-1.5"}'),
        (Decimal("1.50"), '{"$decimal":"1.5"}'),
        (Decimal("1E+3"), '{"$decimal":"1000"}'),
        (Decimal("-0.00"), '{"$decimal":"0"}'),
        (2**53, '{"$int":"9007199254740992"}'),
        (2.0**53, "9007199254740992"),
        (float("nan"), '{"$double":"NaN"}'),
        (-float("inf"), '{"$double":"-Infinity"}'),
        (5e-324, "5e-324"),
        (1e21, "1e+21"),
        (-0.0, "0"),
    ],
)
def test_values_that_json_has_not_are_tagged(value: object, form: str) -> None:
    """
    Each has one form, whatever unit, zone or trailing zeros it came with.
    """
    assert row_bytes({"x": value}) == f'{{"x":{form}}}'.encode()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "007", 7),
        ("int", "18446744073709551616", 2**64),
        ("float", "1e3", 1000.0),
        ("float", "-inf", -float("inf")),
        ("float32", "0.1", 0.10000000149011612),
        ("bool", "True", True),
        (
            "timestamp",
            "2026-08-22 11:00:00.50+00:00",
            datetime(2026, 8, 22, 11, 0, 0, 500_000, UTC),
        ),
        ("timestamp", "2026-08-22T13:00+02:00", datetime(2026, 8, 22, 11, tzinfo=UTC)),
        ("timestamp", "1969-12-31T23:59:59.5Z", datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC)),
        ("date", "2026-08-22", date(2026, 8, 22)),
        ("time", "11:00:00.25", time(11, 0, 0, 250_000)),
        ("duration", "-1.5", timedelta(seconds=-1.5)),
        ("decimal", "1.50", Decimal("1.5")),
        ("bytes", "AP8=", b"\x00\xff"),
        ("json", '{"a":[1]}', {"a": [1]}),
        (["int"], '["1",2]', [1, 2]),
        ({"a": "date"}, '{"a":"2026-08-22","b":"x"}', {"a": date(2026, 8, 22), "b": "x"}),
    ],
)
def test_a_declared_text_is_the_value_it_stands_for(kind: Any, text: str, value: Any) -> None:
    """
    A column's type makes the value that a typed file holds; twice makes it the same value.
    """
    made = cast(text, kind)

    assert row_bytes({"x": made}) == row_bytes({"x": value})
    assert row_bytes({"x": cast(made, kind)}) == row_bytes({"x": made})


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("int", "1.0", "'1.0' is no integer"),
        ("int", True, "True is no integer"),
        ("int", "1" * 4001, f"'{'1' * 56}... is no integer"),
        ("float", "1_000", "'1_000' is no number"),
        ("float", 10**400, f"1{'0' * 56}... is beyond every double"),
        ("float32", "1e300", "'1e300' is beyond every float of 32 bits"),
        ("bool", "yes", "'yes' is neither true nor false"),
        ("timestamp", "yesterday", "'yesterday' is no timestamp like 2026-08-22T11:00:00Z"),
        ("time", "25:00", "'25:00' is no time of day like 11:00:00"),
        ("duration", "PT1S", "'PT1S' is no length of time in seconds"),
        ("decimal", "1e9999", "'1e9999' has more than 100 digits"),
        ("bytes", "?", "'?' is no Base64"),
        ("text", 5, "5 is no text"),
        (["int"], "{}", "{} is no list"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: Any, value: Any, why: str) -> None:
    """
    It is said which, since a column that is half read proves nothing.
    """
    with pytest.raises(ValueError) as refused:
        cast(value, kind)

    assert str(refused.value) == why


def test_columns_are_declared_in_words() -> None:
    """
    ``name:type`` for the flat ones, JSON for the others; what is no type is named.
    """
    assert parse_columns("a:int, b:c:date") == {"a": "int", "b:c": "date"}
    assert parse_columns('{"a": ["float32"]}') == {"a": ["float32"]}
    with pytest.raises(ValueError, match="the type of 'a' is 'number'; known are text, int"):
        parse_columns("a:number")
    with pytest.raises(ValueError, match="'a' is not NAME:TYPE"):
        parse_columns("a")
