"""A small server of two prompt registries' APIs: Langfuse's and LangSmith's, as each describes it.

A Langfuse prompt may be composed of others: ``@@@langfusePrompt:name=child|label=production@@@`` is
replaced by the child when the prompt is asked for, so that one version number renders new texts.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from raw_http import running
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CHILD = re.compile(r"@@@langfusePrompt:name=([\w-]+)\|label=([\w-]+)@@@")


class Server:
    """Prompts by name, each with versions from 1 and labels that point to them."""

    def __init__(self) -> None:
        self.versions: dict[str, list[Any]] = {}
        self.labels: dict[tuple[str, str], int] = {}
        self.asked: list[str] = []
        self.url = ""

    def add(self, name: str, prompt: Any, *labels: str) -> int:
        """Put a new version of *name* in, under *labels* and ``latest``."""
        versions = self.versions.setdefault(name, [])
        versions.append(prompt)
        for label in (*labels, "latest"):
            self.labels[name, label] = len(versions)
        return len(versions)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/public/v2/prompts/{name:path}", self.langfuse),
                Route("/commits/{owner}/{name}/{commit}", self.langsmith),
            ]
        )

    async def langfuse(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.asked.append(name)
        label = request.query_params.get("label", "production")
        version = int(request.query_params.get("version") or self.labels.get((name, label), 0))
        if not version:
            return JSONResponse(
                {"message": "Prompt not found", "error": "LangfuseNotFoundError"}, 404
            )
        prompt = self.versions[name][version - 1]
        return JSONResponse(
            {
                "type": "text" if isinstance(prompt, str) else "chat",
                "name": name,
                "version": version,
                "prompt": self._resolved(prompt),
                "config": {},
                "labels": [
                    label for (of, label), at in self.labels.items() if (of, at) == (name, version)
                ],
                "tags": [],
            }
        )

    def _resolved(self, prompt: Any) -> Any:
        if not isinstance(prompt, str):
            return [
                {**one, "content": self._resolved(one["content"])} if "content" in one else one
                for one in prompt
            ]
        return CHILD.sub(
            lambda found: self._resolved(
                self.versions[found[1]][self.labels[found[1], found[2]] - 1]
            ),
            prompt,
        )

    async def langsmith(self, request: Request) -> Response:
        name, commit = request.path_params["name"], request.path_params["commit"]
        self.asked.append(name)
        hashes = [commit_of(prompt) for prompt in self.versions.get(name, [])]
        found = [one for one in hashes if one.startswith(commit)]
        version = self.labels.get((name, commit)) or (hashes.index(found[0]) + 1 if found else 0)
        if not version:
            return JSONResponse({"detail": "Commit not found"}, 404)
        manifest = self.versions[name][version - 1]
        return JSONResponse(
            {"commit_hash": hashes[version - 1], "manifest": manifest, "examples": []}
        )


def commit_of(manifest: Any) -> str:
    """The hash of a commit."""
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()


def manifest_of(template: str) -> dict[str, Any]:
    """A prompt as LangChain serializes it."""
    return {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "prompts", "prompt", "PromptTemplate"],
        "kwargs": {
            "input_variables": ["question"],
            "template": template,
            "template_format": "f-string",
        },
    }


@contextmanager
def serving() -> Iterator[Server]:
    """Run the server."""
    server = Server()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(server.app(), log_level="error", lifespan="off", ws="none")
        with running(config, listener) as port:
            server.url = f"http://127.0.0.1:{port}"
            yield server
