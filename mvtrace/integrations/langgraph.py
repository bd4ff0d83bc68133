"""LangGraph: the conditional edges of a graph, each a decision of a router.

In: what the function of a conditional edge returned. Out: a router decision: where the edge could
lead, where it led, and the policy: that function by its source, with what its answers mean. Models,
prompts, retrievers and tools within the nodes are seen by the integration of LangChain, which names
them after their node.

Left out: ``Command(goto=...)`` of a node, which does not say where else it could go.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mvtrace.capture.step_calls import RoutingCall, routing
from mvtrace.components.code import code
from mvtrace.errors import MvtraceError
from mvtrace.integrations.hooks import Hook, Installed


def install() -> tuple[Installed, ...]:
    """Wrap the place where an edge's answer is turned into its destinations."""
    from langgraph.graph._branch import BranchSpec  # noqa: PLC0415 (only where it is installed)

    return (Hook(BranchSpec, "_finish", begin),)


class Edge:
    """One decision."""

    def __init__(self, call: RoutingCall) -> None:
        self._call = call
        self.enter = call.attach
        self.leave = call.detach
        self.failed = call.close

    def answered(self, _result: Any) -> None:
        """End the decision."""
        self._call.close()


def begin(branch: Any, _writer: Any, _state: Any, result: Any, config: Mapping[str, Any]) -> Edge:
    """Return the decision that an edge has come to."""
    function = getattr(branch.path, "func", None) or getattr(branch.path, "afunc", None)
    name = getattr(function, "__name__", None) or branch.path.get_name()
    node = (config.get("metadata") or {}).get("langgraph_node")
    ends = {str(answer): str(end) for answer, end in (branch.ends or {}).items()}
    policy = {"ends": ends, "function": _digest_of(function)}
    call = routing(f"{node}.{name}" if node else name, policy=policy)
    call.open()
    for end in ends.values():
        call.candidate(end)
    answers = result if isinstance(result, list | tuple) else (result,)
    for answer in answers:
        told = getattr(answer, "node", answer)  # a Send names its node
        call.choose(ends.get(str(told), str(told)), reason=f"the edge said {told}"[:200])
    return Edge(call)


@lru_cache(maxsize=256)
def _digest_of(function: Any) -> str | None:
    """Return the digest of a function's source; None where it has none."""
    try:
        return None if function is None else code("edge", function).digest
    except MvtraceError:
        return None
