"""An application of several libraries, observed at once: what lies beneath what is recorded once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from captured import Captured
from openai_server import Server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

import mvtrace

faiss = pytest.importorskip("faiss")
core = pytest.importorskip("llama_index.core")
llms = pytest.importorskip("llama_index.llms.openai_like")
stores = pytest.importorskip("llama_index.vector_stores.faiss")
embeddings = pytest.importorskip("llama_index.embeddings.huggingface")

pytestmark = [
    pytest.mark.integrations,
    pytest.mark.usefixtures("instrumented"),
    pytest.mark.filterwarnings("ignore"),  # the libraries' own
]
TEMPLATE = "By {context_str}, answer in one sentence: {query_str}"
DIMENSION = 8


class Application:
    """Questions answered by LlamaIndex over FAISS, sentence-transformers and a provider."""

    def __init__(self, server: Server, folder: Path) -> None:
        embedder = embeddings.HuggingFaceEmbedding(model_name=str(folder))
        store = stores.FaissVectorStore(faiss_index=faiss.IndexFlatL2(DIMENSION))
        context = core.StorageContext.from_defaults(vector_store=store)
        texts = ["a secret", "why"]
        nodes = [core.schema.TextNode(id_=f"n{at}", text=text) for at, text in enumerate(texts)]
        self.index = core.VectorStoreIndex(nodes, embed_model=embedder, storage_context=context)
        self.model = llms.OpenAILike(
            model="m", api_base=f"{server.url}/v1", api_key="k", is_chat_model=True
        )
        self.use(TEMPLATE)

    def use(self, template: str) -> None:
        """Answer by *template* from now on."""
        prompt = core.PromptTemplate(template)
        self.engine = self.index.as_query_engine(llm=self.model, text_qa_template=prompt)

    async def ask(self, request: Request) -> Response:
        question = request.query_params["q"]
        reply = await asyncio.to_thread(self.engine.query, question)
        return JSONResponse({"answer": str(reply)})

    def client(self) -> TestClient:
        """The application behind the middleware, which is all it says of us."""
        app = Starlette(routes=[Route("/ask", self.ask)])
        return TestClient(mvtrace.TraceMiddleware(app))


def test_a_whole_application(captured: Captured, provider_server: Server, tmp_path: Path) -> None:
    """
    Each step is one call, whichever libraries know of it; together with the stack they are one
    version, and an edited template or another vector makes another that says which part.
    """
    application = Application(provider_server, tiny_models.embedding(tmp_path / "embedder"))
    with application.client() as client:
        for change in (None, None, "template", "vector"):
            if change == "template":
                application.use(TEMPLATE.replace("one", "two"))
            elif change == "vector":
                node = core.schema.TextNode(id_="n9", text="because")
                application.index.insert_nodes([node])
            assert client.get("/ask", params={"q": "a question"}).json() == {"answer": "Hello"}

    records = captured.records
    for record in records:
        calls = {call.kind: call for call in record.calls}
        assert sorted(call.kind for call in record.calls) == [
            "embedding", "generation", "retrieval",
        ]  # fmt: skip
        assert (calls["embedding"].provider, calls["embedding"].dimension) == (
            "sentence_transformers", DIMENSION,
        )  # fmt: skip
        assert calls["generation"].model_served == "m-2024"
        assert calls["generation"].prompt is not None
        assert record.composite_basis == "observed"
        assert [one.size for one in record.index_snapshots] == [2 + (record is records[3])]
        assert b"secret" not in record.to_bytes()
    versions: list[Any] = [record.composite_version for record in records]
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3
    assert [[one.kind for one in record.drift] for record in records] == [
        [], [], ["prompt"], ["index"],
    ]  # fmt: skip
