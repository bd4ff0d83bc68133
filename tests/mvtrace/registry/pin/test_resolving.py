"""A description resolved: the same components as the constructors make, from any kind of place."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import mvtrace
from mvtrace.components import hash_artifact
from mvtrace.errors import CompositeError
from mvtrace.registry.errors import SystemFileError
from mvtrace.registry.pin.description import Description, description_of
from mvtrace.registry.pin.objects import present
from mvtrace.registry.pin.places import PlaceError, hash_uri, read_uri
from mvtrace.registry.pin.resolving import Looking, Resolver, composite_of

CODE = '''"""A module."""

TEMPLATE = "Answer {question}"
POLICY = {"threshold": 0.35}
PARAMETERS = {"temperature": 0.7}
TOOLS = [{"name": "search"}]
VECTORS = {"a": [1.0, 2.0]}


WORDS = "\u2028 \x1c \x85"  # signs that end a line for some readers, and none of Python
\f

def answer(question):
    return question  # the same
    # trailing words


class Chain:
    def run(self):
        return answer("x")


READY = None
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A repository with a module that nobody else has."""
    (tmp_path / "pinned_module.py").write_text(CODE, "utf-8")
    (tmp_path / "prompt.txt").write_text("Answer {question}")
    (tmp_path / "tools.json").write_text('[{"name": "search"}]')
    (tmp_path / "policy.json").write_text('{"threshold": 0.35}')
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.bin").write_bytes(b"\0" * 100)
    (tmp_path / "weights" / "sub").mkdir()
    (tmp_path / "weights" / "sub" / "b.txt").write_text("b")
    yield tmp_path
    sys.modules.pop("pinned_module", None)


def described(folder: Path, text: str) -> Description:
    return description_of(f'name = "bot"\n{text}'.encode(), folder / "mvtrace.toml")


def digest(folder: Path, slot: str, text: str) -> str:
    return Resolver(described(folder, text)).component(slot).digest


def test_every_kind_is_what_its_constructor_makes(folder: Path) -> None:
    """
    A description gives the same version as the constructors in an application do.
    """
    made = composite_of(
        described(
            folder,
            """
            [model.answer]
            provider = "openai"
            model_id = "gpt"
            settings = { revision = "1" }
            [model.rerank]
            path = "weights"
            [embedding_model.mini]
            path = "weights/a.bin"
            [index.topics]
            path = "weights"
            embedding_model = "embedding_model/mini"
            [prompt.answer]
            path = "prompt.txt"
            [tools.all]
            path = "tools.json"
            [sampling.default]
            temperature = 0.7
            [code.chain]
            path = "pinned_module.py"
            [custom.more]
            settings = { a = 1 }
            [stack.default]
            packages = ["orjson"]
            accelerator = "none"
            [router.route]
            policy = { threshold = 0.35 }
            candidates = ["prompt/answer", "elsewhere"]
            [[edges]]
            from = "code/chain"
            to = "model/answer"
            """,
        )
    )

    mini = mvtrace.embedding_model("mini", path=folder / "weights" / "a.bin")
    prompt = mvtrace.prompt("answer", folder / "prompt.txt")
    assert made == mvtrace.composite(
        "bot",
        mvtrace.model("answer", provider="openai", model_id="gpt", revision="1"),
        mvtrace.model("rerank", path=folder / "weights"),
        mini,
        mvtrace.index("topics", folder / "weights", embedding_model=mini),
        prompt,
        mvtrace.tools("all", [{"name": "search"}]),
        mvtrace.sampling("default", temperature=0.7),
        mvtrace.code("chain", folder / "pinned_module.py"),
        mvtrace.custom("more", a=1),
        mvtrace.stack(packages=["orjson"], accelerator="none"),
        mvtrace.router("route", policy={"threshold": 0.35}, candidates=[prompt, "elsewhere"]),
        edges=[("code/chain", "model/answer")],
    )


OBJECTS = {
    "prompt/a": (
        "[prompt.a]\nobject = 'pinned_module:TEMPLATE'",
        "[prompt.a]\npath = 'prompt.txt'",
    ),
    "tools/a": ("[tools.a]\nobject = 'pinned_module:TOOLS'", "[tools.a]\npath = 'tools.json'"),
    "sampling/a": (
        "[sampling.a]\nobject = 'pinned_module:PARAMETERS'",
        "[sampling.a]\ntemperature = 0.7",
    ),
    "router/a": ("[router.a]\nobject = 'pinned_module:POLICY'", "[router.a]\npath = 'policy.json'"),
}


