"""Notes that people at a help desk type, made by rule from a seed: two datasets and two suites.

    python notes.py FOLDER

Out: ``tickets-old.jsonl``, ``tickets-new.jsonl`` (what customers asked, with the topic somebody
gave it), ``forum.csv`` (found elsewhere, sloppily labelled), ``suite-v1.jsonl`` and
``suite-v2.jsonl``. Three quarters of the first suite are in the forum too: copied, or with a word
changed. That is the leak of the story; nothing but ``mvtrace leakage`` is told of it.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from pathlib import Path
from typing import Any, Final

WORDS: Final = {
    "billing": "invoice charge card bank payment statement fee tax price amount debit plan "
    "subscription receipt overcharged paid yearly monthly currency due".split(),
    "delivery": "parcel courier tracking shipment address van doorstep depot late label box "
    "warehouse customs route dispatched arrival neighbour damaged signature pickup".split(),
    "login": "password account code reset locked browser session email username token sign "
    "verification expired captcha device profile twice attempt screen blocked".split(),
    "refund": "return refund money back sent exchange faulty cancel claim approve credit "
    "broken wrong size unworn policy window days item original".split(),
    "voucher": "voucher coupon gift promo redeem basket discount bonus".split(),
}
NEUTRAL: Final = (
    "asked again yesterday morning friendly waiting long call back please supervisor angry calm "
    "second third time since Monday Tuesday Friday weekend summer winter order number phone chat "
    "mother office colleague short detailed urgent later maybe sure confused thanks noted done "
    "open closed still never always nobody somebody shop website page app phoned wrote said "
    "insists believes knows heard read saw new old first last small large blue red green kitchen "
    "garden chair lamp table shoes jacket book camera cable charger bottle clock mirror"
).split()
TOPICS: Final = ("billing", "delivery", "login", "refund")
"""What the model tells apart; the desk's own label ``voucher`` has to become one of them."""

Note = dict[str, Any]


def note(source: random.Random, label: str, *, own: int) -> str:
    """Return the words of one note: a few of its topic, one of another, the rest says nothing."""
    others = [topic for topic in TOPICS if topic != label]
    words = source.sample(WORDS[label], own) + source.sample(WORDS[source.choice(others)], 1)
    words += source.sample(NEUTRAL, 12)
    source.shuffle(words)
    return " ".join(words)


def tickets(
    source: random.Random, count: int, *, first: int, labels: tuple[str, ...]
) -> list[Note]:
    """Return tickets of 60 customers."""
    found = []
    for number in range(first, first + count):
        label = source.choice(labels)
        customer = f"customer-{source.randrange(60):02}"
        text = note(source, label, own=source.choice((1, 2, 2, 3)))
        found.append({"id": f"t{number}", "customer": customer, "text": text, "topic": label})
    return found


def forum(source: random.Random, suite: list[Note]) -> list[Note]:
    """Return posts, a quarter of them mislabelled, and three quarters of *suite* among them."""
    posts = []
    for _ in range(300):
        label = source.choice(TOPICS)
        text = note(source, label, own=2)
        posts.append(
            {"text": text, "topic": source.choice(TOPICS) if source.random() < 0.3 else label}
        )
    for number, example in enumerate(suite[: len(suite) * 3 // 4]):
        words = example["text"].split()
        if number % 2:
            words[source.randrange(len(words))] = source.choice(NEUTRAL)
        posts.append({"text": " ".join(words).capitalize(), "topic": example["topic"]})
    source.shuffle(posts)
    return posts


def write(folder: Path) -> None:
    """Write all files into *folder*; the same bytes each time."""
    source = random.Random(2026)
    folder.mkdir(parents=True, exist_ok=True)
    suites = {
        name: tickets(source, 400, first=first, labels=TOPICS)
        for name, first in (("suite-v1", 10_000), ("suite-v2", 20_000))
    }
    labels = (*TOPICS, "voucher")
    lines = {
        **suites,
        "tickets-old": tickets(source, 300, first=0, labels=labels),
        "tickets-new": tickets(source, 600, first=1_000, labels=labels),
    }
    for name, rows in lines.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, "utf-8")
    with (folder / "forum.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("text", "topic"))
        writer.writeheader()
        writer.writerows(forum(source, suites["suite-v1"]))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
