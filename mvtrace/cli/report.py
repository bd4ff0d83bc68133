"""An explanation arranged for people: the answer first, the proof after.

In: the JSON form of an explanation (what the collector sends). Out: :class:`Report`, made of lines
and tables of inert text, which ``text`` and ``markdown`` write down. Nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from mvtrace.cli.inert import inert
from mvtrace.cli.words import (
    SHORT,
    digest_words,
    duration_words,
    joined,
    named,
    number_words,
    plural,
    settings_words,
    time_words,
    version_words,
)
from mvtrace.semconv import FEATURE_FLAG

Json = Mapping[str, Any]

_DAY_MS: Final = 86_400_000
MAX_ROWS: Final = 40
"""More rows of one kind are counted, not listed; ``--json`` has them all."""


MAX_INDENT: Final = 12
_UNIT_DIGITS: Final = 8
_IN_TREE: Final = {"parent_request", "parent_missing", "child_requests"}
"""Findings that say what the tree shows."""


class Alert(NamedTuple):
    """A finding that changes how the rest is to be read."""

    severity: str
    text: str


class Section(NamedTuple):
    """A title and what stands under it, cells of a row side by side."""

    title: str
    rows: Sequence[Sequence[str]] = ()


class Report(NamedTuple):
    """All there is to show."""

    head: tuple[str, ...]
    where: str
    alerts: tuple[Alert, ...]
    sections: tuple[Section, ...]


def report_of(explanation: Json) -> Report:
    """Return *explanation* arranged."""
    findings = explanation["findings"]
    return Report(
        head=_head(explanation),
        where=_where(explanation),
        alerts=tuple(
            Alert(one["severity"], inert(one["text"]))
            for one in findings
            if one["severity"] != "info"
        ),
        sections=tuple(_sections(explanation)),
    )


def _sections(explanation: Json) -> Iterator[Section]:
    infos = [one for one in explanation["findings"] if one["severity"] == "info"]
    yield _served(explanation)
    yield from _provenance(explanation["composite"]["components"])
    yield from (_router(one) for one in explanation["router_decisions"])
    yield from (_index(one) for one in explanation["index_snapshots"])
    if explanation["calls"]:
        yield Section("called", _limited([_call(one) for one in explanation["calls"]]))
    yield from _flags(explanation)
    yield from _tree(explanation["tree"])
    yield from _scores(explanation)
    yield from _changes(explanation)
    if explanation["tree"]:
        infos = [one for one in infos if one["code"] not in _IN_TREE]
    yield from _notes("also", infos, {"observed", "declared", "inferred"})
    yield from _origin(explanation)
    yield _proof(explanation, infos)
    yield from _notes("not known", infos, {"missing"})


def _head(explanation: Json) -> tuple[str, ...]:
    """Return the parts of the line about the request."""
    is_cut_off = any(one["code"] == "request_cut_off" for one in explanation["findings"])
    running = "never finished" if is_cut_off else "still running"
    state = running if explanation["state"] == "started" else explanation["outcome"]
    status = explanation["status_code"]
    return tuple(
        part
        for part in (
            f"request {inert(explanation['request_id'])}",
            joined(
                inert(explanation["method"] or ""),
                inert(explanation["route"] or explanation["path"] or ""),
                by=" ",
            ),
            inert(status if status is not None else state or ""),
            duration_words(explanation["duration_ns"]),
            time_words(explanation["time"]),
        )
        if part
    )


def _where(explanation: Json) -> str:
    service = inert(explanation["service"] or "an unnamed service")
    version = explanation["service_version"]
    environment = explanation["environment"]
    return joined(
        joined(service, inert(version or ""), named("in", environment), by=" "),
        _arm(explanation),
        named("conversation", explanation["conversation_id"]),
        by=", ",
    )


def _arm(explanation: Json) -> str:
    """Return which side of a rollout served, and how the request came to it."""
    arm, said = named("arm", explanation["arm"]), explanation.get("assignment")
    if not arm or not said:
        return arm
    share, unit = said.get("share"), said.get("unit")
    how = "named" if said["basis"] == "named" else "drawn"
    who = joined(said.get("unit_kind") or "unit", unit[:_UNIT_DIGITS], by=" ") if unit else ""
    parts = (
        f"{how} for {inert(who)}" if who else how,
        "" if share is None else f"share {number_words(share)}",
        f"rollout {inert(said['rollout'][:SHORT])}",
    )
    return f"{arm} ({joined(*parts, by=', ')})"


def _served(explanation: Json) -> Section:
    composite = explanation["composite"]
    name = inert(composite["name"] or "composite")
    if composite["version"] is None:
        title = "served by a state that nothing names"
    else:
        title = f"served by {name} {version_words(composite['version'])} ({composite['basis']})"
    components = composite["components"]
    if not components:
        return Section(title, [["its components are not known"]])
    return Section(title, [_component(one, composite["registered"]) for one in components])


def _component(component: Json, is_declared: bool) -> list[str]:  # noqa: FBT001 (of its composite)
    observed, expected = component["observed"], component["expected"]
    shown = observed or component["digest"]
    notes = [
        _drift_words(drift)
        for drift in component["drift"]
        if drift["expected"] != expected or drift["observed"] != observed
    ]
    if observed and expected and observed != expected:
        notes.insert(0, f"drift: declared {digest_words(expected)}")
    elif is_declared and expected is None and component["digest"]:
        notes.append("not declared")
    if component["content"] == "damaged":
        notes.append("what is stored is damaged")
    return [
        inert(component["kind"]),
        inert(component["name"]),
        digest_words(shown),
        inert(component["basis"]),
        joined(named("label", component["label"]), *notes, by=", "),
    ]


def _drift_words(drift: Json) -> str:
    what = inert(drift["what"]).replace("_", " ")
    seen, declared = digest_words(drift["observed"]), digest_words(drift["expected"])
    return f"drift: {what} {seen}, declared {declared}"


def _provenance(components: Sequence[Json]) -> Iterator[Section]:
    """Yield what is known of where the parts come from."""
    rows = [
        [
            inert(component["kind"]),
            inert(component["name"]),
            inert(note["source"]),
            inert(note["basis"]),
            ", ".join(f"{inert(key)} {_fact_words(one)}" for key, one in note["facts"].items()),
        ]
        for component in components
        for note in component["provenance"]
    ]
    if rows:
        yield Section("where parts come from", _limited(rows))


def _fact_words(fact: Any) -> str:
    if isinstance(fact, Mapping):
        return " ".join(f"{inert(key)} {inert(one)}" for key, one in fact.items())
    if isinstance(fact, list):
        return " ".join(inert(one) for one in fact)
    return f"{fact:,}" if type(fact) is int else inert(fact)


def _router(decision: Json) -> Section:
    chosen = inert(decision["chosen"] or "nothing")
    reason = inert(decision["reason"] or "")
    title = joined(f"router {inert(decision['name'])} chose {chosen}", reason, by=": ")
    rows = [
        [
            ("> " if candidate["chosen"] else "  ") + inert(candidate["name"]),
            named("score", number_words(candidate["score"])),
            named("threshold", number_words(candidate["threshold"])),
            inert(candidate["reason"] or ""),
        ]
        for candidate in decision["candidates"]
    ]
    if decision["features"]:
        rows.append(["  from", settings_words(decision["features"]), "", ""])
    if decision["fallbacks"]:
        tried = ", ".join(inert(one) for one in decision["fallbacks"])
        rows.append(["  tried before", tried, "", ""])
    return Section(title, _limited(rows))


def _index(snapshot: Json) -> Section:
    title = joined(
        f"index {inert(snapshot['name'])}",
        f"queried as {digest_words(snapshot['digest'])}" if snapshot["digest"] else "",
        named("native version", snapshot["native_version"]),
        "" if snapshot["size"] is None else f"{snapshot['size']:,} entries",
        named("dimension", snapshot["dimension"]),
        inert(snapshot["metric"] or ""),
        by=", ",
    )
    rows = [
        [f"{rank}", inert(document["id"]), number_words(document["score"])]
        for rank, document in enumerate(snapshot["documents"], 1)
    ]
    return Section(title, _limited(rows) or [["no documents"]])


def _call(call: Json) -> list[str]:
    asked, served = call["model_requested"], call["model_served"]
    model = f"{asked} → {served}" if asked and served and asked != served else served or asked
    usage = call["usage"] or {}
    tokens = [usage.get("input_tokens"), usage.get("output_tokens")]
    prompt = call["prompt"] or {}
    return [
        inert(call["kind"]),
        inert(call["name"]),
        duration_words(call["duration_ns"]),
        inert(model or ""),
        joined(
            named("prompt", prompt.get("name")),
            settings_words(call["sampling"]),
            named("seed", call["seed"]),
            named("from a cache, made by", call["cache_origin"]),
            by=", ",
        ),
        "" if tokens == [None, None] else " → ".join(_count(one) for one in tokens) + " tokens",
        inert(call["finish_reason"] or call["verdict"] or call["error_type"] or ""),
    ]


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _changes(explanation: Json) -> Iterator[Section]:
    now = explanation["now"]
    if now is None:
        return
    if now["is_this_request"]:
        yield Section(
            "changed since", [["nothing newer of this service is stored to compare with"]]
        )
        return
    newest = f"request {inert(now['request_id'])} of {time_words(now['time'])}"
    if deployed := now["deployment"]:
        who = inert(deployed["actor_label"] or deployed["actor"])
        newest = (
            f"{version_words(now['composite_version'])}, {inert(deployed['action'])} on "
            f"{time_words(deployed['at'])} by {who}"
        )
    title = f"changed since, against what serves now ({newest})"
    rows = [
        [
            inert(change["kind"]).replace("_", " "),
            inert(change["name"]),
            f"{_state_words(change['then'])} → {_state_words(change['now'])}",
            f"first seen {time_words(change['first_seen'])}" if change["first_seen"] else "",
        ]
        for change in explanation["changes_since"]
    ]
    yield Section(title, _limited(rows) or [["no evidence of a change"]])


def _tree(tree: Json | None) -> Iterator[Section]:
    """Yield who called the request and what it called, each indented below its caller."""
    if tree is None:
        return
    title = "one of these requests"
    if tree["caller_missing"]:
        title = f"{title}, below {inert(tree['caller_missing'])}, which is not stored"
    yield Section(
        f"{title}; there may be more" if tree["is_cut"] else title,
        _limited([_tree_row(one) for one in tree["requests"]]),
    )


def _tree_row(one: Json) -> list[str]:
    mark = ">" if one["relation"] == "this" else " "
    status = one["status_code"]
    return [
        f"{mark} {'  ' * min(one['depth'], MAX_INDENT)}{inert(one['request_id'])}",
        joined(*(inert(one[key] or "") for key in ("service", "method", "route")), by=" "),
        inert(status if status is not None else one["outcome"] or ""),
        version_words(one["composite_version"]) if one["composite_version"] else "",
        named("arm", one["arm"]),
    ]


def _scores(explanation: Json) -> Iterator[Section]:
    rows = [
        [
            inert(score["name"]),
            number_words(score["value"]),
            inert(score["label"] or ""),
            inert(score["scorer"] if not score["is_declared"] else digest_words(score["scorer"])),
            delay_words(score["delay_ms"]),
            f"revision {score['revisions']}" if score["revisions"] > 1 else "",
            _eval_words(score),
        ]
        for score in explanation["scores"]
    ]
    if rows:
        yield Section("scored", _limited(rows))


def _eval_words(score: Json) -> str:
    """Return which example of which suite a result of an eval is of."""
    if "suite" not in score:
        return ""
    return f"suite {version_words(score['suite'])} example {inert(score['example'])}"


def delay_words(delay_ms: int) -> str:
    """Return how long after (or before) its request a score was given."""
    size = abs(delay_ms)
    words = f"{size // _DAY_MS} days" if size >= 2 * _DAY_MS else duration_words(size * 1_000_000)
    return f"{words} {'later' if delay_ms >= 0 else 'earlier'}"


def _state_words(value: str | None) -> str:
    return digest_words(value) if value else "nothing"


def _flags(explanation: Json) -> Iterator[Section]:
    """Yield the flags that were evaluated, which the application's annotations hold."""
    begin = f"{FEATURE_FLAG}."
    rows = [
        [
            inert(key.removeprefix(begin)),
            inert(facts.get("variant") or ""),
            named("value", facts.get("value")),
            inert(facts.get("reason") or ""),
            named("error", facts.get("error")),
            inert(facts.get("provider") or ""),
        ]
        for key, facts in (explanation["annotations"] or {}).items()
        if key.startswith(begin) and isinstance(facts, dict)
    ]
    if rows:
        yield Section("flags", _limited(rows))


