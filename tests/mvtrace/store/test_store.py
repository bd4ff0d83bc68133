"""The store's own promises, on the embedded engine and where nothing answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mvtrace.errors import (
    CollectorUnreachableError,
    ConfigurationError,
    MvtraceError,
    QueryRefusedError,
    StatementFailedError,
    StoreForkedError,
    StoreInUseError,
    StoreUnreachableError,
)
from mvtrace.store import Store, open_store, parse_dsn
from mvtrace.store.failures import unreachable

OWNER = """
import sys
from mvtrace.store import open_store
with open_store(sys.argv[1], owner_url="http://127.0.0.1:4318"):
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    return f"chdb://{tmp_path / 'db'}"


@pytest.fixture
def store(dsn: str) -> Iterator[Store]:
    with open_store(dsn) as opened:
        yield opened


class TestDsn:
    @pytest.mark.parametrize(
        ("text", "kind", "shown"),
        [
            ("chdb:///var/lib/db", "embedded", "chdb:///var/lib/db"),
            ("http://127.0.0.1:4318", "collector", "http://127.0.0.1:4318"),
            ("https://traces.example", "collector", "https://traces.example:443"),
            ("clickhouse://u:s%40crt@db/prod", "server", "clickhouse://u@db:8123/prod"),
            ("clickhouses://db", "server", "clickhouses://db:8443"),
        ],
    )
    def test_address_is_shown_without_its_password(self, text: str, kind: str, shown: str) -> None:
        """
        Each kind of address is known, has its default port, and is safe to show.
        """
        dsn = parse_dsn(text)

        assert (dsn.kind, str(dsn)) == (kind, shown)
        assert "s@crt" not in repr(dsn)

    @pytest.mark.parametrize(
        "text", ["", "db", "chdb://host/db", "chdb:///", "chdb:///db?a=1", "ftp://db", "http://"]
    )
    def test_what_is_no_address_is_named(self, text: str) -> None:
        """
        An address of no known kind is a usage error that shows the three forms.
        """
        with pytest.raises(ConfigurationError) as caught:
            parse_dsn(text)

        assert str(caught.value).startswith(f"The store DSN is {text!r}; ")
        assert "chdb://" in str(caught.value)

    def test_malformed_address_hides_its_password(self) -> None:
        """
        A password in an address that cannot be read is not repeated.
        """
        with pytest.raises(ConfigurationError) as caught:
            parse_dsn("mysql://user:secret@host/db")

        assert "secret" not in str(caught.value)


