"""``mvtrace proxy``: evidence for servers that are not Python, in front of which it stands."""

from __future__ import annotations

import click

from mvtrace.cli.errors import ExtraMissingError


@click.command(
    epilog="Example: mvtrace proxy --upstream http://127.0.0.1:8000 --listen 127.0.0.1:8080"
)
@click.option(
    "--upstream", metavar="URL", required=True, help="The server that answers; a path is a prefix."
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:8080",
    show_default=True,
    help="Port 0 takes a free one.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the upstream may say nothing.",
)
def proxy(*, upstream: str, listen: str, timeout: float) -> None:
    """Stand in front of a server of the OpenAI-compatible protocol and record its requests.

    Requests and answers stream through unchanged, whatever their path; chat, completions, responses
    and embeddings are read as they pass. Settings come from the environment (MVTRACE_URL,
    MVTRACE_SERVICE and the others of an application). Whoever can connect can use the upstream.
    """
    try:
        from mvtrace.proxy.server import serve  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise ExtraMissingError("proxy", str(error)) from error
    serve(upstream, listen, timeout_s=timeout)