def _origin(explanation: Json) -> Iterator[Section]:
    """Yield what served the request that made a cached answer."""
    origin = explanation["cache_origin"]
    if origin and origin["explanation"]:
        served = _served(origin["explanation"])
        head = f"the cached answer came from request {inert(origin['request_id'])}"
        yield Section(f"{head}, {served.title}", served.rows)
        for snapshot in origin["explanation"]["index_snapshots"]:
            queried = _index(snapshot)
            yield Section(f"then {queried.title}", queried.rows)


def _proof(explanation: Json, infos: Sequence[Json]) -> Section:
    rows: list[list[str]] = []
    record = explanation["record"]
    if record:
        rows.append(
            [
                "record",
                digest_words(record["digest"]),
                joined(
                    named("schema", record["schema_version"]),
                    named("revision", record["revision"]),
                    f"{record['bytes']:,} bytes",
                    f"received {time_words(record['received_at'])}",
                    by=", ",
                ),
            ]
        )
    if explanation["trace_id"]:
        rows.append(
            ["trace", inert(explanation["trace_id"]), plural(len(explanation["spans"]), "span")]
        )
    rows.extend([inert(one["kind"]), inert(one["value"]), ""] for one in explanation["aliases"])
    rows.extend([inert(one["text"])] for one in infos if one["basis"] == "verified")
    return Section("proof", rows or [["nothing of this request can be proven"]])


def _notes(title: str, infos: Sequence[Json], bases: set[str]) -> Iterator[Section]:
    rows = [[inert(one["text"])] for one in infos if one["basis"] in bases]
    if rows:
        yield Section(title, rows)


def _limited(rows: list[list[str]]) -> list[list[str]]:
    if len(rows) <= MAX_ROWS:
        return rows
    return [*rows[:MAX_ROWS], [f"and {len(rows) - MAX_ROWS:,} more"]]
