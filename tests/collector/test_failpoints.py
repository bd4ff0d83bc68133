"""Places where the collector can be ended for tests: silent without the variable, exact with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from mvtrace.errors import ConfigurationError
from mvtrace_collector.failpoints import PLACES, VARIABLE, armed


def test_without_the_variable_nothing_happens() -> None:
    """
    In ordinary operation every place is passed by.
    """
    reach = armed({})
    for place in PLACES:
        reach(place)


@pytest.mark.parametrize(("setting", "passes"), [("@1", 1), ("@3", 3), ("@2+20", 2)])
def test_process_ends_at_its_pass(setting: str, passes: int) -> None:
    """
    The process dies by SIGKILL at the named pass of the named place, not before and nowhere else.
    """
    script = (
        "import time; from mvtrace_collector.failpoints import reach\n"
        "for number in range(1, 9):\n"
        "    reach('loader.before-mark'); reach('loader.after-mark')\n"
        "    print(number, flush=True); time.sleep(0.1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, VARIABLE: f"loader.before-mark{setting}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(done.stdout.split()) == (passes if "+" in setting else passes - 1)


@pytest.mark.parametrize("text", ["nowhere@1", "loader.before-mark", "loader.before-mark@0", "@1"])
def test_wrong_setting_is_told(text: str) -> None:
    """
    A place that does not exist, or a pass that cannot be, is an error and not a silent nothing.
    """
    with pytest.raises(ConfigurationError, match="PLACE@PASS"):
        armed({VARIABLE: text})
