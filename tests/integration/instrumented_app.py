"""An application of the ``openai`` client whose only words about tracing are the last two lines."""

from __future__ import annotations

import os

from openai import AsyncOpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import mvtrace

NOTES = {"a": [0.5, 0.25], "b": [0.25, 0.5]}
TOOLS = [{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]
client = AsyncOpenAI(base_url=os.environ["PROVIDER_URL"] + "/v1", api_key="k", max_retries=0)


async def ask(request: Request) -> JSONResponse:
    """Embed, find the nearest note, answer from it."""
    question = (await request.json())["question"]
    embedded = await client.embeddings.create(model="e", input=[question])
    vector = embedded.data[0].embedding
    nearest = max(NOTES, key=lambda name: sum(map(float.__mul__, NOTES[name], vector)))
    messages = [{"role": "user", "content": f"{nearest}: {question}"}]
    answer = await client.chat.completions.create(
        model="m",
        messages=messages,
        tools=TOOLS,
        temperature=0.2,  # type: ignore[arg-type]
    )
    return JSONResponse({"answer": answer.choices[0].message.content})


mvtrace.instrument()
app = mvtrace.TraceMiddleware(Starlette(routes=[Route("/ask", ask, methods=["POST"])]))
