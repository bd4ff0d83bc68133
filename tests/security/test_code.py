"""No bytes from outside become code: what no module may call, and files that would like to run."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*(ROOT / "mvtrace").rglob("*.py"), *(ROOT / "collector").rglob("*.py")])

UNPICKLERS = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dbm", "dill", "cloudpickle"}
FORBIDDEN_MODULES = UNPICKLERS | {
    *("joblib", "jsonpickle", "torch", "yaml", "xml", "pty", "commands", "runpy", "code"),
    *("codeop", "imp", "zipimport", "ctypes", "telnetlib", "multiprocessing"),
}
"""Modules that turn bytes into objects or code, or need no place in a collector."""
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_CALLS = {
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("importlib.import_module", "importlib.__import__", "tempfile.mktemp"),
    *("numpy.load", "np.load", "pandas.read_pickle", "pd.read_pickle"),
    *("ssl._create_unverified_context", "asyncio.create_subprocess_shell"),
}
FORBIDDEN_SWITCHES = {"shell": True, "allow_pickle": True, "verify": False}
"""Arguments that may not be given at all, but for their opposite as a constant."""

EXCEPTIONS = {
    ("mvtrace/capture/declared.py", "importlib.import_module"): "MVTRACE_COMPOSITE names a module",
    ("mvtrace/components/index.py", "importlib.import_module"): "adapters of ours, from a table",
    ("mvtrace/integrations/instrument.py", "importlib.import_module"): "modules of ours, by a list",
    ("mvtrace/capture/late.py", "importlib.import_module"): "called with names in our own code",
    ("mvtrace/registry/pin/objects.py", "importlib.import_module"): "'mvtrace pin' says it does",
    ("mvtrace/registry/leakage/scanning.py", "multiprocessing"): "a pool of our own processes",
    ("mvtrace/cli/compare.py", "importlib.import_module"): "parts of ours that need an extra",
    ("mvtrace/cli/plans.py", "importlib.import_module"): "parts of ours that need an extra",
    ("mvtrace/cli/verdicts.py", "importlib.import_module"): "parts of ours that need an extra",
    ("mvtrace/comparing/__init__.py", "importlib.import_module"): "parts that need an extra",
    ("mvtrace/analytics.py", "importlib.import_module"): "libraries by names in our own code",
    ("collector/mvtrace_collector/looks.py", "importlib.import_module"): "parts, by constants",
}
"""What is let through, and why: they import what the operator or we have written down, or
pickle between processes of one program."""


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` of an expression made of names, else what is known of its end."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_switched(keyword: ast.keyword) -> bool:
    """Whether an argument is one of FORBIDDEN_SWITCHES and not the constant that is harmless."""
    if keyword.arg not in FORBIDDEN_SWITCHES:
        return False
    harmless = not FORBIDDEN_SWITCHES[keyword.arg]
    return not (isinstance(keyword.value, ast.Constant) and keyword.value.value is harmless)


def faults(source: str) -> Iterator[str]:
    """Return what stands in *source* that may not."""
    for node in ast.walk(ast.parse(source)):
        yield from (
            name
            for name in imports(node)
            if name.split(".")[0] in FORBIDDEN_MODULES or name in FORBIDDEN_CALLS
        )
        if isinstance(node, ast.Name) and node.id in FORBIDDEN_NAMES:
            yield node.id
        if isinstance(node, ast.Attribute) and dotted(node) in FORBIDDEN_CALLS:
            yield dotted(node)
        if isinstance(node, ast.Call):
            yield from (str(keyword.arg) for keyword in node.keywords if is_switched(keyword))


def test_no_module_makes_code_of_bytes() -> None:
    """
    Nothing unpickles, evaluates, loads YAML, starts a shell or imports a name that somebody sent.
    """
    assert len(MODULES) > 150
    found = {
        (path.relative_to(ROOT).as_posix(), fault)
        for path in MODULES
        for fault in faults(path.read_text())
    }

    assert found - EXCEPTIONS.keys() == set()
    assert EXCEPTIONS.keys() - found == set(), "an exception that is not needed any more"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import a, marshal as m",
        "from yaml import load",
        "def f():\n    import shelve",
        "eval('1')",
        "run = exec",
        "map(eval, texts)",
        "__import__(name)",
        "import os\nos.system(x)",
        "from os import popen",
        "importlib.import_module(x)",
        "np.load(file)",
        "read(file, allow_pickle=flag)",
        "subprocess.run(x, shell=True)",
        "subprocess.run(x, shell=1)",
        "client(verify=False)",
    ],
)
def test_the_search_finds_what_it_is_for(source: str) -> None:
    """
    Each way of running bytes is found, also under another name or inside a function.
    """
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    ["re.compile(x)", "subprocess.run([x], shell=False)", "call(verify=True)", "spam.eval"],
)
def test_the_search_lets_the_harmless_through(source: str) -> None:
    """
    What only looks like it is no fault.
    """
    assert not list(faults(source))


class Bomb:
    """An object whose pickle makes a file where it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


