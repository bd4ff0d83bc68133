"""How each command is asked about another project's things; see ``isolation.py`` for the ``$`` words."""

from __future__ import annotations

from typing import Final

from certified import a_certificate
from isolation import SQL_ASKS
from story import SYSTEM

LOCAL: Final = "local"
"""Asks no collector: what it reads belongs to whoever may read the files."""

_PLACE: Final = ("--service", "s", "--environment", "e")

COMMANDS: Final[dict[str, tuple[tuple[str, ...], ...] | str]] = {
    "collector": LOCAL,
    "demo": LOCAL,
    "migrate": LOCAL,
    "proxy": LOCAL,
    "plan check": LOCAL,
    "sbom": LOCAL,
    "version": LOCAL,
    "explain": (
        ("$request", "--wait", "0"),
        ("trace:$trace", "--wait", "0"),
        ("$alias", "--wait", "0", "--json"),
        ("response:$response", "--wait", "0", "--format", "markdown"),
    ),
    "find": (
        ("--version", "$short"),
        ("--version", "$version"),
        ("--conversation", "$conversation"),
        ("--service", "$service", "--json"),
    ),
    "gaps": (("--service", "$service"), ("--service", "$service", "--all", "--json")),
    "drift": (("--service", "$service"), ("--service", "$service", "--json")),
    "affected": (
        ("$request",),
        ("$template", "--list"),
        ("drift:$drift",),
        ("request:$request", "--json"),
    ),
    "sql": tuple((str(one.body),) for one in SQL_ASKS[:-1]),
    "content": (("$request",), ("$request", "--project", "$project")),
    "access": (
        ("--request", "$unread"),
        ("--actor", "$key", "--json"),
        ("--project", "$project"),
    ),
    "deploy": (("$version", *_PLACE), ("$short", *_PLACE)),
    "promote": (("$version", *_PLACE), ("--expect", "$version", *_PLACE)),
    "revert": (("$version", *_PLACE),),
    "rollback": (("$version", *_PLACE),),
    "retention plan": (("--out", "$folder/plan.json", "--window", "0h", "--root", "/models"),),
    "retention apply": (("$plan",),),
    "retention restore": (("$version",),),
    "canary start": (("$version", *_PLACE), ("$short", "--share", "0.2", *_PLACE)),
    "canary promote": (("$version", *_PLACE),),
    "canary revert": (("$version", *_PLACE),),
    "canary status": (("--service", "$service"), ("--all", "--json")),
    "deployments": (("--service", "$service"), ("--service", "$service", "--json")),
    "pin": (
        ("--file", "$folder/mvtrace.toml", "--parent", "$version"),
        ("--file", "$folder/mvtrace.toml", "--experiment", "$service"),
    ),
    "show": (
        ("$version",),
        ("$short", "--texts"),
        ("$request", "--json"),
        ("x-request-id:$alias",),
        ("component:$template",),
        ("dataset:" + "d" * 64,),
        ("$service/production@now",),
    ),
    "log": ((), ("--service", "$service", "--json")),
    "diff": (("$short", "$request"), ("$version", "$version", "--json")),
    "compare": (
        ("$version", SYSTEM.version, "--no-keep"),
        ("$short", SYSTEM.version, "--json"),
        (SYSTEM.version, "5" * 64, "--plan", "$service"),
        ("stable", "canary", "--arms", "--service", "$service"),
        ("--service", "$service", "--environment", "production"),
    ),
    "plan new": (("$version",), ("$service", "--arms", "--json")),
    "plan register": (("$folder/bot.toml",),),
    "plan list": ((), ("--json",)),
    "verdicts": ((), ("--version", "$short"), ("--service", "$service", "--json", "--check")),
    "lineage show": (
        ("$request", "--requests"),
        ("$short", "--up", "--json"),
        ("$template", "--down", "--requests"),
        ("$template", "--format", "dot"),
        ("$service", "--down"),
    ),
    "lineage record": (
        ("composite:$version", "--from", "$template:base"),
        ("dataset:" + "d" * 64, "--from", "composite:$short:base"),
    ),
    "leakage check": (
        ("dataset:" + "d" * 64, "$template"),
        ("$service", "$folder/scores.jsonl"),
        ("$folder/rows.jsonl", "dataset:" + "d" * 64, "--json"),
    ),
    "leakage show": (("$service",), (a_certificate("x").digest, "--json")),
    "leakage list": ((), ("--json",)),
    "experiment start": (("tone", "--base", "$short"),),
    "experiment add": (("$service", "$version"), ("tone", "$version")),
    "experiment list": (("$service",), ("--json",)),
    "dataset add": (("$folder/rows.jsonl", "--name", "$service", "--dry-run"),),
    "dataset list": ((), ("--json",)),
    "dataset show": (("$service",), ("d" * 12, "--json"), ("dataset:" + "d" * 64,)),
    "dataset verify": (("$folder/rows.jsonl", "d" * 64), ("$folder/rows.jsonl", "$service")),
    "dataset diff": (("$folder/rows.jsonl", "dataset:" + "d" * 64), ("$service", "$short")),
    "dataset transform": (
        (
            *("--in", "$folder/rows.jsonl", "--out", "$folder/out.jsonl", "--name", "x"),
            *("--code", "$folder/mvtrace.toml", "--check", "--", "cp", "{in}", "{out}"),
        ),
    ),
    "scores import": (("$scores",),),
    "scores list": (("--request", "$request"), ("--request", "$unread", "--json")),
    "scores pending": (("--name", "$service"), ("--name", "$service", "--json")),
    "eval suite": (("$folder/none.jsonl", "--name", "$service"),),
    "eval scorer": (("--name", "$service"),),
    "eval record": (
        ("$scores", "--version", "$version", "--suite", "$service", "--scorer", "$service"),
        ("$scores", "--version", "$short", "--suite", "5" * 64, "--scorer", "$service"),
    ),
    "eval import": (("$folder/log.eval", "--version", "$short", "--suite", "$service"),),
    "eval compare": (
        ("$version", SYSTEM.version),
        ("$short", SYSTEM.version, "--json"),
        ("$version", SYSTEM.version, "--suite", "$service"),
        ("$version", SYSTEM.version, "--scorer", "$service"),
    ),
    "eval list": ((), ("--version", "$version"), ("--suite", "$service", "--json")),
    "eval show": (("$service",), ("suite:" + "5" * 64, "--json")),
    "eval rescore-plan": (("--suite", "$service"), ("--suite", "5" * 64, "--json")),
    "erase": (("--subject", "$person"), ("--subject", "$person", "--project", "$project")),
    "keys create": (("--scope", "read", "--project", "$project", "--label", "x"),),
    "keys list": ((),),
    "keys rotate": (("$key",),),
    "keys revoke": (("$key",),),
    "status": (("--spool", "$folder"),),
    "verify": ((),),
    "watch": (
        ("--project", "$project", "--for", "200ms", "--patience", "200ms", "--folder", "$folder"),
    ),
}
"""Each command: the arguments it is asked with, or why it is not."""
