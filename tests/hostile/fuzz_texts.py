"""Fuzz what reads texts: the privacy rules, ids, records, the SQL dialect and the syntax tree."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import parse_qsl

from fuzz_target import Cursor, Target
from sql_statements import LEGAL_ODDITIES, TEXT_TRICKS

from mvtrace.capture.privacy_rules import rules_of
from mvtrace.content import carries_content, is_content, is_event_content, is_secret, plain_url
from mvtrace.errors import MalformedIdError, QueryRefusedError
from mvtrace.records import RequestRecord
from mvtrace.store.request_ids import as_request_id, sought
from mvtrace_collector.sql_dialect import DialectError, sql_request
from mvtrace_collector.sqltext import looked_over
from mvtrace_collector.sqltree import Node, tree_of

ALL = rules_of(is_personal=True)
SECRETS = rules_of(is_personal=False)
PLANTED = (
    *(
        "sk-proj-AbCdEfGhIjKlMnOpQrStUvWx",
        "ghp_0123456789abcdefghijABCDEFGHIJ",
        "AKIAABCDEFGHIJKLMNOP",
    ),
    *("hf_abcdefghijklmnopqrstuvwxyz", "xoxb-1234567890-abcdefghij", "glpat-abcdefghij0123456789"),
)
BREAKS = re.compile(r"[^\w-]", re.ASCII)
SLOW_S = 2.0
SECRET_NAMES = ("authorization", "cookie", "X-Api-Key", "client_secret", "password")


def check_privacy(data: bytes) -> None:
    """A secret that stands alone is gone whatever is around it, counted, and it takes no time."""
    cursor = Cursor(data)
    secret, times, at = PLANTED[cursor.number() % len(PLANTED)], cursor.number(), cursor.number(2)
    text = cursor.rest.decode("utf-8", "replace") * (times if times < 40 else 1)
    at %= len(text) + 1
    whole = f"{text[:at]} {secret} {text[at:]}"
    started = time.process_time()
    for rules in (SECRETS, ALL):
        redacted, counts = rules.redact(whole)
        assert secret not in redacted
        assert counts
        assert all(type(count) is int and count > 0 for count in counts.values())
        assert sum(redacted.count(f"[{name}]") for name in counts)
    assert time.process_time() - started < SLOW_S
    _check_keys(text[:300])


def _check_keys(key: str) -> None:
    assert not is_secret(key) or is_content(key)
    assert is_event_content("gen_ai.choice", key) or key
    for name in SECRET_NAMES:
        assert is_secret(name)
        assert not key or (is_secret(f"{key}.{name}") and is_content(f"{key}.{name}"))
    url = plain_url(f"https://{key}?{key}#{key}")
    assert "?" not in url
    assert "#" not in url
    assert plain_url(f"https://user:pw@host/{BREAKS.sub('', key)}").startswith("https://host/")
    carries_content(key.encode("utf-8", "replace"))


def check_ids_and_records(data: bytes) -> None:
    """Any text is an id or is refused; any bytes are a record that is written again, or none."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = sought(text)
    except MalformedIdError as error:
        assert error.message  # noqa: PT017
    else:
        assert found.request_id is None or as_request_id(found.request_id) == found.request_id
        assert found.request_id or found.aliases
    try:
        record = RequestRecord.from_bytes(data)
    except ValueError:
        return
    once = record.to_bytes()
    assert RequestRecord.from_bytes(once).to_bytes() == once


def check_dialect(data: bytes) -> None:
    """A request to the SQL endpoint is understood, or refused in the words of the dialect."""
    cursor = Cursor(data)
    query = cursor.piece(cursor.number()).decode("latin-1")
    content_type = cursor.piece(cursor.number() % 80).decode("latin-1")
    pairs = parse_qsl(query, keep_blank_values=True)
    try:
        request = sql_request(pairs, cursor.rest, headers={"content-type": content_type})
    except DialectError as error:
        assert 400 <= error.status < 600  # noqa: PT017
        assert error.body.startswith(b"Code: ")  # noqa: PT017
        return
    assert request.sql.strip()


