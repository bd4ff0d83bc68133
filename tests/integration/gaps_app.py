"""An application whose requests are lost in the ways that tests ask for; run by test_gaps.py.

Arguments: a mode, a number of requests to finish. Prints one JSON line, then waits or ends.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import mvtrace
from mvtrace.capture.pipeline import current_tracing


def finished(number: int, note: str = "") -> list[str]:
    """Run *number* requests to their end and return their ids."""
    ids = []
    for _ in range(number):
        with mvtrace.request(route="job") as request:
            mvtrace.annotate(note=note)
            ids.append(str(request.request_id))
    return ids


def main() -> None:
    """Do what the mode says."""
    mode, number = sys.argv[1], int(sys.argv[2])
    tracing = current_tracing()
    told = {"producer": tracing.producer_id}
    if mode == "in_flight":
        slow = mvtrace.request(route="slow").__enter__()
        time.sleep(2.0)  # long enough for the record of its start
        told["finished"] = finished(number)
        assert tracing.flush(10)
        told["slow"] = slow.request_id
        told["lost"] = [mvtrace.request(route="lost").__enter__().request_id for _ in range(3)]
    elif mode == "finish":
        told["finished"] = finished(number)
        assert tracing.flush(20)
    elif mode == "spill":
        told["finished"] = finished(number, "x" * 4000)
    print(json.dumps(told), flush=True)
    if mode == "in_flight":
        threading.Event().wait()


if __name__ == "__main__":
    main()
