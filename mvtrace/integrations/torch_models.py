"""A torch model in this process: which one it is, by where it came from and by its weights.

In: the model, and what its configuration says it was loaded from. Out: a name without any path of
this machine, the revision where a Hugging Face cache tells it, and a fingerprint of the weights as
they lie in memory, so that an adapter merged or a folder exchanged before loading shows.

The fingerprint is over names, types, shapes and up to 64 values of each tensor: milliseconds. It is
made again after five seconds or two hundred times what it takes, whichever is longer.
"""

from __future__ import annotations

import hashlib
import re
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from mvtrace.capture.guard import fail_open
from mvtrace.components.component import Component

MAX_AGE_S: Final = 5.0
MAX_AGE_IN_COSTS: Final = 200
VALUES: Final = 64
"""Values of a tensor that are hashed, evenly spread."""
_CACHED: Final = re.compile(
    r"models--(?P<name>[^/\\]+)[/\\]snapshots[/\\](?P<revision>[0-9a-f]{40})"
)
_UNSEEDED: Final = 67280421310721
"""What torch's own generator starts from where nobody has set a seed."""
_META: Final = "meta"


class Origin(NamedTuple):
    """Where a model came from."""

    name: str
    revision: str | None = None


def origin_of(loaded_from: object, commit: object, otherwise: str) -> Origin:
    """Return the origin of a model that was *loaded_from* a folder or by its name."""
    text = str(loaded_from or "").rstrip("/\\")
    if (found := _CACHED.search(text)) is not None:
        return Origin(found["name"].replace("--", "/"), found["revision"])
    is_path = text.startswith((".", "/", "~", "\\")) or text.count("/") > 1 or "\\" in text
    name = re.split(r"[/\\]", text)[-1] if is_path else text
    return Origin(name or otherwise, str(commit) if commit else None)


class _Known(NamedTuple):
    component: Component | None
    """None where it could not be told: that is not tried with every call."""
    until: float


_known: Final[weakref.WeakKeyDictionary[Any, _Known]] = weakref.WeakKeyDictionary()

Pin = Callable[[Mapping[str, Any]], Component]


@fail_open
def identified(model: Any, pin: Pin) -> Component | None:
    """Return the component of *model*, made by *pin* of the facts of its weights."""
    known = _known.get(model)
    began = time.monotonic()
    if known is not None and began < known.until:
        return known.component
    component = None
    try:
        component = pin(weights_of(model))
    finally:
        now = time.monotonic()
        _known[model] = _Known(component, now + max(MAX_AGE_S, (now - began) * MAX_AGE_IN_COSTS))
    return component


def weights_of(model: Any) -> dict[str, Any]:
    """Return the fingerprint of the weights of *model*, their number, and how it was made."""
    fingerprint = hashlib.sha256()
    parameters = 0
    for name, tensor in _tensors(model):
        parameters += tensor.numel()
        shape = "x".join(map(str, tensor.shape))
        fingerprint.update(f"{name}\n{tensor.dtype}\n{shape}\n".encode())
        fingerprint.update(_sample(tensor))
    return {
        "fingerprint": f"sha256:{fingerprint.hexdigest()}",
        "parameters": parameters,
        "method": "sampled",
    }


def _tensors(model: Any) -> Iterator[tuple[str, Any]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _sample(tensor: Any) -> bytes:
    """Return the values at up to `VALUES` places; of what lies nowhere yet none."""
    if tensor.device.type == _META:
        return b""
    flat = tensor.detach().reshape(-1)
    chosen = flat[:: max(1, flat.numel() // VALUES)][:VALUES]
    if chosen.is_quantized:
        chosen = chosen.int_repr()
    chosen = chosen.cpu()
    if chosen.is_floating_point():
        chosen = chosen.double()  # NumPy knows no bfloat16
    sample: bytes = chosen.contiguous().numpy().tobytes()
    return sample


def seed() -> int | None:
    """Return the seed that torch's random numbers began from, where somebody has set one."""
    found = int(sys.modules["torch"].initial_seed())
    return None if found == _UNSEEDED or found >= 1 << 63 else found
