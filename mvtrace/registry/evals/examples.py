"""The examples of a suite in a file: what each is called, its cluster, and the root over them.

In: a dataset of any format. Out: the suite that its rows make, with the dataset and that the suite
was made from it; or the examples of a suite that is registered, checked against its root.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mvtrace.errors import CheckFailedError
from mvtrace.registry.datasets.hashing import hash_dataset, hash_rows, row_digest
from mvtrace.registry.datasets.reading import read_rows
from mvtrace.registry.datasets.rows import Row, parse_row
from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.results import Result
from mvtrace.registry.evals.suites import (
    Examples,
    examples_said,
    key_text,
    suite_entry,
    text_said,
)
from mvtrace.registry.lineage.derivations import derivation


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFile:
    """A suite, the dataset that its examples are, and that it was made from it."""

    suite: Entry
    dataset: Entry
    origin: Entry
    count: int

    @property
    def entries(self) -> tuple[Entry, Entry, Entry]:
        """All that is registered of it."""
        return self.dataset, self.suite, self.origin


class ExampleClusters:
    """What the examples of a suite are called, and the cluster of each."""

    def __init__(self, file: Path, suite: Entry, clusters: Mapping[str, str]) -> None:
        self._file = file
        self._suite = suite
        self._clusters = clusters

    def checked(self, results: Iterable[Result]) -> list[Result]:
        """Return *results* with their clusters.

        Raises:
            CheckFailedError: one is of no example of the suite, or says another cluster.
        """
        listed = list(results)
        strange = [one.example for one in listed if one.example not in self._clusters]
        if strange:
            raise CheckFailedError(
                f"{_counted(len(strange), 'result')} of {len(listed):,} are of no example of suite "
                f"{self._suite.name!r}; the first is {strange[0]!r}.",
                hint="An example is called by the key of --id, or by the digest of its row.",
            )
        for one in listed:
            if one.cluster and one.cluster != self._clusters[one.example]:
                raise CheckFailedError(
                    f"The example {one.example!r} is in cluster "
                    f"{self._clusters[one.example]!r}, but its result says {one.cluster!r}.",
                    hint="Leave cluster out of the results: the examples have it.",
                )
        return [one._replace(cluster=self._clusters[one.example]) for one in listed]


def check_fits(suite: Entry, results: Iterable[Result]) -> None:
    """Refuse results that cannot be of *suite*, or do not say what groups its examples.

    Raises:
        CheckFailedError: they are of more examples, or some name no cluster.
    """
    cluster_key = text_said(suite.said, "cluster_key")
    listed = list(results)
    number, count = len({one.example for one in listed}), examples_said(suite.said).count
    if number > count:
        raise CheckFailedError(
            f"The results are of {number:,} examples, but suite {suite.name!r} has {count:,}.",
            hint="Register the suite that they are of: 'mvtrace eval suite --help'.",
        )
    without = sum(not one.cluster for one in listed)
    if cluster_key and without:
        raise CheckFailedError(
            f"Suite {suite.name!r} groups its examples by {cluster_key!r}, and "
            f"{_counted(without, 'result')} of {len(listed):,} name no cluster.",
            hint="Give the suite's file: --examples, in Python examples=; clusters are in it.",
        )


def examples_of(file: Path, suite: Entry) -> ExampleClusters:
    """Return the examples in *file*, which has to be what *suite* is made of.

    Raises:
        CheckFailedError: it is not.
    """
    said = examples_said(suite.said)
    id_key = text_said(suite.said.get("examples"), "id_key")
    names, root = _named_rows(file, id_key, text_said(suite.said, "cluster_key"), form=None)
    if root != said.root:
        raise CheckFailedError(
            f"{file} holds {_counted(len(names), 'example')} with the root {root[:12]}, but suite "
            f"{suite.name!r} has {said.count:,} with the root {said.root[:12]}.",
            hint=f"Give the suite's own file, or register this one: "
            f"mvtrace eval suite {file} --name {suite.name}",
        )
    return ExampleClusters(file, suite, names)


def suite_of(
    file: Path,
    *,
    name: str,
    version: str = "",
    id_key: str = "",
    cluster_key: str = "",
    form: str | None = None,
) -> SuiteFile:
    """Return the suite that the examples in *file* make.

    Raises:
        CheckFailedError: an example has no id or cluster, or two have the same id.
    """
    names, root = _named_rows(file, id_key, cluster_key, form=form)
    dataset = hash_dataset(file, format=form)
    if dataset.root != root:
        raise CheckFailedError(f"{file} was written to while it was read.", hint="Try again.")
    suite = suite_entry(
        name,
        Examples(root, len(names)),
        version=version,
        id_key=id_key,
        cluster_key=cluster_key,
    )
    origin = derivation(suite.ref, [(dataset.ref, "dataset")])
    return SuiteFile(suite=suite, dataset=dataset.entry(name), origin=origin, count=len(names))


def _named_rows(
    file: Path, id_key: str, cluster_key: str, *, form: str | None
) -> tuple[dict[str, str], str]:
    """Return each example's cluster by its name, and the root over their rows."""
    rows: list[Row] = []
    names: dict[str, str] = {}
    seen: dict[str, int] = {}
    for number, row in enumerate(read_rows(file, format=form), 1):
        said = parse_row(row) if id_key or cluster_key else {}
        try:
            cluster = key_text(said, cluster_key) if cluster_key else ""
            example = key_text(said, id_key) if id_key else _by_content(row, seen)
        except ValueError as error:
            raise CheckFailedError(f"{file}: row {number:,}: {error}.") from error
        if example in names:
            raise CheckFailedError(
                f"{file}: row {number:,}: the id {example!r} is there already.",
                hint="Each example needs an id of its own; without --id its content is one.",
            )
        names[example] = cluster
        rows.append(row)
    return names, hash_rows(rows)[0]


def _by_content(row: Row, seen: dict[str, int]) -> str:
    digest = row_digest(row).hex()
    seen[digest] = seen.get(digest, 0) + 1
    return digest if seen[digest] == 1 else f"{digest}#{seen[digest]}"


def _counted(number: int, one: str) -> str:
    return f"{number:,} {one if number == 1 else one + 's'}"
