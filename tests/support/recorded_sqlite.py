"""Lets a recorder see what SQLite writes and syncs: a layer over SQLite's own access to files.

SQLite calls the operating system through a table of functions (its "VFS", https://sqlite.org/vfs.html).
While observed, the default VFS is a copy of SQLite's own in which opening and deleting are wrapped,
and each opened file gets a copy of its method table in which writing, truncating and syncing are
wrapped. Everything else, locks and shared memory included, stays SQLite's own.
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
import os
from collections.abc import Iterator
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from typing import Any, Final

from crashing_files import Cut, Sync, Write
from recorded_files import Recorder

_JOURNALS: Final = 0x800 | 0x4000 | 0x80000
"""SQLITE_OPEN_MAIN_JOURNAL, _SUPER_JOURNAL and _WAL: the folder of a new one of these is synced
with its first sync (``UNIXFILE_DIRSYNC`` in SQLite's os_unix.c)."""
_CREATE: Final = 0x4
_OK: Final = 0

_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_Delete = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_Close = CFUNCTYPE(c_int, c_void_p)
_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(Structure):
    """``sqlite3_vfs``, version 3."""

    _fields_ = [
        ("version", c_int),
        ("file_bytes", c_int),
        ("path_bytes", c_int),
        ("following", c_void_p),
        ("name", c_char_p),
        ("application_data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("rest", c_void_p * 14),
    ]


class _Methods(Structure):
    """``sqlite3_io_methods``, version 3; the first field of an open file points to one."""

    _fields_ = [
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("rest", c_void_p * 13),
    ]


class _File:
    """An open file below the recorder's folder."""

    def __init__(
        self, recorder: Recorder, node: int, methods: _Methods, folder: int | None
    ) -> None:
        self.recorder = recorder
        self.node = node
        self.methods = methods
        self.folder = folder
        """The folder that is synced with the next sync; None if none is."""


_files: dict[int, _File] = {}
_copies: dict[int, tuple[_Methods, _Methods]] = {}
_watching: list[Recorder] = []


@_Open
def _open(_vfs: int, name: int | None, file: int, flags: int, given: Any) -> int:
    vfs = ctypes.addressof(_original)
    recorder = _watching[-1] if _watching else None
    # The file keeps the pointer that it was given, so it must be SQLite's own.
    path = None if name is None else os.fsdecode(ctypes.string_at(name))
    if recorder is None or path is None or recorder.place(path) is None:
        return int(_Open(_original.open)(vfs, name, file, flags, given))
    with recorder.lock:
        is_new = recorder.node_at(path) is None
        code = int(_Open(_original.open)(vfs, name, file, flags, given))
        if code == _OK and (not is_new or flags & _CREATE):
            node = recorder.enter(path)
            assert node is not None
            place = recorder.place(path)
            folder = place[0] if place and is_new and flags & _JOURNALS else None
            _files[file] = _File(recorder, node, _wrap(file), folder)
    return code


def _wrap(file: int) -> _Methods:
    """Give the open *file* wrapped methods; return its own."""
    pointer = c_void_p.from_address(file)
    address = pointer.value
    assert address is not None
    if address not in _copies:
        own = _Methods.from_address(address)
        copy = _Methods.from_buffer_copy(own)
        copy.close = ctypes.cast(_close, c_void_p).value
        copy.write = ctypes.cast(_write, c_void_p).value
        copy.truncate = ctypes.cast(_truncate, c_void_p).value
        copy.sync = ctypes.cast(_sync, c_void_p).value
        _copies[address] = (own, copy)
    own, copy = _copies[address]
    pointer.value = ctypes.addressof(copy)
    return own


@_Delete
def _delete(_vfs: int, name: bytes, is_folder_synced: int) -> int:
    recorder = _watching[-1] if _watching else None
    path = os.fsdecode(name)
    place = None if recorder is None else recorder.place(path)
    code = int(_Delete(_original.delete)(ctypes.addressof(_original), name, is_folder_synced))
    if recorder is not None and place is not None and code == _OK:
        with recorder.lock:
            recorder.leave(path)
            if is_folder_synced:
                recorder.record(Sync(place[0]))
    return code


@_Close
def _close(file: int) -> int:
    return int(_Close(_files.pop(file).methods.close)(file))


@_Write
def _write(file: int, data: int, size: int, offset: int) -> int:
    known = _files[file]
    with known.recorder.lock:
        code = int(_Write(known.methods.write)(file, data, size, offset))
        if code == _OK:
            known.recorder.record(Write(known.node, offset, ctypes.string_at(data, size)))
    return code


@_Truncate
def _truncate(file: int, size: int) -> int:
    known = _files[file]
    with known.recorder.lock:
        code = int(_Truncate(known.methods.truncate)(file, size))
        if code == _OK:
            known.recorder.record(Cut(known.node, size))
    return code


@_Sync
def _sync(file: int, _flags: int) -> int:
    known = _files[file]
    with known.recorder.lock:
        if "sqlite" not in known.recorder.omitted:
            known.recorder.record(Sync(known.node))
            if known.folder is not None:
                known.recorder.record(Sync(known.folder))
                known.folder = None
    return _OK


def _find_vfs(name: bytes | None) -> Any:
    find = _library.sqlite3_vfs_find
    find.restype = POINTER(_Vfs)
    found = find(name)
    return found.contents


_library: Final = ctypes.CDLL(_sqlite3.__file__)
"""Python's own module: what it is linked with is found through it."""
_original: Final = _find_vfs(None)
_wrapped: Final = _Vfs.from_buffer_copy(_original)
_wrapped.name = b"recorded"
_wrapped.following = None
_wrapped.open = ctypes.cast(_open, c_void_p).value
_wrapped.delete = ctypes.cast(_delete, c_void_p).value


@contextlib.contextmanager
def sqlite_recorded(recorder: Recorder) -> Iterator[None]:
    """Let *recorder* see the databases that are opened below its folder within the block."""
    _watching.append(recorder)
    _library.sqlite3_vfs_register(ctypes.byref(_wrapped), 1)
    try:
        yield
    finally:
        _watching.remove(recorder)
        if not _watching:
            _library.sqlite3_vfs_register(ctypes.byref(_original), 1)
