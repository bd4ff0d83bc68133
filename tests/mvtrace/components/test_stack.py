"""The stack is a class of hardware and software, and no fact of one host."""

from __future__ import annotations

import os
import platform
import socket
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import mvtrace
from mvtrace.components.stack import Accelerator, detect_accelerator
from mvtrace.errors import ComponentError

OPEN = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder)
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)
"""
CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
)
INFORMATION = "Model: \t\t NVIDIA H200\nIRQ:   \t\t 283\nGPU UUID: \t GPU-1\n"


def test_stack_says_interpreter_and_packages() -> None:
    """
    Interpreter by its minor version, packages as installed, under their normal names.
    """
    stack = mvtrace.stack(packages=["ORJSON", "opentelemetry_sdk"], accelerator="none")

    assert stack.slot == "stack/default"
    assert stack.facts == {
        "interpreter": f"CPython {sys.version_info.major}.{sys.version_info.minor}",
        "packages": {
            "orjson": version("orjson"),
            "opentelemetry-sdk": version("opentelemetry-sdk"),
        },
        "accelerator": "none",
    }


def test_order_of_packages_does_not_matter() -> None:
    """
    Packages are a set.
    """
    assert (
        mvtrace.stack(packages=["orjson", "rfc8785", "orjson"]).digest
        == mvtrace.stack(packages=("rfc8785", "orjson")).digest
    )


def test_each_fact_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Quantization, accelerator, driver major and one package's version are each another digest; the
    driver's minor version is not.
    """
    info = tmp_path / "pinned_probe-1.0.dist-info"
    info.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest(package_version: str = "1.0", **changes: object) -> str:
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: pinned-probe\nVersion: {package_version}\n"
        )
        options = {"quantization": "q4", "accelerator": "H200", "driver": "570.86"}
        return mvtrace.stack(packages=["pinned-probe"], **{**options, **changes}).digest  # type: ignore[arg-type]

    assert digest() == digest(driver=570)
    others = {
        digest(quantization={"bits": 8}),
        digest(accelerator="A100"),
        digest(driver="571.0"),
        digest("1.0.1"),
        digest(threads=2),
    }
    assert len(others - {digest()}) == 5


def test_host_is_in_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Another host name, kernel or CPU: the same stack.
    """
    before = mvtrace.stack(packages=["orjson"])
    other = os.uname_result(("Linux", "elsewhere", "9.9.9", "#99", "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: other)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    for fact in ("node", "release", "version", "processor", "machine", "platform"):
        monkeypatch.setattr(platform, fact, lambda *_args: "elsewhere")
    monkeypatch.setattr(os, "cpu_count", lambda: 999)
    monkeypatch.setenv("HOSTNAME", "elsewhere")

    assert mvtrace.stack(packages=["orjson"]) == before


def test_package_that_is_not_installed() -> None:
    """
    A package that is not there is named.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.stack(packages=["orjson", "no-such-thing"])

    assert str(caught.value) == (
        "Component stack 'default': its package 'no-such-thing' is not installed."
    )
    assert caught.value.hint == "Name distributions as 'pip list' shows them, not modules."


@pytest.mark.parametrize(("text", "driver"), [(OPEN, "570"), (CLOSED, "535"), ("", None)])
def test_accelerator_by_its_driver(text: str, driver: str | None, tmp_path: Path) -> None:
    """
    Model and driver major are read from the driver's files; several alike are one class.
    """
    (tmp_path / "version").write_text(text)
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / bus).mkdir(parents=True)
        (tmp_path / "gpus" / bus / "information").write_text(INFORMATION)

    assert detect_accelerator(tmp_path) == Accelerator("NVIDIA H200", driver)


def test_machine_without_accelerator(tmp_path: Path) -> None:
    """
    Where no driver tells anything, nothing is claimed.
    """
    assert detect_accelerator(tmp_path / "nothing") == Accelerator(None, None)
