"""A whole check: an eval against training data and all that its lineage names.

In: paths and refs, an Ask where the lineage is to be walked. Out: :class:`Check`, ready to be
certified. The eval and its earlier versions are read first and held; training data is read once,
in a stream, and its root is computed over the very rows that are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mvtrace.errors import CheckFailedError, UsageError
from mvtrace.registry.leakage.ancestry import DATASET, MADE_OF_DATA, SYSTEM, Wanted, wanted
from mvtrace.registry.leakage.certificates import (
    ANCESTOR,
    ASKED,
    BESIDE,
    MAX_SOURCES,
    TRAINED,
    VERSION,
    Check,
    Source,
)
from mvtrace.registry.leakage.examples import read_examples
from mvtrace.registry.leakage.matching import Matched
from mvtrace.registry.leakage.methods import Settings
from mvtrace.registry.leakage.places import (
    Place,
    Registered,
    Rooted,
    other_versions,
    registered,
)
from mvtrace.registry.leakage.scanning import Scanner
from mvtrace.registry.leakage.sides import (
    MAX_NAMED,
    MAX_VERSIONS,
    SUITE,
    TOO_MANY,
    Side,
    read_eval,
    training_ref,
)
from mvtrace.registry.leakage.tallying import tally
from mvtrace.registry.reading import Ask
from mvtrace.registry.refs import Ref

_TRAINING: Final = (DATASET, SUITE, SYSTEM, *MADE_OF_DATA)
"""Kinds of what may be named as training data, or as made of such."""
_TOLD: Final = 5


def check(
    eval_side: Side, train: Sequence[Side], settings: Settings, *, ask: Ask | None, jobs: int = 1
) -> Check:
    """Compare *eval_side* with *train*; without *ask* no lineage is walked.

    Raises:
        CheckFailedError: the eval cannot be read, or is empty; or no training data can be read.
        DatasetError: a file that was named is no dataset.
        UsageError: a ref names nothing that has examples, or nothing that is made of data.
    """
    for side in train:
        _check_kind(side)
    found = read_eval(eval_side, ask)
    examples = read_examples(found.rows, settings.columns)
    found.rows.clear()
    with Scanner(examples, settings, jobs=jobs) as scanner:
        run = _Run(scanner, ask)
        refs = [run.named(side) for side in train]
        asked = Wanted({ref: ASKED for ref in refs if ref.kind == DATASET})
        if ask is not None:
            asked = wanted(ask, [found.ref, *found.versions[:1]], refs)
            run.follow(asked)
        sources = run.sources
        if not asked.is_made_of_eval:
            _check_compared(train, sources)
        counted = [one.found if one.is_counted else Matched() for one in sources]
        made_from = [one.found if one.relation == ANCESTOR else Matched() for one in sources]
        return Check(
            tested=found.ref,
            name=found.name,
            examples=examples,
            versions=found.versions,
            unread_versions=found.unread,
            asked=list(dict.fromkeys(refs)),
            sources=sources,
            settings=settings,
            tally=tally(examples, counted),
            made_from=tally(examples, made_from),
            path=found.path,
            crowded=scanner.crowded,
            is_made_of_eval=asked.is_made_of_eval,
            lineage=ask is not None,
        )


class _Run:
    """Reads sources, each root once."""

    def __init__(self, scanner: Scanner, ask: Ask | None) -> None:
        self._scanner = scanner
        self._ask = ask
        self._read: dict[Ref, Source] = {}
        self._others: list[Source] = []

    @property
    def sources(self) -> list[Source]:
        """All of them: those asked for first, in their order."""
        return [*self._read.values(), *self._others]

    def named(self, side: Side) -> Ref:
        """Return the ref of what was named; a path is read for it, and compared on the way."""
        if side.path is None:
            if side.ref is None or self._ask is None:
                raise UsageError(
                    f"{side.text!r} is no path, and nothing else is looked up here.",
                    hint="Without --local a ref or a name is looked up in the registry.",
                )
            return training_ref(self._ask, side.ref)
        ref, matched = self._scan(Place(side.path))
        self._read.setdefault(
            ref,
            Source(
                ref=ref,
                name=side.name or side.path.name,
                relation=ASKED,
                path=side.path,
                found=matched,
            ),
        )
        return ref

    def follow(self, asked: Wanted) -> None:
        """Read all that is wanted and at hand, then other versions of what was asked for."""
        ask = self._ask
        if ask is None:
            return
        known = registered(ask, [ref.digest for ref in asked.relations])
        _limit(len(asked.relations))
        for ref, relation in asked.relations.items():
            if ref not in self._read:
                one = known.get(ref.digest) or Registered(ref.digest, "", ())
                self._read[ref] = self._source(one, relation)
        for trained in asked.unrecorded:
            self._others.append(Source(ref=trained.ref, name="", relation=TRAINED, why=trained.why))
        names = [
            known[ref.digest].name
            for ref, relation in asked.relations.items()
            if relation in (ASKED, TRAINED) and ref.digest in known
        ]
        others = other_versions(ask, names, MAX_NAMED)
        unread = [one for one in others.values() if one.ref not in self._read]
        for one in unread[:MAX_VERSIONS]:
            self._read[one.ref] = self._source(one, VERSION)
        for one in unread[MAX_VERSIONS:]:
            self._others.append(Source(ref=one.ref, name=one.name, relation=VERSION, why=TOO_MANY))

    def _source(self, one: Registered, relation: str) -> Source:
        """Return what *one* holds, if its files are at hand and are what was registered."""
        place = one.place()
        why, matched = place.why, Matched()
        if not one.bodies:
            why = "nothing of it is registered"
        elif place.path is not None:
            try:
                ref, matched = self._scan(place)
            except CheckFailedError as error:
                why = error.message
            else:
                if ref != one.ref:
                    why, matched = f"what is at {place.path} is another dataset now", Matched()
        return Source(
            ref=one.ref,
            name=one.name,
            relation=relation,
            why=why,
            path=place.path,
            found=matched,
        )

    def _scan(self, place: Place) -> tuple[Ref, Matched]:
        rooted = Rooted()
        matched = self._scanner.scan(place.rows(), size=place.size, seen=rooted)
        return Ref(DATASET, rooted.root()), matched


def _check_kind(side: Side) -> None:
    """Raise where *side* names what no data is in, such as an experiment."""
    if side.ref is not None and side.ref.kind not in _TRAINING:
        raise UsageError(
            f"{side.text!r} is of kind {side.ref.kind}, which is not made of data.",
            hint="Name a dataset, a suite, a model, a component or a version.",
        )


def _check_compared(train: Sequence[Side], sources: Sequence[Source]) -> None:
    """Raise where no training data was compared: nothing was found then, and nothing was looked at.

    Other versions of it, and what the eval was made from as well, are no training data.
    """
    own = [one for one in sources if one.relation not in BESIDE]
    if any(not one.why for one in own):
        return
    unread = [one for one in own if one.ref is not None and one.ref.kind == DATASET]
    if not unread:
        named = ", ".join(repr(side.text) for side in train)
        raise UsageError(
            f"Nothing that {named} was made from is recorded as data: nothing can be compared.",
            hint="'mvtrace lineage record THING --from DATA' records what it was trained on.",
        )
    reasons = "; ".join(f"{one.ref} ({one.why})" for one in unread[:_TOLD])
    more = f"; and {len(unread) - _TOLD:,} more" if len(unread) > _TOLD else ""
    raise CheckFailedError(
        f"No training data could be compared: {reasons}{more}.",
        hint="Give its files instead: mvtrace leakage EVAL FILE …",
    )


def _limit(count: int) -> None:
    if count > MAX_SOURCES:
        raise UsageError(
            f"The lineage names {count:,} datasets; a certificate has at most {MAX_SOURCES:,}.",
            hint="Check parts of the training data one by one.",
        )
