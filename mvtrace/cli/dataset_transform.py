"""``mvtrace dataset transform``: run a command that makes datasets of datasets, and record it.

In: inputs, outputs, parameters, a seed, a command. Out: the command's output on stderr; the
transformation, the datasets and what was made from what, stored when this returns. With --check
nothing is stored: what the command made is compared with what was claimed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker, register
from mvtrace.errors import CheckFailedError
from mvtrace.registry.datasets.finding import check_run, earlier_outputs, known_roots
from mvtrace.registry.datasets.running import Run, begin, end
from mvtrace.registry.datasets.steps import Step, file_code, step
from mvtrace.registry.lineage.cycles import refuse_cycle

_PATHS: Final = click.Path(path_type=Path)
_HEAD_BYTES: Final = 4096
_PROGRAMS: Final = frozenset(
    {".awk", ".bash", ".cjs", ".go", ".ipynb", ".java", ".jl", ".jq", ".js", ".kt", ".lua", ".mjs"}
    | {".php", ".pl", ".py", ".r", ".rb", ".rs", ".scala", ".sed", ".sh", ".sql", ".ts", ".zsh"}
)
"""Suffixes of programs, whose text is registered; of another file, such as a configuration that
may hold secrets, only if --code names it."""
_PLACE: Final = re.compile(r"\{(\w+)\}")


@click.command(
    epilog="Example: mvtrace dataset transform --in raw.jsonl --out clean.jsonl --param words=3 "
    "-- python clean.py {in} {out} {words}",
)
@click.option("--in", "inputs", multiple=True, required=True, type=_PATHS, metavar="PATH")
@click.option("--out", "outputs", multiple=True, required=True, type=_PATHS, metavar="PATH")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="May be repeated.")
@click.option("--seed", type=int, help="Also MVTRACE_SEED of the command.")
@click.option(
    "--code", "code_paths", multiple=True, type=_PATHS, metavar="PATH",
    help="What does the work; by default the command's arguments that are files.",
)  # fmt: skip
@click.option("--name", help="What the step is called, by default as its first file of code.")
@click.option("--check", is_flag=True, help="Store nothing; compare with what was claimed.")
@click.option("--json", "as_json", is_flag=True)
@click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def transform(  # noqa: PLR0913 (options)
    *, inputs: Sequence[Path], outputs: Sequence[Path], params: Sequence[str], seed: int | None,
    code_paths: Sequence[Path], name: str | None, check: bool, as_json: bool, url: str | None,
    command: Sequence[str],
) -> None:  # fmt: skip
    """Run COMMAND, which makes the datasets --out of the datasets --in, and record that.

    {in}, {out}, {seed} and {KEY} in its arguments become the paths, the seed and the parameters
    ({in1}, {out2} where there are several); what is recorded has the braces, so that paths are no
    part of the transformation. Arguments and parameters are stored, except values that are secret
    by their names (--token=…, PASSWORD=…); of a program, and of one --code, also the text.

    Exit codes: 0 done, 1 the command failed, a dataset is none, or the claim does not hold.
    """
    slots = _slots("in", inputs), _slots("out", outputs)
    parameters = _parameters(params)
    made = _step(command, code_paths, {**slots[0], **slots[1]}, parameters, seed, name)
    begun = begin(*slots)
    _execute(command, {**slots[0], **slots[1]}, parameters, seed)
    run = end(begun, made)
    ask = asker(url, None)
    if check:
        check_run(ask, run)
        _tell(run, as_json=as_json, done="checked", changed={})
        return
    before = earlier_outputs(ask, run)
    for entry in run.derivations():
        refuse_cycle(ask, entry)
    known = known_roots(ask, (one.root for one in run.inputs.values()))
    register(run.entries(known), url=url)
    changed = {
        slot: sorted(map(str, before[slot] - {one.ref}))
        for slot, one in run.outputs.items()
        if before.get(slot, set()) - {one.ref}
    }
    _tell(run, as_json=as_json, done="stored", changed=changed)


def _slots(word: str, paths: Sequence[Path]) -> dict[str, Path]:
    if len(paths) == 1:
        return {word: paths[0]}
    return {f"{word}{number}": path for number, path in enumerate(paths, 1)}


def _parameters(texts: Sequence[str]) -> dict[str, Any]:
    """Return what is given as KEY=VALUE; a VALUE that is JSON is what it says, else text."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier() or key in found:
            raise CommandLineError(f"--param {text!r} is no KEY=VALUE of a new key.")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _step(
    command: Sequence[str],
    code: Sequence[Path],
    slots: Mapping[str, Path],
    parameters: Mapping[str, Any],
    seed: int | None,
    name: str | None,
) -> Step:
    data = {path.resolve() for path in slots.values()}
    paths = [*code] or [
        Path(text)
        for text in dict.fromkeys(command)
        if _is_text(text) and Path(text).resolve() not in data
    ]
    said = [Path(text).name if _is_file(text) else text for text in command]
    called = name or (paths[0].stem if paths else said[0])
    with_text = bool(code) or all(path.suffix.lower() in _PROGRAMS for path in paths)
    done_by = file_code(paths, with_text=with_text)
    return step(called, done_by, parameters=parameters, seed=seed, command=said)


