"""People who ask, again and again, and say later whether the answer helped: a traffic generator.

    python -m examples.canary.users http://127.0.0.1:8000 --requests 3000

Each of them has a name, sent as ``x-user``, so that a sticky rollout keeps them on one side; some
ask far more often than others. Who was helped is not made up: the answer is read, and compared with
the text that the question came from. Seven of ten say so, seconds later. With ``--canary-share``
the crowd comes through a balancer that splits by itself and names the side in ``x-arm``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from mvtrace.demo.corpus import passages, words_of

QUESTION_WORDS: Final = 12
NEEDED: Final = 0.3
"""The share of an answer's triples of words that have to be in the text it should come from."""
KINDNESS: Final = (0.1, 0.95)
"""How often a bad and a good answer is called helpful."""
JUDGED: Final = 0.7


@dataclass
class Counts:
    """What happened so far."""

    answers: int = 0
    failed: int = 0
    told: int = 0
    waiting: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    """Answers by the version that gave them, as it says itself."""


@dataclass
class Crowd:
    """Many users of one server; the same *seed* asks the same questions."""

    url: str
    users: int = 1500
    seed: int = 1
    clients: int = 12
    delay_s: float = 2.0
    """How long feedback takes on average."""
    canary_share: float | None = None
    """None: nobody splits the traffic in front of the server."""
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._texts: dict[str, list[str]] = {}
        for one in passages(120):
            self._texts.setdefault(one.topic, []).append(one.text)
        self._known = {topic: _triples(" ".join(those)) for topic, those in self._texts.items()}
        self._topics = sorted(self._texts)
        self._activity = [self._draw.lognormvariate(0, 0.6) for _ in range(self.users)]
        self._late: set[asyncio.Task[None]] = set()
        self._free: asyncio.Queue[_Connection] = asyncio.Queue()
        for _ in range(self.clients):
            self._free.put_nowait(_Connection(self.url))

    async def ask(self, requests: int) -> None:
        """Ask so many questions; feedback on them may come after this returns."""
        who = self._draw.choices(range(self.users), self._activity, k=requests)
        asked = iter([(user, *self._question()) for user in who])
        await asyncio.gather(*(self._client(asked) for _ in range(self.clients)))

    async def all_told(self) -> None:
        """Wait for the feedback that is still to come."""
        while self._late:
            await asyncio.gather(*self._late)

    async def leave(self) -> None:
        """Go, whatever was still to be said."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _client(self, asked: Any) -> None:
        for user, topic, question, seed in asked:
            headers = {"x-user": f"user-{user}"}
            if self.canary_share is not None:
                headers["x-arm"] = "canary" if _point(user) < self.canary_share else "stable"
            reply = await self._post("/ask", {"question": question, "seed": seed}, headers)
            if reply is None:
                self.counts.failed += 1
                continue
            self.counts.answers += 1
            self.counts.versions[reply.get("version", "")] += 1
            draw = random.Random(f"feedback on {seed}")  # the model draws by the seed itself
            if draw.random() < JUDGED:
                helped = draw.random() < KINDNESS[self._is_good(topic, reply["answer"])]
                told = self._tell(reply["request_id"], helped, draw.expovariate(1 / self.delay_s))
                task = asyncio.create_task(told)
                self._late.add(task)
                task.add_done_callback(self._late.discard)

    async def _tell(self, request_id: str, helped: bool, after_s: float) -> None:  # noqa: FBT001
        self.counts.waiting += 1
        await asyncio.sleep(after_s)
        await self._post("/feedback", {"request_id": request_id, "helpful": helped}, {})
        self.counts.waiting -= 1
        self.counts.told += 1

    async def _post(self, path: str, said: Any, headers: dict[str, str]) -> Any:
        connection = await self._free.get()
        try:
            return await connection.post(path, said, headers)
        finally:
            self._free.put_nowait(connection)

    def _question(self) -> tuple[str, str, int]:
        """Return a topic, a question about it in the manual's own words, and a seed."""
        topic = self._draw.choice(self._topics)
        words = words_of(self._draw.choice(self._texts[topic]))
        first = self._draw.randrange(max(1, len(words) - QUESTION_WORDS))
        question = " ".join(words[first : first + QUESTION_WORDS])
        return topic, question, self._draw.getrandbits(31)

    def _is_good(self, topic: str, answer: str) -> bool:
        triples = _triples(answer)
        return bool(triples) and len(triples & self._known[topic]) / len(triples) >= NEEDED


class _Connection:
    """One kept-alive connection, made when it is first needed and again where it was closed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, said: Any, headers: dict[str, str]) -> Any:
        """Return the answer's JSON, None where the status is not 200."""
        body = json.dumps(said).encode()
        lines = [f"POST {path} HTTP/1.1", f"host: {self._host}", f"content-length: {len(body)}"]
        lines += ["content-type: application/json", *(f"{k}: {v}" for k, v in headers.items())]
        sent = "\r\n".join([*lines, "", ""]).encode() + body
        try:
            return await self._answer(sent)
        except (ConnectionError, asyncio.IncompleteReadError):
            self._streams = None  # the server closes what was idle for some seconds
            return await self._answer(sent)

    async def _answer(self, sent: bytes) -> Any:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        answer = await reader.readexactly(length)
        return json.loads(answer) if head.startswith("http/1.1 200") else None


def _triples(text: str) -> set[tuple[str, str, str]]:
    words = words_of(text)
    return set(zip(words, words[1:], words[2:], strict=False))


def _point(user: int) -> float:
    """Return where a balancer's own hash puts *user*: from 0 to 1."""
    return int(hashlib.sha256(b"balancer/%d" % user).hexdigest()[:8], 16) / 2**32


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--canary-share", type=float)
    said = parser.parse_args()
    crowd = Crowd(said.url, users=said.users, seed=said.seed, canary_share=said.canary_share)
    await crowd.ask(said.requests)
    await crowd.all_told()
    print(crowd.counts)


if __name__ == "__main__":
    asyncio.run(_main())
