"""A plan from a file, TOML or JSON: text in, Plan out, or an error that names place and value.

What a plan leaves unsaid has the defaults of ``plan``; ``false`` in the place of a limit turns it
off. A key that means nothing is refused: a
margin that was misspelt must not become a default.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

import orjson

from mvtrace.errors import PlanFileError
from mvtrace.quality.plan import Gates, Horizon, Metric, Plan, PlanProblem, Policy

MAX_BYTES: Final = 262_144
_TABLES: Final = {"gates": Gates, "horizon": Horizon, "policy": Policy}
_TYPES: Final = {
    "str": ((str,), "text"),
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
}


def read_plan(path: Path) -> Plan:
    """Return the plan in the file at *path*: JSON if it ends in .json, else TOML.

    Raises:
        PlanFileError: there is no such file, or it holds no plan.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise PlanFileError(str(path), "", f"it cannot be read ({error.strerror})") from error
    return parse_plan(text, name=str(path), is_json=path.suffix == ".json")


def parse_plan(text: bytes, *, name: str, is_json: bool = False) -> Plan:
    """Return the plan that *text* says; *name* stands for the file in errors.

    Raises:
        PlanFileError: it says none.
    """
    if len(text) > MAX_BYTES:
        raise PlanFileError(name, "", f"it has {len(text)} bytes; a plan has at most {MAX_BYTES}")
    try:
        said = orjson.loads(text) if is_json else tomllib.loads(text.decode())
    except ValueError as error:
        form = "JSON" if is_json else "TOML"
        raise PlanFileError(name, "", f"it is no {form}: {error}") from error
    try:
        return _plan(said)
    except PlanProblem as error:
        raise PlanFileError(name, error.key, error.problem) from error


def _plan(said: Any) -> Plan:
    if not isinstance(said, dict):
        raise PlanProblem("", "it is no table")
    if said.get("schema_version", 1) != 1:
        raise PlanProblem("schema_version", f"{said['schema_version']!r} is not known; it is 1")
    values = {key: value for key, value in said.items() if key != "schema_version"}
    metrics = values.pop("metrics", None)
    if not isinstance(metrics, list) or not metrics:
        raise PlanProblem("metrics", "there are none; a plan has at least one [[metrics]]")
    tables = {name: values.pop(name) for name in _TABLES if values.get(name) is not None}
    values.pop("horizon", None)
    found: dict[str, Any] = _checked(values, Plan, "", also=("metrics", *_TABLES))
    found["metrics"] = tuple(_metric(metric, place) for place, metric in enumerate(metrics, 1))
    for name, table in tables.items():
        kind = _TABLES[name]
        found[name] = _made(kind, _checked(table, kind, f"{name}."), f"{name}.")
    return Plan(**found)


def _metric(said: Any, place: int) -> Metric:
    named = isinstance(said, dict) and isinstance(said.get("name"), str)
    prefix = f"metrics, {said['name']!r}, " if named else f"metrics, number {place}, "
    metric: Metric = _made(Metric, _checked(said, Metric, prefix), prefix)
    return metric


def _made(kind: Any, values: Mapping[str, Any], prefix: str) -> Any:
    try:
        return kind(**values)
    except PlanProblem as error:
        key = error.key if error.key.startswith(prefix) else prefix + error.key
        raise PlanProblem(key, error.problem) from error


def _checked(said: Any, kind: Any, prefix: str, *, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of *kind* that *said* has, of the right types; *also* have been read."""
    place = prefix.rstrip(", .")
    if not isinstance(said, dict):
        raise PlanProblem(place, f"{said!r} is no table")
    known = {one.name: one for one in fields(kind)}
    for key, value in said.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            meant = f"; {near[0]!r} is meant" if near else ""
            raise PlanProblem(f"{prefix}{key}", f"no such key{meant}")
        _check_type(_value(value, str(known[key].type)), str(known[key].type), f"{prefix}{key}")
    said = {key: _value(value, str(known[key].type)) for key, value in said.items()}
    for name, one in known.items():
        needed = one.default is MISSING and one.default_factory is MISSING
        if needed and name not in said and name not in also:
            raise PlanProblem(f"{prefix}{name}", "it is missing")
    return dict(said)


def _value(value: Any, wanted: str) -> Any:
    """Return *value*; ``false`` where there may be none is none, for which TOML has no word."""
    return None if value is False and wanted.endswith(" | None") else value


def _check_type(value: Any, wanted: str, key: str) -> None:
    base, _, empty = wanted.partition(" | ")
    types, words = _TYPES[base]
    if (value is None and empty) or (type(value) in types):
        return
    raise PlanProblem(key, f"{value!r} is not {words}")
