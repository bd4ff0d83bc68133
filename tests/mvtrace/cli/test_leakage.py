"""``mvtrace leakage`` over a real collector: lineage walked, certificates stored, exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from near_duplicates import Corpus
from processes import collector
from stored import Filler, new_store
from story import SYSTEM, record, request_id

from mvtrace.cli.main import run
from mvtrace.cli.registering import asker, register
from mvtrace.registry.datasets.hashing import hash_dataset
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.evals.suites import Examples, suite_entry
from mvtrace.registry.lineage.derivations import derivation
from mvtrace.registry.reading import statement
from mvtrace.registry.refs import Ref

Said = Callable[..., tuple[int, str, str]]
"""A command of the group: arguments in; exit code, stdout and stderr out."""

TEXTS = Corpus(21).texts(120, least=12, most=25)
WRITER = Ref.of("component", SYSTEM.part("model/writer").digest)
WHOLE = """\
eval eval.jsonl (dataset:{eval}), 10 examples, compared by answer, question
near: Jaccard 0.7 of 5 characters, found with probability 0.9998 at that (32 bands of 4); \
contained: 70% of the runs of 8 tokens
10 texts of fewer than 4 words count only with the rest of their row

data                                   rows   with overlap   examples found   name
dataset:{train}   training data   32     3              3                train.jsonl

3 of 10 examples are in the training data: 1 the same text, \
1 the same but for case, space and punctuation, 1 contained in a longer text.
By column: answer 0, question 3; all of them in one row: 1.

  example 1   row                     1.00   row 31 of dataset:{train}
  example 2   question   normalized   1.00   row 32 of dataset:{train}
  example 3   question   contained    1.00   row 30 of dataset:{train}

It cannot prove the absence of:
  paraphrase: the same said in other words
  translation: the same said in another language
  data that was not at hand, and whatever no lineage records
  what a base model was trained on before: nobody has its corpus here
  texts that are no texts here: pictures, sound, numbers alone, other encodings
  near-duplicates below the threshold, and those the sampling misses at the stated rate
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("leakage")
    with new_store(f"chdb://{folder / 'store'}") as store:
        fill = Filler(store)
        fill.system(SYSTEM)
        fill.edge(f"composite:{SYSTEM.version}", str(WRITER), "model/writer")
        fill.request(record(1))
    with collector(folder) as one:
        yield one.url


