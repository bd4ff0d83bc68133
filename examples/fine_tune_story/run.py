"""Tell the story: every command is run as it is printed, against a real collector.

    python -m examples.fine_tune_story.run [FOLDER]

The first part happens three months ago: whatever takes part in it, collector and app too, runs with
the clock set back (``earlier.py``). The second part is today. All listens on loopback, on free
ports, and ends with this process.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
MONTHS: Final = 92.0
"""Days between the two parts."""
START_SECONDS: Final = 60
_LISTENS: Final = re.compile(r"(?:listens|running) on (http://[0-9.:]+)[^0-9.:]")
_TOML: Final = """\
name = "help-desk"

[model.topics]
provider = "in-house"
model_id = "topics"
path = "model.npz"
uri = "{uri}"

[code.answer]
path = "../../code"
"""
_POLICY: Final = """\
[retention]
environments = ["prod"]
window = "30d"
roots = ["{root}"]
costs = {{ file = 0.02 }}
"""


class Story:
    """A folder, a clock and a collector; tells what it does on stdout."""

    def __init__(self, folder: Path, days: float = 0.0) -> None:
        self.folder = folder
        self.days = days
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MVTRACE_")},
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(HERE), *filter(None, sys.path))),
            "MVTRACE_SPOOL_DIR": str(folder / "spool"),
            "MVTRACE_SERVICE": "help-desk",
            "MVTRACE_ENVIRONMENT": "prod",
        }

    def python(self, module: str, *arguments: str) -> list[str]:
        """Return the command that runs *module* at this part's time."""
        if not self.days:
            return [sys.executable, "-m", module, *arguments]
        earlier = "examples.fine_tune_story.earlier"
        return [sys.executable, "-m", earlier, str(self.days), module, *arguments]

    def tell(self, text: str) -> None:
        """Print what happens next."""
        print(f"\n# {text}", flush=True)

    def run(self, line: str, *, code: int = 0) -> str:
        """Run ``mvtrace`` with *line*; return what it prints, raise unless it ends with *code*."""
        print(f"$ mvtrace {line}", flush=True)
        done = subprocess.run(
            self.python("mvtrace", *shlex.split(line)),
            cwd=self.folder, env=self.environ, capture_output=True, check=False, text=True,
        )  # fmt: skip
        said = done.stdout + done.stderr
        print(said, end="", flush=True)
        if done.returncode != code:
            raise RuntimeError(f"mvtrace {line} ended with {done.returncode}, not {code}: {said}")
        return said

    def json(self, line: str) -> Any:
        """Run ``mvtrace`` with ``--json``, print nothing, return the value."""
        command = self.python("mvtrace", *shlex.split(line), "--json")
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, check=True, text=True
        )
        return json.loads(done.stdout)

    def work(self, *command: str) -> None:
        """Run a program of the story that is none of mvtrace."""
        print(f"$ python {shlex.join(command)}", flush=True)
        subprocess.run([sys.executable, *command], cwd=self.folder, env=self.environ, check=True)

    @contextmanager
    def collector(self) -> Iterator[None]:
        """Run the collector of this part; commands and apps find it by MVTRACE_URL."""
        store = f"chdb://{self.folder / 'store'}"
        command = self.python("mvtrace", "collector", "--store", store, "--listen", "127.0.0.1:0")
        with self._serving(command, "collector", {}) as url:
            self.environ["MVTRACE_URL"] = url
            yield

    @contextmanager
    def app(self, system: str) -> Iterator[str]:
        """Serve *system*, one of the folders below ``systems``."""
        environ = {"SYSTEM": str(self.folder / "systems" / system)}
        with self._serving(self.python("app"), f"app-{system}", environ) as url:
            yield url

    @contextmanager
    def _serving(self, command: list[str], name: str, environ: Mapping[str, str]) -> Iterator[str]:
        log = self.folder / f"{name}-{len(list(self.folder.glob('*.log')))}.log"
        with (
            log.open("wb") as sink,
            subprocess.Popen(
                command, cwd=self.folder, env={**self.environ, **environ}, stdout=sink, stderr=sink
            ) as process,
        ):
            try:
                yield _address(log, process)
            finally:
                process.terminate()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Return the address that *process* says it listens at; raise if it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if found := _LISTENS.search(log.read_text(errors="replace")):
            return found.group(1)
        time.sleep(0.05)
    raise RuntimeError(f"it does not serve: {log.read_text(errors='replace')[-2000:]}")


