"""A service that declares all of its system, or nothing; what it goes by lies in files.

Passages, the router's settings and the address of the provider are read for every request, so they
can be changed behind the service's back.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import threading
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import mvtrace
from mvtrace.components.index_source import SnapshotFacts

FOLDER = Path(os.environ["DRIFT_FOLDER"])
PROVIDER = os.environ["DRIFT_PROVIDER"]
ALIAS = "large"
own = threading.local()

IS_DECLARED = os.environ["DRIFT_DECLARED"] == "1"


class Passages:
    """The passages as an index that is looked at with every query, however busy the machine is."""

    is_exact = True

    def change_signal(self) -> bytes:
        """Return all of it."""
        return (FOLDER / "passages.json").read_bytes()

    def snapshot(self) -> SnapshotFacts:
        """Return the digest of all of it."""
        fingerprint = hashlib.sha256(self.change_signal()).hexdigest()
        return SnapshotFacts(fingerprint=fingerprint, method="full")

    def describe(self) -> dict[str, Any]:
        """Return that it is a file."""
        return {"library": "json"}


files = Passages()
passages = mvtrace.index("passages", files)
router = mvtrace.router("route", policy=json.loads((FOLDER / "router.json").read_text()))
model = mvtrace.model("answerer", provider="here", model_id=ALIAS)
prompt = mvtrace.prompt("answer", "Answer {question} from {passages}.")
system = mvtrace.composite("support", passages, router, model, prompt)


def ask(request: Request) -> JSONResponse:
    """Route, retrieve, generate."""
    question = request.query_params["q"]
    mvtrace.subject(f"user {question}")
    policy = json.loads((FOLDER / "router.json").read_text())
    own_router = router if IS_DECLARED else None
    with mvtrace.routing("route", router=own_router, policy=policy) as decision:
        decision.candidate("large", score=0.6, threshold=policy["threshold"])
        decision.choose("large")
    index = passages if IS_DECLARED else files
    with mvtrace.retrieval("passages", index=index, query=question) as retrieval:
        found = json.loads((FOLDER / "passages.json").read_text())
        retrieval.documents([(name, 1.0) for name in found])
    own_model = model if IS_DECLARED else None
    with mvtrace.generation("answer", model=ALIAS, prompt=prompt, component=own_model) as call:
        call.rendered(prompt.render(question=question, passages=" ".join(found.values())))
        call.response(**generated())
    return JSONResponse({"answer": "yes"})


def generated() -> dict[str, Any]:
    """Ask the provider for the model behind the alias, on this thread's connection."""
    if not hasattr(own, "connection"):
        own.connection = http.client.HTTPConnection(PROVIDER, timeout=30)
    own.connection.request("POST", "/v1/chat", json.dumps({"model": ALIAS}))
    answer = json.loads(own.connection.getresponse().read())
    return {"model": answer["model"], "text": answer["text"]}


app = mvtrace.TraceMiddleware(
    Starlette(routes=[Route("/ask", ask)]),
    composite=system if IS_DECLARED else None,
)
