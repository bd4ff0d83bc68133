# The collector, with what it compares by, and nothing of the embedded engine: it stores in a ClickHouse server.
# Built from the repository's root: docker build --file deploy/collector.Dockerfile .
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY mvtrace mvtrace
COPY collector collector
COPY schemas schemas
RUN python -m venv /opt/mvtrace \
    && /opt/mvtrace/bin/pip install --no-cache-dir '.[collector,quality]'

FROM python:3.13-slim
RUN groupadd --gid 10001 mvtrace \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin mvtrace \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/mvtrace
COPY --from=build /opt/mvtrace /opt/mvtrace
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MVTRACE_LISTEN=0.0.0.0:4318 \
    MVTRACE_DATA=/var/lib/mvtrace/inbox
WORKDIR /var/lib/mvtrace
USER 10001:10001
EXPOSE 4318
VOLUME ["/var/lib/mvtrace"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=20 \
    CMD ["/opt/mvtrace/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:4318/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/mvtrace/bin/python", "-m", "mvtrace_collector"]