class TestEmbedded:
    def test_query_gives_tuples_and_names(self, store: Store) -> None:
        """
        Values go as server-side parameters; rows come back as tuples in UTC, ids as bytes.
        """
        rows = store.query(
            "SELECT {x:String} AS x, toFixedString('ab', 3) AS id, "
            "toDateTime64('2026-01-02 03:04:05', 3, 'UTC') AS t, currentDatabase() AS db",
            {"x": "é'\0"},
        )

        assert rows.columns == ("x", "id", "t", "db")
        ((x, raw, moment, database),) = rows.rows
        assert (x, raw, database) == ("é'\0", b"ab\0", "mvtrace")
        assert moment.isoformat() == "2026-01-02T03:04:05+00:00"
        assert [row["x"] for row in rows.dicts()] == [x]

    def test_raw_gives_a_format_of_the_engine(self, store: Store) -> None:
        """
        Results come as bytes in the format that was asked for.
        """
        sql = "SELECT number AS n, {x:String} AS x FROM numbers(2)"

        assert store.raw(sql, {"x": "a"}, "CSV") == b'0,"a"\n1,"a"\n'
        assert [json.loads(line) for line in store.raw(sql, {"x": "a"}).splitlines()] == [
            {"n": 0, "x": "a"},
            {"n": 1, "x": "a"},
        ]
        assert store.raw(sql, {"x": "a"}, "Parquet")[:4] == b"PAR1"

    def test_temporary_tables_belong_to_one_session(self, store: Store) -> None:
        """
        A session sees its own temporary tables, nobody else does.
        """
        with store.session() as session:
            session.command("CREATE TEMPORARY TABLE mine (a UInt8)")
            session.insert("mine", ["a"], [(1,), (2,)])
            assert session.query("SELECT sum(a) FROM mine").rows == [(3,)]
            with pytest.raises(StatementFailedError):
                store.query("SELECT * FROM mine")

    def test_reads_run_beside_one_another(self, store: Store) -> None:
        """
        A short read does not wait for a long one: each has a connection of its own.
        """
        done = threading.Event()
        slow = threading.Thread(
            target=lambda: (store.query("SELECT sleep(2)"), done.set()), daemon=True
        )
        slow.start()

        assert store.query("SELECT 1").rows == [(1,)]

        assert not done.is_set()
        slow.join()

    def test_engine_errors_become_ours(self, store: Store) -> None:
        """
        A statement that cannot run is a usage error with the engine's code and words.
        """
        with pytest.raises(StatementFailedError) as caught:
            store.query("SELECT * FROM nowhere")

        assert caught.value.store_code == 60
        assert str(caught.value).startswith(
            "The store refuses the statement: Unknown table expression identifier 'nowhere'"
        )
        assert "In scope" not in str(caught.value)
        assert caught.value.hint == f"'mvtrace migrate --store {store.dsn}' makes the tables."

    def test_read_only_store_refuses_writes(self, dsn: str) -> None:
        """
        A store that was opened for reading takes no DDL and no insert.
        """
        open_store(dsn).close()

        with open_store(dsn, read_only=True) as store:
            with pytest.raises(QueryRefusedError):
                store.command("CREATE TABLE t (a UInt8) ENGINE = Memory")

            assert store.query("SELECT 1", settings={"max_threads": "1"}).rows == [(1,)]

    def test_reading_makes_no_store(self, tmp_path: Path) -> None:
        """
        A folder that holds no store is named, and nothing is written into it or beside it.
        """
        folder = tmp_path / "other"
        folder.mkdir()

        for path in (folder, tmp_path / "nothing"):
            with pytest.raises(StoreUnreachableError, match=f"the folder {path} holds none"):
                open_store(f"chdb://{path}", read_only=True)

        assert list(tmp_path.rglob("*")) == [folder]

    def test_data_survives_closing(self, dsn: str) -> None:
        """
        What was written is there when the directory is opened again, by this process or another.
        """
        with open_store(dsn) as store:
            store.command("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
            store.command("INSERT INTO t VALUES (7)")

        with open_store(dsn) as store:
            assert store.query("SELECT a FROM t").rows == [(7,)]

    def test_closed_store_says_so(self, dsn: str) -> None:
        """
        A store that was closed is no longer asked.
        """
        store = open_store(dsn)
        store.close()
        store.close()

        with pytest.raises(StoreUnreachableError, match="it was closed"):
            store.query("SELECT 1")


class TestOwnership:
    def test_second_process_is_told_the_owner(self, dsn: str, tmp_path: Path) -> None:
        """
        A directory that another process has is named with that process and its address.
        """
        with subprocess.Popen(
            [sys.executable, "-c", OWNER, dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as owner:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "open\n"
            with pytest.raises(StoreInUseError) as caught:
                open_store(dsn)
            owner.communicate("\n", timeout=30)

        assert str(caught.value) == (
            f"The store {tmp_path / 'db'} is in use by process {owner.pid} that listens on "
            "http://127.0.0.1:4318; an embedded store belongs to one process at a time."
        )
        assert caught.value.hint == "Read through it instead: --url http://127.0.0.1:4318"
        with open_store(dsn) as store:
            assert store.ping()

    def test_killed_owner_frees_the_directory(self, dsn: str) -> None:
        """
        After SIGKILL of the owner the directory opens at once.
        """
        with subprocess.Popen(
            [sys.executable, "-c", OWNER, dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as owner:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "open\n"
            owner.kill()
            owner.wait()

        with open_store(dsn) as store:
            assert store.ping()

    def test_store_is_refused_after_a_fork(self, store: Store) -> None:
        """
        A child process is told at once, instead of hanging in an engine without its threads.
        """
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                store.query("SELECT 1")
            except StoreForkedError as error:
                os.write(write, str(error).encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(child, 0)

        with os.fdopen(read) as answer:
            assert answer.read() == (
                f"The store {store.dsn.directory} was opened by process {os.getpid()} and is used "
                f"by its child {child}; an embedded store does not survive a fork."
            )
        assert store.ping()


@pytest.mark.parametrize(
    ("dsn", "error"),
    [
        ("http://127.0.0.1:1", CollectorUnreachableError),
        ("clickhouse://u:secret@127.0.0.1:1/db", StoreUnreachableError),
    ],
)
def test_nothing_answers(dsn: str, error: type[MvtraceError]) -> None:
    """
    A refused connection names the address and the reason, in one sentence, without the password.
    """
    with pytest.raises(error) as caught:
        open_store(dsn)

    assert "Connection refused" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            (
                'HTTP driver received HTTP status 403, server response: {"error":{"code":"forbidden",'
                '"message":"Key 46e8 has not the scope sql that /sql asks for.","hint":null}}'
            ),
            "The query is refused: Key 46e8 has not the scope sql that /sql asks for.",
        ),
        (
            'HTTP driver received HTTP status 401, server response: {"error":{"message":"no key."}}',
            "The query is refused: no key.",
        ),
    ],
)
def test_a_key_that_is_not_let_in_is_no_collector_that_is_away(answer: str, message: str) -> None:
    """
    A collector that refuses a key would refuse it again: that is wrong use, and not to be awaited.
    """
    error = unreachable(parse_dsn("http://127.0.0.1:4318"), answer)

    assert (error.message, error.exit_code) == (message, 2)
    assert error.hint == "Its key is MVTRACE_API_KEY."


def test_a_key_of_several_projects_has_to_name_one() -> None:
    """
    Where a collector cannot tell which of a key's projects is meant, that is wrong use too.
    """
    answer = (
        'HTTP driver received HTTP status 400, server response: {"error":{"code":"project-needed",'
        '"message":"This key has the projects a, b, and the request names none.","hint":"Set …"}}'
    )

    error = unreachable(parse_dsn("http://127.0.0.1:4318"), answer)

    assert (error.code, error.exit_code) == ("project-needed", 2)
    assert error.message == "This key has the projects a, b, and the request names none."
    assert error.hint == "Set MVTRACE_PROJECT to one of them."
