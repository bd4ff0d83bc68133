"""Run one fuzz target: ``python fuzz_main.py NAME [CORPUS] [-max_total_time=20 …]``.

Coverage-guided by atheris (extra ``fuzz``); an input that fails is written to the working
directory. ``python fuzz_main.py NAME --seeds`` runs the target's seeds alone, without atheris;
``python fuzz_main.py NAME FILE…`` of existing files runs those, under atheris, and ends.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).resolve().parent
SUPPORT = HERE.parent / "support"
MODULES = {
    "otlp-protobuf": "fuzz_otlp",
    "otlp-json": "fuzz_otlp",
    "compressed": "fuzz_otlp",
    "segment-frames": "fuzz_frames",
    "spool-frames": "fuzz_frames",
    "varint": "fuzz_frames",
    "privacy": "fuzz_texts",
    "ids-and-records": "fuzz_texts",
    "sql-dialect": "fuzz_texts",
    "sql-tree": "fuzz_texts",
    "sql-gate": "fuzz_sqlgate",
}
INSTRUMENTED = ["mvtrace", "mvtrace_collector"]
TIME_OPTION = "-max_total_time="


def main(arguments: Sequence[str]) -> None:
    """Run the target that the first argument names."""
    name, *options = arguments
    sys.path[:0] = [str(HERE), str(SUPPORT)]
    if "--seeds" in options:
        target = loaded(name)
        seeds = list(target.seeds())
        for seed in seeds:
            target.check(seed)
        print(f"{name}: {len(seeds)} seeds hold")
        return
    fuzz(name, options)


def loaded(name: str) -> Any:
    """Return the target *name*."""
    return importlib.import_module(MODULES[name]).TARGETS[name]


def fuzz(name: str, options: list[str]) -> None:
    """Hand the target over to atheris, with a dictionary of its words and its seeds as a corpus."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        target = loaded(name)
    with tempfile.TemporaryDirectory() as folder:
        seeds, dictionary = Path(folder, "seeds"), Path(folder, "words")
        write_seeds(seeds, target)
        dictionary.write_text("".join(f'"{escaped(word)}"\n' for word in target.words))
        command = [sys.argv[0], f"-max_len={target.max_length}", "-timeout=60"]
        # A target may change the working directory.
        options = [one if one.startswith("-") else str(Path(one).resolve()) for one in options]
        # What ends itself must not be ended by the fuzzer first.
        ends_itself = target.is_native
        command += [one for one in options if not (ends_itself and one.startswith(TIME_OPTION))]
        command += ["-rss_limit_mb=4096", "-print_final_stats=1"]
        command += [f"-dict={dictionary}"] if target.words else []
        if not any(Path(option).is_file() for option in options):
            command.append(str(seeds))
        mutator = {"custom_mutator": mutated(target)} if target.splice else {}
        atheris.Setup(command, written_first(name, target, options), **mutator)
        atheris.Fuzz()


def written_first(name: str, target: Any, options: list[str]) -> Any:
    """Return the check; where the engine could end the process, the input lies in ``NAME.last``.

    Such a process ends itself at once after a good run, before anything is closed: the engine's
    threads do not bear the fuzzer's way of leaving, which hangs or dies of it now and then.
    """
    if not target.is_native:
        return target.check
    last = Path(f"{name}.last").absolute()
    seconds = [int(one.partition("=")[2]) for one in options if one.startswith(TIME_OPTION)]
    began, executed = 0.0, 0
    failed: list[bytes] = []

    def leave() -> None:
        sys.stdout.flush()
        if not failed:
            os._exit(0)

    arm = cache(lambda: atexit.register(leave))

    def check(data: bytes) -> None:
        nonlocal began, executed
        last.write_bytes(data)
        try:
            target.check(data)
        except BaseException:
            failed.append(data)
            raise
        began = began or time.monotonic()  # the first has started the engine
        executed += 1
        arm()  # after what the target itself wants done at the end: the last one comes first
        if seconds and time.monotonic() - began > seconds[0]:
            print(f"stat::number_of_executed_units: {executed}", file=sys.stderr, flush=True)
            os._exit(0)

    return check


def write_seeds(folder: Path, target: Any) -> None:
    """Write each seed to a file of its own."""
    folder.mkdir()
    for number, seed in enumerate(target.seeds()):
        (folder / f"{number:04d}").write_bytes(seed)


def escaped(word: bytes) -> str:
    """Return *word* as a dictionary of libFuzzer has it."""
    return "".join(
        chr(one) if 32 <= one < 127 and chr(one) not in '"\\' else f"\\x{one:02x}" for one in word
    )


def mutated(target: Any) -> Any:
    """Return a mutator: the target's own half of the time, else libFuzzer's."""
    import atheris

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.5:
            return bytes(target.splice(bytes(data), random))[:max_size]
        return bytes(atheris.Mutate(data, max_size))

    return mutate


if __name__ == "__main__":
    main(sys.argv[1:])
