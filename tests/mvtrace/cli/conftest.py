"""What several modules of tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from evaluated import World, evaluated


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A collector with a suite in two versions, another with clusters, and two scorers."""
    with evaluated(tmp_path_factory.mktemp("evals")) as made:
        yield made