def ask(url: str, text: str) -> dict[str, str]:
    """Ask the app for the topic of a note."""
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(f"{url}/topic", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, str] = json.load(response)
    return answer


def data(story: Story) -> None:
    """Two datasets, cleaned; each step says what it was, with what parameters."""
    story.tell("Three months ago: two exports of tickets and a forum, cleaned.")
    story.work("code/notes.py", "raw")
    for raw, clean, voucher in (
        ("tickets-old.jsonl", "old", "refund"),
        ("tickets-new.jsonl", "new", "billing"),
        ("forum.csv", "forum", "refund"),
    ):
        kept = (story.folder / "raw" / raw).as_uri()
        story.run(f"dataset add raw/{raw} --name {raw.partition('.')[0]} --uri {kept}")
        story.run(
            f"dataset transform --in raw/{raw} --out {clean}.jsonl --param voucher={voucher} "
            f"--name clean -- {sys.executable} code/clean.py {{in}} {{out}} {{voucher}}"
        )


def branch(story: Story, name: str, seed: int, base: str | None, *clean: str) -> str:
    """Train a model, say what it was made from, pin the system around it; return its version."""
    system = story.folder / "systems" / name
    system.mkdir(parents=True)
    (system / "mvtrace.toml").write_text(_TOML.format(uri=(system / "model.npz").as_uri()))
    weights = f"systems/{name}/model.npz"
    given = ["--base", f"systems/{base}/model.npz"] if base else []
    story.work("code/model.py", "train", weights, str(seed), *given, *clean)
    parents = "".join(f" --from {one}:dataset" for one in clean)
    parents += f" --from systems/{base}/model.npz:base" if base else ""
    before = story.json(f"show systems/{base}/mvtrace.lock")["version"] if base else ""
    parent = f" --parent composite:{before}" if base else ""
    story.run(
        f"pin --file systems/{name}/mvtrace.toml --experiment topics-3 --reason {name}{parent}"
    )
    story.run(f"lineage record {weights}{parents}")
    found: str = story.json(f"show systems/{name}/mvtrace.lock")["version"]
    return found


def scored(story: Story, versions: Mapping[str, str], suite: str) -> None:
    """Score each system on a suite, example by example."""
    for name, version in versions.items():
        out, examples = f"{name}-{suite}.jsonl", f"raw/suite-{suite}.jsonl"
        story.work("code/model.py", "score", f"systems/{name}/model.npz", examples, out)
        story.run(
            f"eval record {out} --version {version[:12]} --suite topics@{suite} --scorer exact "
            f"--examples {examples}"
        )


def chosen(story: Story) -> dict[str, str]:
    """Three branches of one experiment, a winner that is none, and one that is."""
    story.tell("A base and three branches, each pinned with the system around it.")
    story.run("experiment start topics-3 --reason 'more data for the help desk'")
    versions = {"base": branch(story, "base", 1, None, "old.jsonl")}
    versions["forum"] = branch(story, "forum", 2, "base", "old.jsonl", "forum.jsonl")
    versions["tickets"] = branch(story, "tickets", 3, "base", "old.jsonl", "new.jsonl")
    versions["short"] = branch(story, "short", 4, None, "new.jsonl")
    story.run("eval scorer --name exact --code code/model.py")
    story.run("eval suite raw/suite-v1.jsonl --name topics --version v1 --id id --cluster customer")
    scored(story, {name: versions[name] for name in ("forum", "tickets", "short")}, "v1")
    story.tell("The forum's model seems the best by far …")
    story.run(f"eval compare {versions['tickets'][:12]} {versions['forum'][:12]} --suite topics@v1")
    story.tell("… but most of the suite is in what it was trained on.")
    story.run("leakage raw/suite-v1.jsonl forum.jsonl --column text --allow 5", code=1)
    story.tell("So a second suite; scores on the one do not compare with those on the other.")
    story.run("eval suite raw/suite-v2.jsonl --name topics --version v2 --id id --cluster customer")
    story.run("leakage raw/suite-v2.jsonl old.jsonl new.jsonl forum.jsonl --column text")
    scored(story, {name: versions[name] for name in ("forum", "tickets")}, "v2")
    story.run(f"eval compare {versions['forum'][:12]} {versions['tickets'][:12]} --suite topics@v2")
    story.run(
        f"eval compare {versions['short'][:12]} {versions['tickets'][:12]} --suite topics@v2",
        code=1,
    )
    return versions


