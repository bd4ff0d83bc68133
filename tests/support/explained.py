"""The explanation of a request, asked for over HTTP until the request is stored."""

from __future__ import annotations

import time
from typing import Any

import httpx2

PATIENCE_S = 60.0
"""A machine with other work may take that long to deliver and store what was captured."""


def explained(url: str, request_id: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Return the explanation that the collector at *url* gives of *request_id*, once it has it."""
    deadline = time.monotonic() + patience_s
    while True:
        asked = {"id": request_id, "wait": "5"}
        reply = httpx2.get(f"{url}/api/v1/explanation", params=asked, timeout=30)
        if reply.status_code != 404 or time.monotonic() > deadline:
            return dict(reply.raise_for_status().json())