def _is_file(text: str) -> bool:
    """Whether *text* is the path of a file, whose folder says nothing of what it does."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # no path at all
        return False


def _is_text(text: str) -> bool:
    """Whether *text* is the path of a file of text: an interpreter is none."""
    return _is_file(text) and b"\0" not in _head(Path(text))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _execute(
    command: Sequence[str], slots: Mapping[str, Path], parameters: Mapping[str, Any],
    seed: int | None,
) -> None:  # fmt: skip
    words = {slot: str(path) for slot, path in slots.items()}
    words |= {key: v if isinstance(v, str) else json.dumps(v) for key, v in parameters.items()}
    words |= {} if seed is None else {"seed": str(seed)}
    environ = dict(os.environ) | ({} if seed is None else {"MVTRACE_SEED": str(seed)})
    arguments = [_filled(text, words) for text in command]
    try:
        done = subprocess.run(  # noqa: S603 (the user's own command)
            arguments, check=False, stdout=sys.stderr, stdin=subprocess.DEVNULL, env=environ
        )
    except OSError as error:
        raise CommandLineError(
            f"{arguments[0]!r} cannot be run: {error.strerror or error}."
        ) from error
    if done.returncode:
        how = (
            f"was ended by signal {-done.returncode}"
            if done.returncode < 0
            else f"ended with exit code {done.returncode}"
        )
        raise CheckFailedError(f"The command {how}, so nothing was registered.")


def _filled(text: str, words: Mapping[str, str]) -> str:
    """Return *text* with ``{word}`` replaced, in one pass: what is put in is not looked at."""
    return _PLACE.sub(lambda found: words.get(found[1], found[0]), text)


def _tell(run: Run, *, as_json: bool, done: str, changed: Mapping[str, Sequence[str]]) -> None:
    if as_json:
        inputs = {slot: str(one.ref) for slot, one in run.inputs.items()}
        outputs = {slot: str(one.ref) for slot, one in run.outputs.items()}
        said = {
            "transformation": str(run.step.ref),
            "inputs": inputs,
            "outputs": outputs,
            "unchanged": run.unchanged,
            "before": changed,
            "done": done,
        }
        listing.write(json_text(said))
        return
    lines = [f"{run.step.ref} {inert(run.step.entry.name)} is {done}."]
    for slot, one in {**run.inputs, **run.outputs}.items():
        lines.append(f"  {slot}: {one.ref} {inert(run.names[slot])}, {one.rows:,} rows")
    lines += [
        f"  {slot} holds the rows of an input: nothing was derived." for slot in run.unchanged
    ]
    for slot, refs in changed.items():
        lines.append(
            f"  {slot} was {', '.join(refs)} in an earlier run of the same step on the same "
            "inputs: it is not reproducible."
        )
    listing.write("\n".join(lines) + "\n")
