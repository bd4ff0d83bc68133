"""``mvtrace dataset`` against a real collector: named, checked, compared, made of one another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from processes import collector
from pyarrow import csv, parquet
from stored import new_store

from mvtrace.cli.main import run
from mvtrace.cli.registering import asker

ROWS = [
    {"id": 1, "text": "a b c", "score": 0.5, "day": "2026-08-22"},
    {"id": 2, "text": "a", "score": 1.0, "day": None},
    {"id": 3, "text": "x y z", "score": 1e-7, "day": "2026-08-23"},
]
CLEAN = """\
import json, os, sys
source, target, words = sys.argv[1:]
with open(target, "w") as out:
    for line in open(source):
        row = json.loads(line)
        if len(row["text"].split()) >= int(words):
            out.write(json.dumps({**row, "seed": os.environ.get("MVTRACE_SEED")}) + "\\n")
print("cleaned")
"""
TRANSFORM = ("transform", "--in", "raw.jsonl", "--out", "clean.jsonl")
COMMAND = ("--", sys.executable, "clean.py", "{in}", "{out}", "{words}")


class Told(NamedTuple):
    code: int
    out: str
    err: str


Ask = Callable[..., Told]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("datasets")
    new_store(f"chdb://{folder / 'store'}").close()
    with collector(folder) as one:
        yield one.url


@pytest.fixture
def dataset(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Ask:
    """Run ``mvtrace dataset …`` in a folder with raw.jsonl and clean.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MVTRACE_URL", url)
    Path("raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    Path("clean.py").write_text(CLEAN)

    def ask(*arguments: str) -> Told:
        capfd.readouterr()
        code = run(["dataset", *arguments])
        return Told(code, *capfd.readouterr())

    return ask


def said(told: Told) -> dict[str, object]:
    assert told.code == 0, told.err
    found: dict[str, object] = json.loads(told.out)
    return found


def test_a_dataset_is_known_by_its_rows(dataset: Ask) -> None:
    """
    Added once, it is shown and listed by name and root, and found again in other files.
    """
    added = said(dataset("add", "raw.jsonl", "--name", "tickets", "--uri", "s3://b/k", "--json"))
    root = str(added["root"])
    assert (added["dataset"], added["rows"], added["uri"]) == (f"dataset:{root}", 3, "s3://b/k")

    for text in ("tickets", root[:8], f"dataset:{root}"):
        assert said(dataset("show", text, "--json"))["root"] == root
    assert dataset("show", "tickets").out == (
        f"dataset    dataset:{root}\n"
        "name       tickets\n"
        "rows       3\n"
        "distinct   3\n"
        f"bytes      {Path('raw.jsonl').stat().st_size}\n"
        "format     jsonl\n"
        "uri        s3://b/k\n"
    )
    assert f"{root[:12]}   tickets   3      jsonl\n" in dataset("list").out
    parquet.write_table(pa.Table.from_pylist(ROWS[::-1]), "other.parquet")
    assert dataset("verify", "other.parquet", "tickets").out == (
        f"other.parquet is dataset:{root} tickets: 3 rows (3 distinct) in 1 file.\n"
    )


def test_typed_columns_are_found_again_in_texts(dataset: Ask) -> None:
    """
    What was hashed as Parquet is verified in CSV, by the types that were registered.
    """
    table = pa.Table.from_pylist(ROWS)
    days = table["day"].cast(pa.date32())
    table = table.set_column(table.schema.get_field_index("day"), "day", days)
    parquet.write_table(table, "typed.parquet")
    csv.write_csv(table, "typed.csv")
    root = said(dataset("add", "typed.parquet", "--json"))["root"]

    assert said(dataset("verify", "typed.csv", "typed", "--json"))["dataset"] == f"dataset:{root}"
    columns = "id:int,score:float,day:date"
    hashed = said(dataset("add", "typed.csv", "--columns", columns, "--dry-run", "--json"))
    assert (hashed["root"], hashed["registered"]) == (root, False)
    assert "column     id: int\n" in dataset("show", "typed").out


def test_a_claim_that_does_not_hold_is_refused(dataset: Ask) -> None:
    """
    The same name and number of rows prove nothing; what is there is said.
    """
    root = said(dataset("add", "raw.jsonl", "--name", "claimed", "--json"))["root"]
    Path("raw.jsonl").write_text(Path("raw.jsonl").read_text().replace("a b c", "a b d"))
    other = said(dataset("add", "raw.jsonl", "--dry-run", "--json"))["root"]

    assert dataset("verify", "raw.jsonl", "claimed") == (
        1,
        "",
        (
            "error: dataset-differs\n\n"
            f"'raw.jsonl' is not dataset:{root} (claimed): its root is {other}; both have 3 rows, and "
            "not all are the same.\n\n"
            "hint: 'mvtrace dataset diff A B' counts the rows that differ, of files at hand.\n"
        ),
    )
    Path("raw.jsonl").write_text("{}\n")
    assert "it has 1 rows, and 3 are registered." in dataset("verify", "raw.jsonl", "claimed").err


def test_rows_that_differ_are_counted(dataset: Ask) -> None:
    """
    Files are compared row by row; of a name, roots and numbers of rows.
    """
    Path("less.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*ROWS[1:], {"id": 9}]))
    root = said(dataset("add", "raw.jsonl", "--name", "more", "--json"))["root"]

    assert dataset("diff", "raw.jsonl", "less.jsonl") == (
        1, "2 rows in both, 1 only in raw.jsonl, 1 only in less.jsonl.\n", "",
    )  # fmt: skip
    assert dataset("diff", "raw.jsonl", "more") == (
        0, f"The same dataset: dataset:{root}, 3 rows.\n", "",
    )  # fmt: skip
    told = dataset("diff", "less.jsonl", "more", "--json")
    assert (told.code, json.loads(told.out)["b"]) == (1, {"root": root, "rows": 3})


def test_a_step_is_recorded_and_checked(dataset: Ask) -> None:
    """
    The command runs, what it made is derived from what it read, and --check does it again.
    """
    options = (*TRANSFORM, "--param", "words=3", "--seed", "7")
    nothing = dataset(*options, "--check", *COMMAND)
    assert nothing.code == 1
    assert "on these inputs is registered for 'out', so there is no claim to check." in nothing.err

    told = dataset(*options, "--json", *COMMAND)
    made = said(told)
    assert told.err == "cleaned\n"
    assert '"seed": "7"' in Path("clean.jsonl").read_text()
    step = said(dataset(*options, "--check", "--json", *COMMAND))
    assert (step["transformation"], step["outputs"]) == (made["transformation"], made["outputs"])
    ancestry = lineage(str(made["outputs"]["out"]))  # type: ignore[index]
    assert str(made["inputs"]["in"]) in ancestry  # type: ignore[index]
    assert str(made["transformation"]) in ancestry


def test_a_step_that_gives_something_else_is_refused(dataset: Ask) -> None:
    """
    A claim of reproducibility is run again; where it does not hold both outputs are named.
    """
    Path("clean.py").write_text(CLEAN.replace('"MVTRACE_SEED"', '"CHANCE"'))
    options = (*TRANSFORM, "--param", "words=3")
    os.environ["CHANCE"] = "1"
    first = said(dataset(*options, "--json", *COMMAND))
    os.environ["CHANCE"] = "2"
    refused = dataset(*options, "--check", *COMMAND)
    again = dataset(*options, *COMMAND)
    del os.environ["CHANCE"]

    before = first["outputs"]["out"]  # type: ignore[index]
    now = said(dataset("add", "clean.jsonl", "--dry-run", "--json"))["dataset"]
    assert refused == (
        1,
        "",
        (
            "cleaned\nerror: not-reproduced\n\n"
            f"The claim does not hold: {first['transformation']} made {before} from the same inputs, "
            f"and now it made {now} (2 rows).\n\n"
            "hint: A seed that is not used, a clock, an order or another version of a library may be "
            "why.\n"
        ),
    )
    assert again.code == 0
    assert again.out.splitlines()[-1] == (
        f"  out was {before} in an earlier run of the same step on the same inputs: it is not "
        "reproducible."
    )


@pytest.mark.parametrize(
    ("options", "is_registered"), [((), False), (("--code", "made.toml"), True)]
)
def test_the_text_of_what_is_no_program_stays_here(
    dataset: Ask, url: str, options: tuple[str, ...], is_registered: bool
) -> None:
    """
    A file of settings may hold secrets: its digest is stored, its text where --code names it.
    """
    text = f"password = 'x{len(options)}'"
    Path("made.toml").write_text(text)

    command = ("sh", "-c", 'cp "$1" "$2"', "made.toml", "{in}", "{out}")
    assert dataset(*TRANSFORM, *options, "--", *command).code == 0

    sql = "SELECT count() AS n FROM contents WHERE content = {text:String}"
    found = asker(url, None)(sql, {"text": text})
    assert [int(row["n"]) for row in found] == [int(is_registered)]


def test_an_entry_that_nobody_can_read_hides_no_other(dataset: Ask, tmp_path: Path) -> None:
    """
    It is left out of the list, and counted.
    """
    dsn = f"chdb://{tmp_path / 'store'}"
    sound = '{"kind":"dataset","name":"sound","schema_version":1}'
    broken = '{"kind":"dataset","schema_version":1,"x":{"$int":"x"}}'
    with new_store(dsn) as store, store.session() as session:
        columns = ("project", "kind", "digest", "name", "body")
        rows = [("default", "dataset", f"sha256:{body}", "", body) for body in (sound, broken)]
        session.insert("registry_entries", columns, rows)

    told = dataset("list", "--store", dsn)
    assert "none      sound" in told.out
    assert told.out.endswith("\nLeft out: 1 row that cannot be read.\n")
    listed = json.loads(dataset("list", "--store", dsn, "--json").out)
    assert (len(listed["datasets"]), listed["unreadable"]) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (
            (*TRANSFORM, "--", sys.executable, "clean.py"),
            1,
            "The command ended with exit code 1, so nothing was registered.",
        ),
        (
            (*TRANSFORM, "--", "no-such-program", "clean.py"),
            2,
            "'no-such-program' cannot be run: No such file or directory.",
        ),
        (
            (*TRANSFORM, "--", "true"),
            2,
            (
                "A transformation cannot be registered: no argument of the command is a file that "
                "does the work."
            ),
        ),
        ((*TRANSFORM, "--param", "x", *COMMAND), 2, "--param 'x' is no KEY=VALUE of a new key."),
        (("add", "raw.jsonl", "--columns", "id"), 2, "--columns: 'id' is not NAME:TYPE."),
        (
            ("add", "empty.jsonl"),
            1,
            "Dataset 'empty.jsonl': it holds no rows, and every empty dataset is the same.",
        ),
        (("show", "nothing"), 1, "No dataset 'nothing' is registered."),
    ],
)
def test_what_cannot_be_is_refused(
    dataset: Ask, arguments: tuple[str, ...], code: int, why: str
) -> None:
    """
    One sentence says what is wrong, and nothing is registered.
    """
    Path("empty.jsonl").write_text("")

    told = dataset(*arguments)

    assert (told.code, told.out) == (code, "")
    assert f"\n\n{why}\n" in told.err


