"""Whether the texts of a request were kept once, where none is any more.

In: a record. Out: whether texts were sent to be kept, so long ago that their time may be over. How
long a collector keeps them is its own setting, and gone with the rows; no setting is below a day.
"""

from __future__ import annotations

import time
from typing import Final

from mvtrace.ids import unix_ms_of
from mvtrace.records import RequestRecord

_KEPT_MODES: Final = frozenset({"redacted", "full"})
_SHORTEST_KEPT_MS: Final = 86_400_000


def had_texts(record: RequestRecord | None) -> bool:
    """Whether texts of *record*'s request were to be kept, a day ago or longer."""
    if record is None or record.capture is None or record.capture.content_mode not in _KEPT_MODES:
        return False
    if time.time() * 1000 - unix_ms_of(record.request_id) < _SHORTEST_KEPT_MS:
        return False
    return any(
        call.input_digest or call.output_digest or (call.prompt and call.prompt.rendered_digest)
        for call in record.calls
    )