def check_tree(data: bytes) -> None:
    """A text is one tree, which printed anew is the text; a statement is understood or refused."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        tree = tree_of(text)
    except QueryRefusedError:
        pass
    else:
        lines = text.removesuffix("\n").split("\n")
        assert len(list(tree.walk())) + 1 == len(lines)
        for line, (depth, node) in zip(lines, _printed(tree, 0), strict=True):
            assert line.startswith(" " * depth + node.kind)
            assert node.name in line
            count = len(node.children)
            assert line.endswith(f" (children {count})") or not count
    try:
        statement = looked_over(text)
    except QueryRefusedError:
        return
    assert text.startswith(statement.text)
    assert "\n" not in text
    assert not re.search(
        r"--|/\*", re.sub(r"'(?:[^'\\]|\\.|'')*'|`[^`]*`|\"[^\"]*\"", "''", text, flags=re.DOTALL)
    )


def _printed(node: Node, depth: int) -> Iterator[tuple[int, Node]]:
    pending = [(depth, node)]
    while pending:
        at, one = pending.pop()
        yield at, one
        pending.extend((at + 1, child) for child in reversed(one.children))


def privacy_seeds() -> Iterator[bytes]:
    """Yield texts with every kind of secret and of personal data."""
    texts = (
        *(
            "Authorization: Bearer abcdefgh12345",
            'password = "a\\"b"',
            "https://u:p@h/?token=x&a=1",
        ),
        *(
            "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
            "eyJhbGciOiJI.eyJzdWIiOiIx.x",
        ),
        *("a.b@example.org", "DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111", "+49 30 901820"),
        *('{"x-api-key": "s", "\\"secret\\": \\"t\\""}', "proxy-authorization: Basic dXNlcjpwdw=="),
    )
    for number, text in enumerate(texts):
        yield bytes([number, number * 7, 3, 0]) + text.encode()
    yield bytes([0, 0, 0, 0]) + " ".join(texts).encode()


def id_seeds() -> Iterator[bytes]:
    """Yield ids of every kind, and a record."""
    yield from (b"0190163d-8694-7392-a6f8-2c5b5a1b2c3d", b"trace:" + b"ab" * 16, b"response:x")
    yield from (
        b"x-request-id:a b",
        b"' OR 1=1 --",
        b"{p:String}",
        b"\xff",
        b"%00",
        b"request:" + b"0" * 32,
    )
    for path in sorted((Path(__file__).parent.parent / "snapshots").glob("*record*")):
        yield path.read_bytes()
    yield (
        b'{"schema_version":1,"request_id":"0190163d-8694-7392-a6f8-2c5b5a1b2c3d","revision":2,'
        b'"state":"finished","started_at":"1","ended_at":"2","service":"s","calls":[],"router":[]}'
    )


def dialect_seeds() -> Iterator[bytes]:
    """Yield a query in the URL, in the body and in a form."""
    form = b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1\r\n--b--\r\n'
    for query, kind, body in (
        (b"query=SELECT+1&param_a=1&max_threads=1&database=mvtrace&query_id=x", b"", b""),
        (b"default_format=CSV&enable_http_compression=1", b"text/plain", b"SELECT 1"),
        (b"readonly=0", b"", b"SELECT 1"),
        (b"", b"multipart/form-data; boundary=b", form),
    ):
        yield bytes([len(query)]) + query + bytes([len(kind)]) + kind + body


PRINTED = (
    "SelectWithUnionQuery (children 1)\n ExpressionList (children 1)\n  SelectQuery (children 1)\n"
    "   ExpressionList (children 2)\n    Literal UInt64_1 (alias x)\n"
    "    Function plus (alias y) (children 1)\n     ExpressionList (children 2)\n"
    "      Identifier a\n      Literal 'b (children 1)'\n"
)


def tree_seeds() -> Iterator[bytes]:
    """Yield a printed tree, and statements as the engine writes them."""
    yield PRINTED.encode()
    for text in (*LEGAL_ODDITIES, *TEXT_TRICKS):
        if len(text) < 2000:
            yield text.encode("utf-8", "surrogateescape" if "\ud800" not in text else "ignore")


def tree_spliced(data: bytes, random: Random) -> bytes:
    """Return *data* with a line repeated, moved, indented or announcing another number."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    deed = random.randrange(4)
    if deed == 0:
        lines.insert(at, random.choice(lines))
    elif deed == 1:
        lines[at] = b" " * random.randrange(5) + lines[at].lstrip()
    elif deed == 2:
        lines[at] = re.sub(rb"children \d+", b"children %d" % random.randrange(4), lines[at])
    else:
        lines[at] += random.choice(TREE_WORDS)
    return b"\n".join(lines)


TREE_WORDS = (
    *(b" (children 1)", b" (children 0)", b" (alias x)", b"\n Literal UInt64_1", b"\nIdentifier x"),
    *(b"`", b"'", b"\\'", b"''", b"--", b"/*", b"{a:String}", b"{a:Identifier}", b" FORMAT CSV"),
    *(b"{p:A /*}'*/}", b"{p:A'}'}", b"{p:A('x', 1)}", b"{p:A--}", b"`a`"),
    *(b"AggregateFunction", b" PREWHERE ", b" AS (SELECT 1)", b"\xc2\xa0", b"\xe2\x80\xae", b"$$"),
)
PRIVACY_WORDS = (
    *(b"authorization", b"proxy-", b"cookie: ", b"secret", b"password=", b"api_key", b"_token"),
    *(b"-----BEGIN ", b"PRIVATE KEY-----", b"-----END ", b"Bearer ", b"eyJ", b"sk-", b"://", b"@"),
    *(b'\\"', b"\\\\", b"[api-key]", b"gen_ai.prompt.0.", b"input.value", b"url.full", b"DE89"),
)
RECORD_WORDS = (
    *(b'"request_id":', b'"calls":', b'"revision":', b'"schema_version":', b'"state":', b"null"),
    *(b'{"$int":"1"}', b'{"$float":"NaN"}', b"trace:", b"request:", b"response:", b"x-request-id:"),
    *(b"1e999", b"9223372036854775808", b'"started_at":', b"-", b"[[[[", b'{"":'),
)
DIALECT_WORDS = (
    *(
        b"query=",
        b"param_x=",
        b"max_execution_time=",
        b"multipart/form-data; boundary=b",
        b"--b\r\n",
    ),
    *(
        b'Content-Disposition: form-data; name="',
        b'filename="x"',
        b"\r\n\r\n",
        b"--b--",
        b"readonly=0",
    ),
    *(
        b"Content-Transfer-Encoding: base64\r\n",
        b"charset=utf-16",
        b"name*=utf-8''",
        b"message/rfc822",
    ),
)

TARGETS = {
    "privacy": Target(check_privacy, privacy_seeds, PRIVACY_WORDS),
    "ids-and-records": Target(check_ids_and_records, id_seeds, RECORD_WORDS),
    "sql-dialect": Target(check_dialect, dialect_seeds, DIALECT_WORDS),
    "sql-tree": Target(check_tree, tree_seeds, TREE_WORDS, tree_spliced),
}
