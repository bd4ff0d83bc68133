"""Where the schemas lie: in a wheel, in a checkout, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvtrace.errors import ConfigurationError
from mvtrace.resources import schema_root


def test_schemas_of_this_installation() -> None:
    """
    The tables and the canonical form are found.
    """
    assert (schema_root() / "clickhouse" / "0001_create_requests.sql").is_file()
    assert (schema_root() / "canonical" / "vectors.json").is_file()


def test_wheel_comes_before_checkout(tmp_path: Path) -> None:
    """
    Schemas inside the package win over a folder that happens to lie beside it.
    """
    (tmp_path / "schemas").mkdir()
    (tmp_path / "mvtrace").mkdir()
    assert schema_root(tmp_path / "mvtrace") == tmp_path / "schemas"

    (tmp_path / "mvtrace" / "_schemas").mkdir()

    assert schema_root(tmp_path / "mvtrace") == tmp_path / "mvtrace" / "_schemas"


def test_installation_without_schemas(tmp_path: Path) -> None:
    """
    Without schemas the message names the place and how to repair it.
    """
    with pytest.raises(ConfigurationError) as caught:
        schema_root(tmp_path / "mvtrace")

    assert str(caught.value) == (
        f"The folder of the schemas is {str(tmp_path / 'mvtrace' / '_schemas')!r}; "
        "it does not exist, and neither does 'schemas' beside the package."
    )
    assert caught.value.hint == ("Install the package again: pip install --force-reinstall mvtrace")