def test_an_option_that_is_none_is_no_part_of_the_command(dataset: Ask) -> None:
    """
    A slip before ``--`` is told, not run.
    """
    told = dataset(*TRANSFORM, "--sed", "7", *COMMAND)

    assert (told.code, Path("clean.jsonl").exists()) == (2, False)
    assert "--sed" in told.err


def test_what_a_decorated_function_made_is_registered(dataset: Ask, url: str) -> None:
    """
    A process that only prepares data registers through its spool as a serving one does.
    """
    Path("prepare.py").write_text(
        "import mvtrace, sys\n"
        "mvtrace.configure(service='data', url=sys.argv[1], spool_dir='spool')\n"
        "@mvtrace.transformation(inputs=['raw'], outputs=['out'])\n"
        "def first(raw, out, *, n=1):\n"
        "    open(out, 'w').writelines(open(raw).readlines()[:n])\n"
        "made = first.run('raw.jsonl', 'first.jsonl', n=2)\n"
        "assert mvtrace.flush(30)\n"
        "print(made.outputs['out'].ref)\n"
    )
    done = subprocess.run(
        [sys.executable, "prepare.py", url],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    ref = done.stdout.strip()

    assert ref in said_within(lambda: dataset("show", "first", "--json"))


def said_within(ask: Callable[[], Told]) -> str:
    """Return what is told once it is stored."""
    deadline = time.monotonic() + 30
    while (told := ask()).code and time.monotonic() < deadline:
        time.sleep(0.1)
    return told.out


def lineage(ref: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mvtrace", "lineage", ref, "--json"],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    return done.stdout