def incident(story: Story, versions: Mapping[str, str]) -> str:
    """Deploy, promote, go wrong, roll back; return the id of a request that went wrong."""
    story.tell("The base serves; the winner gets a share, then everything.")
    story.run(f"deploy {versions['base'][:12]} --reason 'first release'")
    with story.app("base") as url:
        told = [ask(url, "voucher redeem basket coupon second time asked again")]
    story.run(f"deploy {versions['tickets'][:12]} --share 0.1 --reason 'better on topics@v2'")
    story.run(f"promote --expect {versions['base'][:12]} --evidence topics@v2")
    with story.app("tickets") as url:
        told += [ask(url, f"voucher redeem basket coupon {word} asked again") for word in "abc"]
    for answer in told:
        print(f"  voucher note: {answer['topic']:8} request {answer['request_id']}")
    story.tell("Vouchers go to the wrong desk: back to what served before.")
    story.run("rollback --reason 'vouchers are filed as billing' --evidence INC-2207")
    return told[-1]["request_id"]


def today(story: Story, versions: Mapping[str, str], request: str) -> None:
    """Explain, find the cause and how far it reaches, then free what may go."""
    story.tell("Today somebody asks about one of those answers.")
    story.run(f"explain {request}")
    story.run(f"diff {versions['base'][:12]} request:{request}")
    story.run(f"lineage {versions['tickets'][:12]} --up")
    story.tell("The step that cleaned the new tickets made billing of vouchers: whom did it reach?")
    story.run("lineage new.jsonl --down --requests")
    story.tell("And what lies about for nothing?")
    policy = _POLICY.format(root=(story.folder / "systems").as_uri())
    (story.folder / "retention.toml").write_text(policy)
    story.run("retention plan --policy retention.toml --out plan.json")
    story.run("retention apply plan.json --reason 'experiments of the summer'")
    story.run("retention plan --policy retention.toml --out again.json")
    story.tell("What served can serve again; what was collected cannot.")
    story.run(f"deploy {versions['forum'][:12]} --reason 'again?'", code=1)
    story.run(f"deploy {versions['tickets'][:12]} --share 0.05 --reason 'with the labels mended'")
    story.tell("What is known of it stays: what it was made from, and what it scored.")
    story.run(f"lineage {versions['forum'][:12]} --up")
    story.run(f"eval compare {versions['tickets'][:12]} {versions['forum'][:12]} --suite topics@v1")
    story.run("log --service help-desk")


def tell(folder: Path) -> None:
    """Tell it all, in *folder*."""
    code = folder / "code"
    code.mkdir(parents=True)
    for name in ("notes.py", "clean.py", "model.py"):
        shutil.copy(HERE / name, code / name)
    then = Story(folder, MONTHS)
    with then.collector():
        data(then)
        versions = chosen(then)
        request = incident(then, versions)
    now = Story(folder)
    with now.collector():
        today(now, versions, request)


def main() -> None:
    """Tell it in a folder that is given, else in one that is removed afterwards."""
    if sys.argv[1:]:
        tell(Path(sys.argv[1]).absolute())
        return
    with tempfile.TemporaryDirectory() as folder:
        tell(Path(folder))


if __name__ == "__main__":
    main()
