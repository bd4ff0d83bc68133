"""Functions by source, files by content, and facts of no kind."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mvtrace
from mvtrace.components import code, custom, guardrail, postprocess
from mvtrace.errors import ComponentError

HINT = "Give a function defined with 'def' in a file, or pin the file by its path."


def trim(text: str) -> str:
    """Trim."""
    return text.strip()


class Outer:
    class Inner:
        """Holds a method."""

        def trim(self, text: str) -> str:
            return text.strip()

    def __call__(self) -> None:
        """Do nothing."""


def module_of(source: str, folder: Path, name: str) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_function_is_its_source() -> None:
    """
    A function is pinned by its source text, dedented.
    """
    (piece,) = code("trim", Outer.Inner.trim).contents

    assert piece.text == "def trim(self, text: str) -> str:\n    return text.strip()\n"


def test_place_of_a_function_does_not_matter(tmp_path: Path) -> None:
    """
    The same function in another module and deeper inside is the same; a changed one is not.
    """
    source = "def f(x):\n    return x + 1\n"
    first = module_of(source, tmp_path, "place_first")
    nested = module_of(
        "def g():\n    def f(x):\n        return x + 1\n    return f\n", tmp_path, "place_nested"
    )
    other = module_of(source.replace("1", "2"), tmp_path, "place_other")

    assert code("f", first.f).digest == code("f", nested.g()).digest
    assert code("f", first.f).digest != code("f", other.f).digest


def test_class_module_and_file(tmp_path: Path) -> None:
    """
    Classes and modules are pinned by source, paths by content.
    """
    module = module_of("X = 1\n", tmp_path, "whole_module")

    assert "class Outer" in code("outer", Outer).contents[0].text
    assert code("module", module).contents[0].text == "X = 1\n"
    assert code("file", tmp_path / "whole_module.py").facts["artifact"]["bytes"] == 6


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (
            lambda text: text,
            "<lambda> is a lambda, whose source is the line around it.",
        ),
        (len, "len is no Python function, class or module, so it has no source."),
        (Outer(), "Outer object is no Python function, class or module, so it has no source."),
        (
            functools.partial(trim, "x"),
            "partial object is a functools.partial, whose bound arguments are in no source text.",
        ),
        (type("Made", (), {}), "the source of Made is in no file that can be read."),
    ],
)
def test_code_without_source(target: Any, problem: str) -> None:
    """
    What no source describes is refused, with a way out.
    """
    with pytest.raises(ComponentError) as caught:
        code("step", target)

    assert (str(caught.value), caught.value.hint) == (f"Component code 'step': {problem}", HINT)


def test_function_made_at_run_time() -> None:
    """
    A function whose source is in no file is refused.
    """
    made: dict[str, Any] = {}
    exec("def f():\n    return 1\n", made)

    with pytest.raises(ComponentError) as caught:
        code("step", made["f"])

    assert str(caught.value) == (
        "Component code 'step': the source of f is in no file that can be read."
    )


@pytest.mark.parametrize("make", [postprocess, guardrail])
def test_steps_by_code_settings_or_both(make: Any) -> None:
    """
    A step is pinned by its code, by its settings, or by both; each counts.
    """
    digests = {
        make("step", trim).digest,
        make("step", limit=10).digest,
        make("step", trim, limit=10).digest,
        make("step", trim, limit=11).digest,
    }

    assert len(digests) == 4


@pytest.mark.parametrize("make", [postprocess, guardrail, custom])
def test_nothing_to_pin(make: Any) -> None:
    """
    A component without content is none.
    """
    with pytest.raises(ComponentError) as caught:
        make("step", label="v1")

    assert str(caught.value) == f"Component {make.__name__} 'step': there is nothing to pin."
    assert caught.value.hint == (
        "Give what it does (a function or a path), or the settings that it has."
    )


def test_custom_takes_any_fact(tmp_path: Path) -> None:
    """
    Facts may have any name, also that of a parameter elsewhere.
    """
    (tmp_path / "rules.txt").write_text("rules")

    component = mvtrace.custom(
        "rules", path=tmp_path / "rules.txt", name="x", kind="y", target=None
    )

    assert component.facts["settings"] == {"name": "x", "kind": "y", "target": None}
    assert component.facts["artifact"]["bytes"] == 5
