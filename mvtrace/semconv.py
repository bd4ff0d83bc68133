"""Every attribute key, event name and header mvtrace writes or reads: the only place with them.

Where OpenTelemetry has a key (``gen_ai.*``, ``http.*``, ``service.*``) it is used; all others are
under ``mvtrace.``. The ``gen_ai.*`` keys are our own constants, since the generated ones of
OpenTelemetry's Python package are marked as moved (semantic-conventions 1.42).
"""

from __future__ import annotations

from typing import Final

SCOPE_NAME: Final = "mvtrace"

# Resource
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
DEPLOYMENT_ENVIRONMENT: Final = "deployment.environment.name"
PROJECT: Final = "mvtrace.project"
"""Resource attribute that selects among the projects of the API key."""

# Events (log records) mvtrace sends
EVENT_REQUEST: Final = "mvtrace.request"
EVENT_COMPONENT: Final = "mvtrace.component"
EVENT_COMPOSITE: Final = "mvtrace.composite"
EVENT_CONTENT: Final = "mvtrace.content"
EVENT_PRODUCER: Final = "mvtrace.producer"
EVENT_PAYLOAD: Final = "mvtrace.payload"
EVENT_PAYLOAD_KEY: Final = "mvtrace.payload_key"
"""A wrapped data key: the collector keeps it apart from all data, its inbox never holds it."""
EVENT_ENTRY: Final = "mvtrace.entry"
"""What the registry learns beside versions: a dataset, where something was made from, a suite."""
EVENT_DEPLOYMENT: Final = "mvtrace.deployment"
EVENT_RETENTION: Final = "mvtrace.retention"
EVENT_VERDICT: Final = "mvtrace.verdict"
EVENT_FEEDBACK: Final = "mvtrace.feedback"
"""A score of a request, whoever gave it."""
EVENT_EVALUATION: Final = "gen_ai.evaluation.result"
"""OpenTelemetry's own event of a score."""

# On every span of a request
REQUEST_ID: Final = "mvtrace.request.id"
COMPOSITE_VERSION: Final = "mvtrace.composite.version"
ARM: Final = "mvtrace.arm"
PARENT_REQUEST_ID: Final = "mvtrace.parent_request.id"
CONTENT_REMOVED: Final = "mvtrace.content.removed"
"""Names of the attributes that carried content and were taken out, as a list of text."""
CONTENT_FACTS: Final = "mvtrace.content.facts"
"""What these said of the call and is no content (model, parameters, tokens, ids): JSON by key."""
ASGI_EVENT_TYPE: Final = "asgi.event.type"
"""On the spans OpenTelemetry's ASGI instrumentation makes a message; such spans are dropped."""

# On events
COMPOSITE_NAME: Final = "mvtrace.composite.name"
COMPOSITE_LABELS: Final = "mvtrace.composite.labels"
COMPOSITE_PROVENANCE: Final = "mvtrace.composite.provenance"
COMPONENT_KIND: Final = "mvtrace.component.kind"
COMPONENT_NAME: Final = "mvtrace.component.name"
COMPONENT_DIGEST: Final = "mvtrace.component.digest"
CONTENT_DIGEST: Final = "mvtrace.content.digest"
ENTRY_KIND: Final = "mvtrace.entry.kind"
ENTRY_DIGEST: Final = "mvtrace.entry.digest"
RECORD_REVISION: Final = "mvtrace.record.revision"
PRODUCER_ID: Final = "mvtrace.producer.id"
PRODUCER_SEQUENCE: Final = "mvtrace.producer.sequence"
PAYLOAD_KEY_ID: Final = "mvtrace.payload.key.id"
PAYLOAD_KEY_MADE: Final = "mvtrace.payload.key.made_ms"
PAYLOAD_SUBJECT: Final = "mvtrace.payload.subject"

