"""The spool's disk: full, read-only, closed, gone, stalled, or holding damage from before."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import time
from pathlib import Path

import pytest
from application import Application, Produce
from obligations import Judge, Ledger, wait_for
from small_disk import disk_that_stalls, small_disk
from supervised import Supervised

TIGHT = {"MVTRACE_SPOOL_MIN_FREE_BYTES": "0", "MVTRACE_RETRY_MAX_S": "0.2"}


def finish(one: Application) -> str:
    """Let it end, and return what it counted."""
    one.let_go()
    one.expect("done")
    said = one.expect("flushed")
    one.wait()
    return said


def requests_begun(ledger: Path) -> int:
    return len(Ledger.of_files([ledger]).begun)


def go_on(ledger: Path, more: int = 10) -> None:
    """Wait until the application has made *more* requests: nothing holds it up."""
    before = requests_begun(ledger)
    wait_for(lambda: requests_begun(ledger) >= before + more, 20, "the application stands still")


def judged(collector: Supervised, ledger: Path, title: str) -> None:
    found = Judge(collector.url).verdict(Ledger.of_files([ledger]))
    found.show(title)
    found.hold()
    assert found.acknowledged > 0
    assert found.repeats == 0


def judged_without(collector: Supervised, ledger: Path, title: str, *, most: int) -> None:
    """Judge where the fault deleted up to *most* undelivered requests: each has to be told as a gap."""
    found = Judge(collector.url).verdict(Ledger.of_files([ledger]), counts_gaps=True)
    found.show(title)
    lost = {text.removeprefix("spans of ") for text in found.missing}
    assert len(lost) <= most
    found.missing.clear()
    found.hold()


STALL_S = 4.0
RUNNING = ("--rest-s", "0.02", "--drain-s", "0.05", "--flush-s", "90")


def test_disk_full(collector: Supervised, produce: Produce, tmp_path: Path) -> None:
    """
    On a full disk the application goes on, what cannot be kept is counted, and with space again
    everything is captured as before, without a restart.
    """
    ledger = tmp_path / "ledger"
    with small_disk(tmp_path / "disk", "4m") as disk:
        collector.kill()
        one = produce(collector.url, ledger, *RUNNING, spool=disk.path / "spool", **TIGHT)
        one.expect("begun")
        go_on(ledger)
        ballast = disk.fill()
        go_on(ledger, 60)
        ballast.unlink()
        collector.start()
        go_on(ledger, 100)
        said = finish(one)
    print(f"\n{said}")
    assert said.startswith("flushed True")
    judged(collector, ledger, "spool's disk full for a while")


def test_disk_read_only(collector: Supervised, produce: Produce, tmp_path: Path) -> None:
    """
    An application that starts on a read-only disk goes on without a spool, and captures everything
    once the disk takes writes, without a restart.
    """
    ledger = tmp_path / "ledger"
    with small_disk(tmp_path / "disk", "16m") as disk:
        disk.set_read_only(is_read_only=True)
        one = produce(collector.url, ledger, *RUNNING, spool=disk.path / "spool", **TIGHT)
        one.expect("begun")
        go_on(ledger, 60)
        disk.set_read_only(is_read_only=False)
        go_on(ledger, 100)
        said = finish(one)
    print(f"\n{said}")
    assert said.startswith("flushed True")
    judged(collector, ledger, "spool's disk read-only for a while")


def test_permission_lost(collector: Supervised, produce: Produce, tmp_path: Path) -> None:
    """
    A spool that is deleted and may not be made again costs no answer; once it may, capture goes on.
    """
    ledger, room = tmp_path / "ledger", tmp_path / "room"
    room.mkdir()
    spool = room / "spool"
    # Root passes by permissions; a root without that capability does not.
    bound = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root ignores permissions, and setpriv is not installed")
    before = bound if os.geteuid() == 0 else ()
    one = produce(collector.url, ledger, *RUNNING, spool=spool, before=before, **TIGHT)
    one.expect("begun")
    go_on(ledger)
    one.signal(signal.SIGSTOP)
    try:
        room.chmod(0o500)
        for path in spool.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        spool.chmod(0o500)
        one.signal(signal.SIGCONT)
        go_on(ledger, 60)
    finally:
        room.chmod(0o700)
        spool.chmod(0o700)
    go_on(ledger, 100)
    said = finish(one)
    print(f"\n{said}")
    assert said.startswith("flushed True")
    judged_without(collector, ledger, "spool emptied and not writable for a while", most=10)


def deleted(folder: Path) -> bool:
    """Delete *folder*; whether all of it went before the application made anything in it anew."""
    try:
        shutil.rmtree(folder)
    except OSError:
        return False
    return True


def test_directory_deleted(collector: Supervised, produce: Produce, tmp_path: Path) -> None:
    """
    A spool whose whole directory is deleted, once all in it is delivered, is made again by the next
    request.
    """
    ledger, spool = tmp_path / "ledger", tmp_path / "spool"
    one = produce(collector.url, ledger, "--rest-s", "0.3", "--flush-s", "90", **TIGHT)
    one.expect("begun")
    for _ in range(3):
        go_on(ledger, 2)
        wait_for(lambda: deleted(spool), 10, "the spool is made again faster than it is deleted")
    go_on(ledger, 5)
    said = finish(one)
    print(f"\n{said}")
    assert said.startswith("flushed True")
    judged_without(collector, ledger, "spool deleted three times", most=3)


def test_disk_stalls(collector: Supervised, produce: Produce, tmp_path: Path) -> None:
    """
    While the spool's disk does not answer, the application's requests take no longer; what was
    queued meanwhile is spooled and arrives once the disk answers.
    """
    ledger = tmp_path / "ledger"
    with disk_that_stalls(tmp_path / "disk") as disk:
        options = ("--rest-s", "0.005", "--drain-s", "0.001", "--flush-s", "90")
        one = produce(collector.url, ledger, *options, spool=disk.path / "spool", **TIGHT)
        one.expect("begun")
        go_on(ledger, 200)
        with disk.stalled():
            stalled_at = time.monotonic()
            go_on(ledger, 200)
            time.sleep(max(0.0, stalled_at + STALL_S - time.monotonic()))
        go_on(ledger, 200)
        said = finish(one)
    print(f"\n{said}")
    assert said.startswith("flushed True")
    slowest_ms = float(said.partition("slowest request ")[2].split()[0])
    assert slowest_ms < STALL_S * 1000 / 2  # one that waited for the disk took all of the stall
    found = Judge(collector.url).verdict(Ledger.of_files([ledger]))
    found.show("spool's disk stalled for a while")
    found.hold()
    assert found.stored == found.sent


FRAME = struct.Struct("<IIQB")


def damaged(spool: Path) -> int:
    """Damage what lies in the spools: a torn tail, a flipped bit, foreign and empty files.

    Return how many whole frames were hit.
    """
    segments = sorted(spool.glob("*/*.seg"))
    torn, flipped = segments[0], segments[1]
    os.truncate(torn, torn.stat().st_size - 5)
    data = bytearray(flipped.read_bytes())
    resource = struct.unpack_from("<8sII", data)[1]
    first = 16 + resource
    data[first + FRAME.size + 20] ^= 0x10
    flipped.write_bytes(data)
    folder = segments[2].parent
    (folder / "00000007.seg").touch()
    (folder / "00000008.seg").write_bytes(b"nothing of ours\n" * 100)
    (folder / "notes.txt").write_text("somebody's notes")
    return 2


def test_damage_from_before(collector: Supervised, produce: Produce, tmp_path: Path) -> None:
    """
    A torn tail, a flipped bit, an empty and a foreign file in spools of processes that are gone cost
    the frames that were hit; the rest arrives, and each kind of damage is counted.
    """
    collector.kill()
    ledgers = [tmp_path / f"ledger-{number}" for number in range(3)]
    for ledger in ledgers:
        gone = produce(collector.url, ledger, "--requests", "30", "--group", "1")
        gone.expect("begun")
        gone.expect("done")
        gone.kill()
    hit = damaged(tmp_path / "spool")
    collector.start()
    last = tmp_path / "last"
    one = produce(collector.url, last, "--requests", "1", "--lingers", "--flush-s", "90", **TIGHT)
    one.expect("begun")
    one.expect("done")
    wait_for(lambda: one_spool_left(tmp_path / "spool"), 30, "the orphans are not delivered")
    one.let_go()
    said = one.expect("flushed True")
    one.wait()
    print(f"\n{said}")
    found = Judge(collector.url).verdict(Ledger.of_files([*ledgers, last]))
    found.show(f"{hit} frames damaged in the spools of three processes")
    lost = {text.removeprefix("spans of ") for text in found.missing}
    assert len(lost) <= hit
    assert "'spool_frames_corrupt': 1" in said
    assert "'spool_torn_tails': 2" in said
    found.missing.clear()
    found.hold()
    assert list((tmp_path / "spool" / "quarantine").iterdir())


def one_spool_left(spool: Path) -> bool:
    return len({path.parent for path in spool.glob("*/0000000[1-6].seg")}) == 1
