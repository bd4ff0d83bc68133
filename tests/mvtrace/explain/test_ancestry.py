"""What an explanation says of what the version was made from."""

from __future__ import annotations

import pytest
from ancestries import DATA, LEFT, MODEL, certificate_about, merged

from mvtrace.explain.ancestry import ancestry_findings
from mvtrace.registry.entries import entry_of
from mvtrace.registry.refs import Ref


def codes(*certificates: Ref) -> list[str]:
    about = [certificate_about(ref) for ref in certificates]
    return [one.code for one in ancestry_findings(merged(*about))]


@pytest.mark.parametrize(
    ("ref", "code"),
    [(DATA, "leakage_checked"), (LEFT, "leakage_partly"), (MODEL, "leakage_partly")],
)
def test_a_certificate_about_any_of_it_is_one(ref: Ref, code: str) -> None:
    """
    Where its data was compared with an eval, it is told so; where the model or what it was tuned
    from was to be compared, and no data of it was read, that it was not.
    """
    assert codes(ref) == ["model_merged", code]


def test_a_certificate_about_other_data_is_none() -> None:
    """
    That other data was compared says nothing about this.
    """
    assert codes(Ref("dataset", "c" * 64)) == ["model_merged", "leakage_unchecked"]


def test_a_certificate_that_says_nonsense_is_none() -> None:
    """
    An entry that calls itself a certificate, whatever it holds, breaks no explanation.
    """
    nonsense = entry_of("certificate", {"train": {"a": 1}, "checked": [7, {"ref": [1]}]})

    found = [one.code for one in ancestry_findings(merged(nonsense))]

    assert found == ["model_merged", "leakage_unchecked"]