SCORE_SOURCE: Final = "mvtrace.score.source"
SCORER_DIGEST: Final = "mvtrace.scorer.digest"
DEPLOYMENT_ACTION: Final = "mvtrace.deployment.action"

# On mvtrace's own spans
CALL_KIND: Final = "mvtrace.call.kind"
CALL_NAME: Final = "mvtrace.call.name"
INPUT_DIGEST: Final = "mvtrace.input.digest"
OUTPUT_DIGEST: Final = "mvtrace.output.digest"
PROMPT_TEMPLATE_DIGEST: Final = "mvtrace.prompt.template.digest"
PROMPT_RENDERED_DIGEST: Final = "mvtrace.prompt.rendered.digest"
INDEX_NAME: Final = "mvtrace.index.name"
INDEX_SNAPSHOT: Final = "mvtrace.index.snapshot.digest"
INDEX_EXPECTED: Final = "mvtrace.index.snapshot.expected"
INDEX_SIZE: Final = "mvtrace.index.size"
DOCUMENT_IDS: Final = "mvtrace.retrieval.document.ids"
DOCUMENT_SCORES: Final = "mvtrace.retrieval.document.scores"
ROUTER_POLICY_DIGEST: Final = "mvtrace.router.policy.digest"
ROUTER_CHOSEN: Final = "mvtrace.router.chosen"
ROUTER_REASON: Final = "mvtrace.router.reason"
ROUTER_CANDIDATES: Final = "mvtrace.router.candidates"
GUARDRAIL_VERDICT: Final = "mvtrace.guardrail.verdict"
DRIFT: Final = "mvtrace.drift"
RESPONSE_CHUNKS: Final = "mvtrace.response.chunks"
CACHE_ORIGIN: Final = "mvtrace.cache.origin"
SYSTEM_FINGERPRINT: Final = "openai.response.system_fingerprint"

# OpenTelemetry's GenAI keys
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_REQUEST_PREFIX: Final = "gen_ai.request."
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_EMBEDDINGS_DIMENSION: Final = "gen_ai.embeddings.dimension.count"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_PROMPT_NAME: Final = "gen_ai.prompt.name"
GEN_AI_PROMPT_VERSION: Final = "gen_ai.prompt.version"
GEN_AI_DATA_SOURCE_ID: Final = "gen_ai.data_source.id"
GEN_AI_RETRIEVAL_TOP_K: Final = "gen_ai.retrieval.top_k"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"

# HTTP and errors
HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
HTTP_REQUEST_BODY_SIZE: Final = "http.request.body.size"
HTTP_RESPONSE_BODY_SIZE: Final = "http.response.body.size"
URL_PATH: Final = "url.path"
ERROR_TYPE: Final = "error.type"
FEATURE_FLAG: Final = "feature_flag"
"""What the attributes of a flag's evaluation begin with."""
FEATURE_FLAG_EVENT: Final = "feature_flag.evaluation"
FEATURE_FLAG_KEY: Final = "feature_flag.key"
FEATURE_FLAG_VARIANT: Final = "feature_flag.result.variant"

# Headers
REQUEST_ID_HEADER: Final = "x-mvtrace-request-id"
"""On every traced answer."""
BATCH_HEADER: Final = "x-mvtrace-batch"
SENT_HEADER: Final = "x-mvtrace-sent-ms"
"""When a sender says it sends, in Unix milliseconds: how far its clock is off shows here."""
"""On shipped batches: a fixed id, so that a retry is recognized."""
CLIENT_REQUEST_ID_HEADER: Final = "x-request-id"

# Alias kinds
ALIAS_TRACE_ID: Final = "trace_id"
ALIAS_X_REQUEST_ID: Final = "x-request-id"
ALIAS_RESPONSE_ID: Final = "response_id"
ALIAS_SUBJECT: Final = "subject"
"""Value: the keyed digest of whom the request is about."""
IS_DECLARED_KIND: Final = "is_declared_kind"
"""A fact about an observed part: False where the composite declares nothing of its kind."""