@pytest.mark.parametrize("slot", OBJECTS)
def test_an_object_is_what_it_holds(folder: Path, slot: str) -> None:
    """
    A Python object and a file that say the same are one component.
    """
    of_object, of_file = OBJECTS[slot]

    assert digest(folder, slot, of_object) == digest(folder, slot, of_file)


def test_live_indexes_and_ready_components_are_taken(folder: Path) -> None:
    """
    An index is hashed by its content; a component that code made is taken as it is.
    """
    (folder / "pinned_module.py").write_text(
        CODE + "\nimport mvtrace\nREADY = mvtrace.custom('own', a=1)\n"
    )
    found = composite_of(
        described(
            folder,
            "[index.a]\nobject = 'pinned_module:VECTORS'\n"
            "[custom.own]\nobject = 'pinned_module:READY'\nlabel = 'v2'",
        )
    )

    assert found.labels == {"custom/own": "v2"}
    assert [one.digest for one in found.components] == [
        mvtrace.custom("own", a=1).digest,
        mvtrace.index("a", {"a": [1.0, 2.0]}).digest,
    ]


@pytest.mark.parametrize("name", ["answer", "Chain", "Chain.run", ""])
def test_source_is_the_same_read_or_imported(folder: Path, name: str) -> None:
    """
    Code has one digest whether its module was imported or its file was only read.
    """
    target = f"pinned_module:{name}".removesuffix(":")
    text = f"[code.a]\nobject = '{target}'"
    read = Resolver(described(folder, text), Looking(object_at=present)).component("code/a").digest

    assert "pinned_module" not in sys.modules
    assert read == digest(folder, "code/a", text)


