"""mvtrace: for one answer of an AI system, exactly which system state gave it."""

from mvtrace.analytics import query
from mvtrace.capture.answer_cache import cached
from mvtrace.capture.api import (
    alias,
    annotate,
    cache_origin,
    conversation,
    current_arm,
    current_request_id,
    flush,
    inject,
    propagation_headers,
    resume,
    score,
    shutdown,
    subject,
)
from mvtrace.capture.both import guardrail, postprocess
from mvtrace.capture.calls import current_call
from mvtrace.capture.embedding_calls import embedding
from mvtrace.capture.meters import export_metrics
from mvtrace.capture.middleware import TraceMiddleware
from mvtrace.capture.model_calls import generation
from mvtrace.capture.pipeline import configure
from mvtrace.capture.recording import derived
from mvtrace.capture.retrieval_calls import retrieval
from mvtrace.capture.rollout import rollout
from mvtrace.capture.step_calls import routing, tool
from mvtrace.capture.task import request
from mvtrace.comparing.calling import compare
from mvtrace.components import (
    Component,
    CompositeVersion,
    code,
    composite,
    custom,
    embedding_model,
    index,
    model,
    prompt,
    router,
    sampling,
    stack,
    tools,
)
from mvtrace.errors import MvtraceError
from mvtrace.integrations.instrument import instrument, uninstrument
from mvtrace.registry.pin.locked import locked
from mvtrace.transformations import transformation
from mvtrace.version import module_attribute as __getattr__  # noqa: F401 (asked for __version__)

__all__ = [
    "Component",
    "CompositeVersion",
    "MvtraceError",
    "TraceMiddleware",
    "__version__",
    "alias",
    "annotate",
    "cache_origin",
    "cached",
    "code",
    "compare",
    "composite",
    "configure",
    "conversation",
    "current_arm",
    "current_call",
    "current_request_id",
    "custom",
    "derived",
    "embedding",
    "embedding_model",
    "export_metrics",
    "flush",
    "generation",
    "guardrail",
    "index",
    "inject",
    "instrument",
    "locked",
    "model",
    "postprocess",
    "prompt",
    "propagation_headers",
    "query",
    "request",
    "resume",
    "retrieval",
    "rollout",
    "router",
    "routing",
    "sampling",
    "score",
    "shutdown",
    "stack",
    "subject",
    "tool",
    "tools",
    "transformation",
    "uninstrument",
]