@pytest.fixture
def said(url: str, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command of the group; give its exit code and what it wrote."""

    def command(*arguments: object, local: bool = False) -> tuple[int, str, str]:
        where = ["--local"] if local else ["--url", url]
        try:
            code = run(["leakage", *map(str, arguments), *where])
        except SystemExit as ended:
            code = int(ended.code or 0)
        written = capsys.readouterr()
        return code, written.out, written.err

    return command


def question(number: int) -> dict[str, str]:
    return {"question": TEXTS[number], "answer": f"no {number}"}


def file_of(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def dataset_at(path: Path, name: str, *, uri: str = "") -> tuple[Ref, Entry]:
    """Return the ref of the dataset at *path*, and the entry that registers it."""
    dataset = hash_dataset(path)
    return dataset.ref, dataset.entry(name, uri=uri or str(path))


def leaking(folder: Path) -> tuple[Path, Path]:
    """Return an eval and training data that has three of its ten examples."""
    evals = [question(number) for number in range(10)]
    trains = [question(number) for number in range(30, 59)]
    trains += [{"text": f"{TEXTS[60]} {TEXTS[2]} {TEXTS[61]}"}, evals[0]]
    trains += [{"prompt": TEXTS[1].upper().replace(" ", "  - ")}]
    return file_of(folder / "eval.jsonl", evals), file_of(folder / "train.jsonl", trains)


def test_files_are_compared_and_certified(said: Said, tmp_path: Path) -> None:
    """
    Two files are compared: what was found is told whole, stored, and shown again by its digest.
    """
    evals, trains = leaking(tmp_path)
    digests = {"eval": hash_dataset(evals).root[:12], "train": hash_dataset(trains).root[:12]}

    code, out, err = said(evals, trains)

    words, _, stored = out.rpartition("\ncertificate:")
    assert (code, err, words) == (1, "", WHOLE.format(**digests))
    assert stored.endswith(" is stored.\n")
    digest = stored.split()[0]
    code, shown, _ = said("show", digest[:12])
    assert code == 0
    assert re.sub(r"stored 20.* UTC by open\n", "", shown) == f"certificate:{digest}\n\n{words}"
    assert said(evals, trains) == (1, out, "")
    code, out, _ = said("list", "--json")
    listed = [one for one in json.loads(out)["certificates"] if one["certificate"] == digest]
    assert (code, len(listed), listed[0]["said"]["found"]["examples"]) == (0, 1, 3)


def test_no_text_is_stored(said: Said, url: str, tmp_path: Path) -> None:
    """
    A certificate has digests, positions and counts; texts are printed where --show asks for them,
    and stored nowhere.
    """
    evals, trains = leaking(tmp_path)

    code, out, _ = said(evals, trains, "--show", "--json")

    shown = json.loads(out)
    assert code == 1
    expected = set(map(compact, evals.read_text().splitlines()[:3]))
    assert {one["eval_text"] for one in shown["texts"]} == expected
    rows = asker(url, None)(statement("leakage_certificates"), {"refs": [], "limit": 100})
    assert rows
    assert not any(
        word in row["body"] for row in rows for word in TEXTS[0].split() if len(word) > 6
    )


def compact(line: str) -> str:
    return json.dumps(json.loads(line), separators=(",", ":"), sort_keys=True)


@pytest.mark.parametrize(("allowed", "expected"), [(0, 1), (2, 1), (3, 0)])
def test_how_much_is_allowed(said: Said, tmp_path: Path, allowed: int, expected: int) -> None:
    """
    The exit code is 1 where more examples were found than are allowed.
    """
    code, out, _ = said(*leaking(tmp_path), "--allow", allowed, local=True)

    assert code == expected
    assert "The lineage was not asked for" in out
    assert out.endswith(" is not stored.\n")


def test_a_model_is_checked_by_its_lineage(said: Said, url: str, tmp_path: Path) -> None:
    """
    Of a model all its recorded training data is read, and what that was made from; what is not at
    hand is named, what a step took out is told apart, and a base model nobody recorded too.
    """
    evals = file_of(tmp_path / "eval.jsonl", [question(n) for n in range(10)])
    raw = file_of(tmp_path / "raw.jsonl", [question(n) for n in range(4, 40)])
    clean = file_of(tmp_path / "clean.jsonl", [question(n) for n in range(9, 40)])
    far = file_of(tmp_path / "far.jsonl", [question(99)])
    made = [dataset_at(path, path.stem) for path in (raw, clean)]
    made.append(dataset_at(far, "far", uri="s3://bucket/far.jsonl"))
    refs = [ref for ref, _ in made]
    model, base = Ref("component", "a" * 64), Ref("artifact", "b" * 64)
    register(
        [
            *(entry for _, entry in made),
            derivation(refs[1], [(refs[0], "dataset")]),
            derivation(refs[0], [(refs[2], "dataset")]),
            derivation(model, [(refs[1], "dataset"), (base, "base")]),
        ],
        url=url,
    )

    code, out, _ = said(evals, model, "--json")

    found = json.loads(out)
    assert code == 1
    assert [(one["ref"], one["relation"], one["found"]) for one in found["checked"]] == [
        (str(refs[1]), "trained", 1),
        (str(refs[0]), "ancestor", 6),
    ]
    assert {one["ref"]: (one["relation"], one["why"]) for one in found["not_checked"]} == {
        str(refs[2]): (
            "ancestor",
            "its files are at s3://bucket/far.jsonl, which is not on this machine",
        ),
        str(base): ("trained", "no training data of it is recorded"),
    }
    assert (found["found"]["examples"], found["found"]["only_in_ancestors"]) == (1, 5)
    assert (found["complete"], found["train"]) == (False, [str(model)])
    assert said(evals, model, "--allow", 1)[0] == 0
    assert said(evals, model, "--allow", 1, "--strict")[0] == 1


def test_an_explanation_tells_of_it(
    said: Said,
    url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    What answered a request was made from data: that nobody compared it with an eval is a finding,
    and what a certificate says of it is one afterwards.
    """
    evals = file_of(tmp_path / "eval.jsonl", [question(n) for n in range(110, 113)])
    trains = file_of(tmp_path / "train.jsonl", [question(n) for n in range(113, 119)])
    ref, entry = dataset_at(trains, "writer-data")
    register([entry, derivation(WRITER, [(ref, "dataset")])], url=url)

    def told() -> list[tuple[str, str]]:
        assert run(["explain", request_id(1), "--url", url, "--json"]) == 0
        findings = json.loads(capsys.readouterr().out)["findings"]
        return [(one["code"], one["text"]) for one in findings if "leakage" in one["code"]]

    before = told()
    code, out, _ = said(evals, WRITER, "--json")

    assert before == [
        (
            "leakage_unchecked",
            (
                f"model writer was made from 1 dataset (dataset:{ref.digest[:12]}); "
                "no leakage certificate compares any of that with an eval."
            ),
        )
    ]
    assert (code, json.loads(out)["complete"]) == (0, True)
    assert told() == [
        (
            "leakage_checked",
            (
                "model writer: none of 3 examples of eval eval.jsonl was found in its training "
                "data; the dataset it was made from was compared "
                f"(certificate {json.loads(out)['certificate'][:12]})."
            ),
        )
    ]


def test_what_both_were_made_from_proves_nothing(said: Said, url: str, tmp_path: Path) -> None:
    """
    Data that was split into the eval and the training data holds both: it is told, not counted,
    also under --strict.
    """
    rows = [question(n) for n in range(100, 120)]
    whole, first, second = (
        file_of(tmp_path / f"{name}.jsonl", part)
        for name, part in (("all", rows), ("test", rows[:5]), ("rest", rows[5:]))
    )
    made = [dataset_at(path, f"split-{path.stem}") for path in (whole, first, second)]
    (origin, _), (test, _), (rest, _) = made
    steps = [derivation(one, [(origin, "dataset")]) for one in (test, rest)]
    register([*(entry for _, entry in made), *steps], url=url)

    code, out, _ = said(first, second, "--strict", "--json")

    assert code == 0
    checked = {one["relation"]: one["found"] for one in json.loads(out)["checked"]}
    assert checked == {"asked": 0, "shared": 5}


def test_made_from_the_eval_itself(said: Said, url: str, tmp_path: Path) -> None:
    """
    Training data that was made from the eval fails, whatever is left of it to see.
    """
    evals = file_of(tmp_path / "eval.jsonl", [question(70)])
    trains = file_of(tmp_path / "train.jsonl", [{"t": "quite another text in its own words"}])
    child, parent = hash_dataset(trains).ref, hash_dataset(evals).ref
    register([derivation(child, [(parent, "dataset")])], url=url)

    code, out, _ = said(evals, trains, "--allow", 100)

    assert code == 1
    assert "The eval itself is among what the training data was made from." in out


def test_suites_and_versions(said: Said, url: str, tmp_path: Path) -> None:
    """
    A suite is read from where its dataset lies; its other versions, and those of the training data,
    are compared and told apart.
    """
    suites, known = [], []
    for version, numbers in enumerate((range(80, 84), range(81, 85))):
        path = file_of(tmp_path / f"suite{version}.jsonl", [question(n) for n in numbers])
        ref, entry = dataset_at(path, f"suite-data-{version}")
        known.append(entry)
        suites.append(suite_entry("qa", Examples(ref.digest, 4), version=str(version)))
    old = file_of(tmp_path / "old.jsonl", [question(82)])
    new = file_of(tmp_path / "new.jsonl", [question(80)])
    known += [dataset_at(path, "corpus")[1] for path in (old, new)]
    register([*known, *suites], url=url)

    code, out, _ = said(suites[1].ref, new, "--json")

    found = json.loads(out)
    assert (code, found["eval"], found["name"]) == (0, str(suites[1].ref), "qa")
    assert [(one["examples"], one["found"]) for one in found["versions"]] == [(4, 1)]
    assert [(one["relation"], one["found"]) for one in found["checked"]] == [
        ("asked", 0),
        ("version", 1),
    ]


def test_a_file_that_is_another_now(said: Said, url: str, tmp_path: Path) -> None:
    """
    A file that changed since it was registered is not compared in place of what was registered:
    where nothing else is left, that fails, and no certificate says that nothing was found.
    """
    evals = file_of(tmp_path / "eval.jsonl", [question(90)])
    trains = file_of(tmp_path / "changed.jsonl", [question(91)])
    ref, entry = dataset_at(trains, "changed")
    register([entry], url=url)
    file_of(trains, [question(90)])

    assert said(evals, ref, "--json") == (
        1,
        "",
        (
            f"error: check-failed\n\nNo training data could be compared: {ref} (what is at {trains} "
            "is another dataset now).\n\n"
            "hint: Give its files instead: mvtrace leakage EVAL FILE …\n"
        ),
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("missing.jsonl", "t.jsonl"),
            1,
            "error: entry-not-found\n\nNo thing 'missing.jsonl' is registered.\n",
        ),
        (
            ("suite:" + "0" * 64, "t.jsonl"),
            1,
            f"error: check-failed\n\nNo suite:{'0' * 64} is registered.\n",
        ),
        (
            ("component:" + "0" * 64, "t.jsonl"),
            2,
            (
                f"error: usage\n\n'component:{'0' * 64}' names no eval: "
                "it is a path, a suite or a dataset.\n"
            ),
        ),
        (
            ("t.jsonl", "t.jsonl", "--threshold", "0.1"),
            2,
            "error: usage\n\n--threshold is 0.1; it is from 0.3 to 1.\n",
        ),
        (("e.jsonl", "t.jsonl"), 1, "error: check-failed\n\nThe eval 'e.jsonl' has no example"),
        (("t.jsonl",), 2, "error: usage\n\nMissing argument 'TRAIN...'.\n"),
    ],
)
def test_refusals(
    said: Said,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    """
    What cannot be compared is said, with what does hold, and nothing is stored.
    """
    monkeypatch.chdir(tmp_path)
    file_of(tmp_path / "t.jsonl", [question(1)])
    file_of(tmp_path / "e.jsonl", [])

    found = said(*arguments)

    assert (found[0], found[1]) == (code, "")
    assert found[2].startswith(message)


def test_what_somebody_wrote_by_hand(said: Said, url: str) -> None:
    """
    An entry that calls itself a certificate and is none is listed as such, and shown as JSON only.
    """
    register([entry_of("certificate", {"name": "by-hand", "found": 3})], url=url)

    code, _, err = said("show", "by-hand")

    assert (code, err.split("\n")[2][:46]) == (1, "The stored certificate is not one that this ve")
    assert said("show", "by-hand", "--json")[0] == 0
    [line] = [one for one in said("list")[1].splitlines() if "by-hand" in one]
    assert line.endswith("cannot be read")


@pytest.mark.parametrize("text", ["corpus", "n" * 300])
def test_local_looks_nothing_up(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """
    With --local what is no file is refused, also what no file could be called.
    """
    monkeypatch.chdir(tmp_path)
    file_of(tmp_path / "t.jsonl", [question(1)])

    assert said("t.jsonl", text, local=True) == (
        2,
        "",
        (
            f"error: usage\n\nThere is no file or folder at '{text}'.\n\n"
            "hint: Without --local a ref or a name is looked up in the registry.\n"
        ),
    )


def test_the_extra_is_named() -> None:
    """
    Without datasketch the command says what to install.
    """
    program = (
        "import sys; sys.modules['datasketch'] = None; "
        "from mvtrace.cli.main import main; main(['leakage', 'a', 'b', '--local'])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 3
    assert done.stderr.endswith("hint: pip install 'mvtrace[leakage]'\n")
