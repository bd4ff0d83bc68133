"""Components and composite versions: what a system is made of, named by content."""

from mvtrace.components.artifact import Artifact, hash_artifact
from mvtrace.components.code import code, custom, guardrail, postprocess
from mvtrace.components.component import KINDS, Component
from mvtrace.components.composite import CompositeVersion, composite
from mvtrace.components.content import Content
from mvtrace.components.edges import Edge
from mvtrace.components.index import index
from mvtrace.components.index_files import FilesIndex
from mvtrace.components.index_source import IndexSource, SnapshotFacts
from mvtrace.components.model import embedding_model, model, sampling
from mvtrace.components.observed import IndexState, ObservedIndex
from mvtrace.components.prompt import prompt, tools
from mvtrace.components.router import router
from mvtrace.components.stack import stack

__all__ = [
    "KINDS",
    "Artifact",
    "Component",
    "CompositeVersion",
    "Content",
    "Edge",
    "FilesIndex",
    "IndexSource",
    "IndexState",
    "ObservedIndex",
    "SnapshotFacts",
    "code",
    "composite",
    "custom",
    "embedding_model",
    "guardrail",
    "hash_artifact",
    "index",
    "model",
    "postprocess",
    "prompt",
    "router",
    "sampling",
    "stack",
    "tools",
]
