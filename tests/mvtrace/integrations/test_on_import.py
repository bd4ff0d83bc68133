"""Libraries that are observed from their own import on: until then they are not imported."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

HOOKED = {
    "anthropic": "anthropic.Anthropic.request",
    "langfuse": "langfuse.Langfuse.get_prompt",
    "langsmith": "langsmith.Client.pull_prompt_commit",
    "llama_index": "llama_index.core.prompts.PromptTemplate.format",
    "mlflow": "mlflow.MlflowClient.load_prompt",
    "sentence_transformers": "sentence_transformers.SentenceTransformer.encode",
    "transformers": "transformers.GPT2LMHeadModel.generate",
}
"""A function of each library that is wrapped."""
PROGRAM = """
import importlib, sys
import mvtrace

library, module, path = sys.argv[1:]
assert mvtrace.instrument(library) == (library,)
assert module not in sys.modules, "imported for nobody"

found = importlib.import_module(module)
for name in path.split("."):
    found = getattr(found, name)
assert found.__wrapped__.__module__.partition(".")[0] != "mvtrace"
assert found.__code__.co_filename.endswith("hooks.py"), found
assert not [one for one in sys.meta_path if "mvtrace" in type(one).__module__]

mvtrace.uninstrument()
found = importlib.import_module(module)
for name in path.split("."):
    found = getattr(found, name)
assert "hooks.py" not in found.__code__.co_filename
"""


@pytest.mark.integrations
@pytest.mark.parametrize("library", HOOKED)
def test_observed_once_imported(library: str) -> None:
    """
    Nothing is imported for it; once the application imports the library it is observed, and no
    longer when that is turned off.
    """
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    *module, owner, name = HOOKED[library].split(".")
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, library, ".".join(module)]
    done = subprocess.run(
        [*command, f"{owner}.{name}"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
