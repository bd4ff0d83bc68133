"""A process that configures tracing and then makes children, in the way that is named.

usage: python fork_worker.py fork | multiprocessing-fork | multiprocessing-spawn | in-request
       (MVTRACE_URL and MVTRACE_SPOOL_DIR in the environment)

Every process records CHILDREN_REQUESTS requests and prints the ids.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

import mvtrace

CHILDREN = 3
REQUESTS = 20


def work(name: str) -> None:
    for number in range(REQUESTS):
        with mvtrace.request(route=f"{name}:{number}") as request, mvtrace.tool("work"):
            pass
        os.write(1, f"{request.request_id}\n".encode())


def child(name: str) -> None:
    work(name)
    if not mvtrace.flush(20):
        os.write(2, b"a child could not deliver\n")


def forked() -> None:
    """Make children as a prefork server does: each ends in another way."""
    ends = (lambda: os._exit(0), lambda: os.kill(os.getpid(), signal.SIGTERM), lambda: sys.exit(0))
    pids = []
    for number, end in enumerate(ends):
        if (pid := os.fork()) == 0:
            child(f"child-{number}")
            end()
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


def by_multiprocessing(method: str) -> None:
    context = multiprocessing.get_context(method)
    children = [context.Process(target=child, args=(f"child-{n}",)) for n in range(CHILDREN)]
    for one in children:
        one.start()
    for one in children:
        one.join()


def in_request() -> None:
    """Fork while a request is open, and let the child leave the block as well."""
    with mvtrace.request(route="outer") as request:
        if (pid := os.fork()) == 0:
            child("child-0")
        else:
            os.write(1, f"{request.request_id}\n".encode())
            os.waitpid(pid, 0)
    if pid == 0:
        mvtrace.flush(20)
        os._exit(0)


def main() -> None:
    how = sys.argv[1]
    mvtrace.configure(service="forks")
    work("parent-before")
    if how == "fork":
        forked()
    elif how == "in-request":
        in_request()
    else:
        by_multiprocessing(how.removeprefix("multiprocessing-"))
    work("parent-after")
    mvtrace.flush(20)


if __name__ == "__main__":
    main()