READ = """
import sys
from pathlib import Path
loaded = []
sys.addaudithook(lambda name, _: loaded.append(name) if name.startswith("pickle.") else None)
import mvtrace
from mvtrace.capture.exporter import *
folder = Path(sys.argv[1])
for name in ("model.pkl", "index.npy", "weights.pt", "folder"):
    print(mvtrace.model(name, path=folder / name).digest)
    print(mvtrace.index(name, folder / name).digest)
mvtrace.configure(service="s", environment="e", url="http://127.0.0.1:9", spool_dir=folder / "spool")
with mvtrace.request(route="r"):
    pass
mvtrace.flush(0.2)
mvtrace.shutdown()
assert not loaded, loaded
"""


def test_pickles_are_hashed_and_never_loaded(tmp_path: Path) -> None:
    """
    Weights, an index and a spool that are pickles are read as bytes: what they would do on loading
    is not done.
    """
    mark = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(mark))
    assert b"mkdir" in bomb
    producer = "00000000-0000-7000-8000-000000000001"
    (tmp_path / "folder").mkdir()
    (tmp_path / "spool" / producer).mkdir(parents=True, mode=0o700)
    for name in ("model.pkl", "index.npy", "weights.pt", "folder/a.pkl"):
        (tmp_path / name).write_bytes(bomb)
    for name in ("00000001.seg", "position", "answer", "lock"):
        (tmp_path / "spool" / producer / name).write_bytes(bomb)
    (tmp_path / "spool/key.pkl").write_bytes(bomb)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("sha256:") == 8
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists(), "the bomb works where it is loaded"


INDEX = """
import sys
import mvtrace
loaded = []
sys.addaudithook(lambda name, _: loaded.append(name) if name.startswith("pickle.") else None)
kind, path = sys.argv[1:]
if kind == "usearch":
    import numpy as np
    from usearch.index import Index
    index = Index(ndim=4)
    index.add(np.arange(8), np.ones((8, 4), dtype=np.float32))
    index.save(path)
    index = Index(ndim=4)
    index.load(path)
else:
    import faiss, numpy as np
    index = faiss.IndexFlatL2(4)
    index.add(np.ones((8, 4), dtype=np.float32))
    faiss.write_index(index, path)
    index = faiss.read_index(path)
print(mvtrace.index("i", index).digest, mvtrace.index("i", path).digest)
assert not loaded, loaded
"""


@pytest.mark.parametrize("kind", ["usearch", "faiss"])
def test_pinning_an_index_unpickles_nothing(kind: str, tmp_path: Path) -> None:
    """
    Neither a live index nor its file is read through pickle.
    """
    pytest.importorskip(kind)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INDEX, kind, str(tmp_path / "index.bin")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("sha256:") == 2
