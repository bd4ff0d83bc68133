"""A real, small file system for tests that fill it: a tmpfs of its own, where root may mount one."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """A mounted tmpfs."""

    path: Path

    def grow(self, size: str) -> None:
        """Give it another *size*, such as ``64m``."""
        self._remount(f"size={size}")

    def set_read_only(self, *, is_read_only: bool) -> None:
        """Refuse writes, or take them again; nothing may be open for writing."""
        self._remount("ro" if is_read_only else "rw")

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Let every write block for the length of the block, as a disk that does not answer."""
        subprocess.run(["fsfreeze", "--freeze", str(self.path)], check=True)
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(self.path)], check=True)

    def fill(self, left_bytes: int = 0) -> Path:
        """Write a file that leaves *left_bytes*; delete it to have the space back."""
        ballast = self.path / "ballast"
        with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        if left_bytes:
            with ballast.open("rb+") as file:
                file.truncate(max(0, ballast.stat().st_size - left_bytes))
        return ballast

    def _remount(self, option: str) -> None:
        command = ["mount", "-o", f"remount,{option}", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[SmallDisk]:
    """Mount a tmpfs of *size* at *path* for the length of the block; skip where nobody may mount."""
    with _mounted(path, ["-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs"]) as disk:
        yield disk


@contextlib.contextmanager
def disk_that_stalls(path: Path) -> Iterator[SmallDisk]:
    """Mount an ext4 file system in a file, which can be frozen; skip where nobody may."""
    image = path.with_name(f"{path.name}.img")
    with image.open("wb") as file:
        file.truncate(64 << 20)
    for tool in ("mkfs.ext4", "fsfreeze"):
        if shutil.which(tool) is None:
            _skip(f"{tool} is not installed")
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    with _mounted(path, ["-o", "loop", str(image)]) as disk:
        yield disk


@contextlib.contextmanager
def _mounted(path: Path, arguments: list[str]) -> Iterator[SmallDisk]:
    path.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            ["mount", *arguments, str(path)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        _skip(str(error))
    if done.returncode:
        _skip(done.stderr.strip())
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _skip(why: str) -> NoReturn:
    reason = f"a file system of its own cannot be mounted here: {why}"
    print(reason)
    pytest.skip(reason)
