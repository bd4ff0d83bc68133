"""Real file systems in a file, to be broken while they are in use; needs root and loop devices.

*stalled* is ``fsfreeze``: every write waits in the kernel until the disk is thawed, as on a storage
that does not answer. *failing* shuts ext4 down, after which every operation is an EIO. The others
are what they say.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_SHUTDOWN = 0x8004587D
"""``EXT4_IOC_SHUTDOWN``."""
_MOUNT_TRIES = 40


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Disk:
    """A file system of its own at *path*."""

    def __init__(self, folder: Path, size: str) -> None:
        self.path = folder / "disk"
        self._image = folder / "disk.image"
        self._size = size

    def attach(self) -> None:
        """Make it anew and mount it."""
        self.path.mkdir(exist_ok=True)
        _run("truncate", "-s", self._size, str(self._image))
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
        self._mount()

    def _mount(self) -> None:
        """Mount the image; the loop device that was free may be taken by the next moment."""
        for left in reversed(range(_MOUNT_TRIES)):
            try:
                _run("mount", "-o", "loop", str(self._image), str(self.path))
            except subprocess.CalledProcessError:
                if not left or not Path("/dev/loop-control").exists():
                    raise
                time.sleep(0.1)
            else:
                return

    def detach(self) -> None:
        """Take it away, whoever still holds files of it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("umount", "-l", str(self.path))

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Leave no free block."""
        ballast = self.path / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass
        yield
        ballast.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse writes as ext4 does after an error; afterwards an empty disk is in its place."""
        _run("mount", "-o", "remount,abort", str(self.path))
        yield
        self._replace()

    @contextlib.contextmanager
    def immutable(self) -> Iterator[None]:
        """Take every permission to write away, also from root."""
        _run("chattr", "-R", "+i", str(self.path / "spool"))
        yield
        _run("chattr", "-R", "-i", str(self.path / "spool"))

    @contextlib.contextmanager
    def deleted(self) -> Iterator[None]:
        """Delete the spool under its writer, once."""
        shutil.rmtree(self.path / "spool", ignore_errors=True)
        yield

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Let every write wait until the end of the block."""
        _run("fsfreeze", "-f", str(self.path))
        try:
            yield
        finally:
            _run("fsfreeze", "-u", str(self.path))

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """Answer everything with EIO; afterwards an empty disk is in its place."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", 2))
        finally:
            os.close(descriptor)
        yield
        self._replace()

    def _replace(self) -> None:
        self.detach()
        self._image.unlink()
        self.attach()


@contextlib.contextmanager
def disk(folder: Path, size: str = "24M") -> Iterator[Disk]:
    """Return a mounted disk below *folder*.

    Raises:
        OSError: there is no right or no device to make one with; the test is to be skipped.
    """
    made = Disk(folder, size)
    try:
        made.attach()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise OSError(f"no disk can be mounted here: {error}") from error
    try:
        yield made
    finally:
        made.detach()
