"""A small inference server for the whole-way tests: FastAPI, uvicorn, and one middleware line."""

from __future__ import annotations

import socket
from uuid import uuid4

import uvicorn
from fastapi import FastAPI

import mvtrace

NOTES = {"a": [1.0, 0.0], "b": [0.0, 1.0]}

model = mvtrace.model("answerer", provider="here", model_id="answerer-1")
notes = mvtrace.index("notes", NOTES)
prompt = mvtrace.prompt("answer", "Answer: {question}")
router = mvtrace.router("route", policy={"threshold": 0.5}, candidates=["small", model])
system = mvtrace.composite("whole-way", model, notes, prompt, router, mvtrace.stack())

app = FastAPI()
app.add_middleware(mvtrace.TraceMiddleware, composite=system)


@app.post("/ask")
async def ask(body: dict[str, str]) -> dict[str, str]:
    question = body["question"]
    with mvtrace.retrieval("notes", index=notes, query=question, top_k=1) as retrieval:
        retrieval.documents([("a", 0.9)])
    with mvtrace.routing("route", router=router, features={"length": len(question)}) as decision:
        decision.candidate("small", score=0.2, threshold=0.5, reason="0.2 is below 0.5")
        decision.candidate("answerer", score=0.8, threshold=0.5)
        decision.choose("answerer", reason="the only one above 0.5")
    answer, response_id = f"Because of {uuid4()}.", f"resp-{uuid4()}"
    with mvtrace.generation(
        "answer",
        model="answerer-1",
        provider="here",
        prompt=prompt,
        sampling={"temperature": 0.0},
        seed=7,
        component=model,
    ) as call:
        call.rendered(f"Answer: {question}")
        call.response(
            model="answerer-1",
            id=response_id,
            finish_reason="stop",
            input_tokens=2,
            output_tokens=0,
            text=answer,
        )
    return {"answer": answer, "response_id": response_id}


if __name__ == "__main__":
    mvtrace.configure(service="whole-way", environment="test")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"app listens on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