REFUSED = {
    "file": (
        "[prompt.a]\npath = 'nowhere.txt'",
        "mvtrace.toml, [prompt.a], path: there is no file or folder at 'nowhere.txt'.",
    ),
    "no name of a file": (
        f"[prompt.a]\npath = '{'n' * 300}'",
        f"mvtrace.toml, [prompt.a], path: there is no file or folder at '{'n' * 300}'.",
    ),
    "json": (
        "[tools.a]\npath = 'prompt.txt'",
        (
            "mvtrace.toml, [tools.a], path: 'prompt.txt' is no JSON: "
            "Expecting value: line 1 column 1 (char 0)."
        ),
    ),
    "utf8": (
        "[prompt.a]\npath = 'latin.txt'",
        "mvtrace.toml, [prompt.a], path: 'latin.txt' is not UTF-8 at byte 0.",
    ),
    "array": (
        "[tools.a]\npath = 'policy.json'",
        "mvtrace.toml, [tools.a], path: the file holds no JSON array.",
    ),
    "module": (
        "[code.a]\nobject = 'no_such_module:x'",
        (
            "mvtrace.toml, [code.a], object: 'no_such_module' cannot be imported: "
            "ModuleNotFoundError: No module named 'no_such_module'."
        ),
    ),
    "attribute": (
        "[code.a]\nobject = 'pinned_module:x.y'",
        "mvtrace.toml, [code.a], object: 'pinned_module' has no attribute 'x.y'.",
    ),
    "object": (
        "[prompt.a]\nobject = 'pinned_module:POLICY'",
        "mvtrace.toml, [prompt.a], object: pinned_module:POLICY is a dict; it is text.",
    ),
    "model": (
        "[model.a]\nobject = 'pinned_module:POLICY'",
        (
            "mvtrace.toml, [model.a], object: pinned_module:POLICY is a dict; "
            "it is a component that mvtrace.model() made."
        ),
    ),
    "slot": (
        "[router.a]\npolicy = 1\ncandidates = ['prompt/b']",
        "mvtrace.toml, [router.a], candidates: it names 'prompt/b', which no table describes.",
    ),
    "circle": (
        (
            "[router.a]\npolicy = 1\ncandidates = ['router/b']\n"
            "[router.b]\npolicy = 1\ncandidates = ['router/a']"
        ),
        "mvtrace.toml, [router.a]: components pin one another: router/a -> router/b -> router/a.",
    ),
    "constructor": (
        "[model.a]\nlabel = 'x'",
        "mvtrace.toml, [model.a]: nothing says which model it is.",
    ),
    "no policy": (
        "[router.a]\nlabel = 'x'",
        "mvtrace.toml, [router.a]: nothing says what it is; it has policy, path or object.",
    ),
    "time": (
        "[custom.a]\nsettings = { at = 2026-01-01 }",
        (
            "mvtrace.toml, [custom.a]: value at $.facts.settings.at has no canonical form: "
            "date is not a JSON type."
        ),
    ),
    "setting": (
        "[model.a]\nmodel_id = 'x'\nsettings = { path = 'x' }",
        "mvtrace.toml, [model.a], settings: path is no setting: it is said in the table itself.",
    ),
    "digest": (
        f"[prompt.a]\ntext = 'x'\ndigest = 'sha256:{'0' * 64}'",
        (
            f"mvtrace.toml, [prompt.a]: the digest must be sha256:{'0' * 64}, but the component has "
            "sha256:f4b1cb412609bff4cc48c7e252ea3f51375a2c029f7a8f293c62ec7ebe6325a7."
        ),
    ),
    "uri": (
        "[model.a]\nuri = 'file:///nowhere/at/all'",
        (
            "mvtrace.toml, [model.a], uri: 'file:///nowhere/at/all' cannot be read: "
            "No such file or directory."
        ),
    ),
    "scheme": (
        "[model.a]\nuri = 'nosuch://bucket/key'",
        (
            "mvtrace.toml, [model.a], uri: 'nosuch://bucket/key' cannot be read: "
            "ValueError: Protocol not known: nosuch."
        ),
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=list(REFUSED))
def test_refusal_names_the_table(folder: Path, text: str, message: str) -> None:
    """
    What cannot be resolved is refused with its table and key, and what was found.
    """
    if "nosuch" in text:
        pytest.importorskip("fsspec")
    (folder / "latin.txt").write_bytes(b"\xe9")

    with pytest.raises(SystemFileError) as refused:
        composite_of(described(folder, text))

    assert refused.value.message == message


def test_edges_to_nowhere_are_refused(folder: Path) -> None:
    """
    An edge that names what no table describes makes no version.
    """
    text = "[prompt.a]\ntext = 'x'\n[[edges]]\nfrom = 'prompt/a'\nto = 'prompt/b'"

    with pytest.raises(CompositeError) as refused:
        composite_of(described(folder, text))

    assert refused.value.message == (
        "Composite 'bot': its edge names 'prompt/b', a slot that no component takes."
    )


def test_files_have_one_digest_wherever_they_lie(folder: Path) -> None:
    """
    A folder hashed on a disk, at a file URI and in another file system is one artifact.
    """
    fsspec = pytest.importorskip("fsspec")
    remote = fsspec.filesystem("memory")
    remote.put(str(folder / "weights"), "/pinned", recursive=True)
    remote.pipe("/pinned/__pycache__/x.pyc", b"skipped")
    local = hash_artifact(folder / "weights")

    assert hash_uri("memory://pinned") == local
    assert hash_uri(f"file://{folder}/weights") == local
    assert hash_uri("memory://pinned/a.bin") == hash_artifact(folder / "weights" / "a.bin")
    assert read_uri("memory://pinned/sub/b.txt") == b"b"
    by_uri = digest(folder, "model/a", "[model.a]\nuri = 'memory://pinned'\nprovider = 'own'")
    assert by_uri == mvtrace.model("a", path=folder / "weights", provider="own").digest


def test_a_file_behind_http_is_hashed(folder: Path) -> None:
    """
    What a web server gives is the same artifact as the file; what it refuses is told.
    """

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def translate_path(self, path: str) -> str:
            return str(folder / path.strip("/"))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        assert hash_uri(f"{address}/weights/a.bin") == hash_artifact(folder / "weights" / "a.bin")
        assert read_uri(f"{address}/prompt.txt") == b"Answer {question}"
        with pytest.raises(PlaceError, match=r"^the server answers 404$"):
            hash_uri(f"{address}/nothing")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_model_of_the_hub_is_found_where_it_was_downloaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A hub's model that lies on this machine is hashed there; one that does not is not guessed.
    """
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = folder / "hub" / "models--org--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    (place / "snapshots" / commit).mkdir(parents=True)
    (place / "snapshots" / commit / "model.bin").write_bytes(b"weights")
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))

    assert hash_uri("hf://org/tiny") == hash_artifact(place / "snapshots" / commit)
    assert hash_uri(f"hf://org/tiny@{commit}") == hash_uri("hf://org/tiny@main")
    for other in ("hf://org/other", "hf://org/tiny@../../x"):
        with pytest.raises(PlaceError):
            hash_uri(other)
