"""The folder in the user's cache, and the temporary folders in it."""

import atexit
import contextlib
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import filelock
import platformdirs

_replacement: Path | None = None


def user_folder() -> Path:
    """The folder of kerasnets in the user's cache; it may not exist yet."""
    return Path(platformdirs.user_cache_dir("kerasnets", appauthor=False))


def cache_folders() -> list[Path]:
    """The folders to look in: the user's cache, and its temporary replacement if it can't be written to."""
    return [user_folder()] + ([_replacement] if _replacement else [])


def _replace_cache(error: OSError) -> Path:
    """Use a temporary folder instead of a cache that can't be written to, until this process ends."""
    global _replacement
    if _replacement is None:
        _replacement = Path(tempfile.mkdtemp(prefix="kerasnets-"))
        atexit.register(shutil.rmtree, _replacement, ignore_errors=True)
        warnings.warn(
            f"The cache folder {user_folder()} can't be written to ({error.strerror or error}); data is prepared in a "
            "temporary folder, for this run only.",
            stacklevel=2,
        )
    return _replacement


@contextlib.contextmanager
def workspace() -> Iterator[tuple[Path, Path]]:
    """The cache folder, and a temporary folder in it that is removed at the end."""
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work, lock = _create_work(folder)
    except OSError as error:
        folder = _replace_cache(error)
        work, lock = _create_work(folder)
    try:
        remove_abandoned(folder)
        yield folder, work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        _release(lock)


def _lock_file(work: Path) -> Path:
    return work.with_name(work.name + ".lock")


def _create_work(folder: Path) -> tuple[Path, filelock.BaseFileLock]:
    """Make a temporary folder and lock it. The system releases the lock when the process ends, even if it is killed."""
    work = folder / f".unfinished-{secrets.token_hex(8)}"
    lock = filelock.FileLock(_lock_file(work))
    with contextlib.suppress(OSError, NotImplementedError):  # some network file systems have no locks
        lock.acquire(timeout=0)  # before the folder exists, so that no process sees it unlocked
    work.mkdir(mode=0o700)
    return work, lock


def remove_abandoned(folder: Path) -> list[tuple[Path, int]]:
    """Remove the temporary folders whose process was killed.

    Args:
        folder: the cache folder.

    Returns:
        The removed folders and their sizes in bytes.
    """
    removed = []
    for work in folder.glob(".unfinished-*"):
        if not work.is_dir():
            continue
        lock = filelock.FileLock(_lock_file(work))
        # It can't be acquired if the process is alive, or if the file system has no locks.
        with contextlib.suppress(OSError, NotImplementedError), lock.acquire(timeout=0):
            size = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
            shutil.rmtree(work)
            removed.append((work, size))
            _lock_file(work).unlink()
    return removed


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Let only one process at a time download or prepare the data set `name`.

    This only avoids duplicate work: after ten minutes, or where files can't be locked, a process goes on without it.
    """
    folder = user_folder()
    lock = filelock.FileLock(folder / f".{name}.lock")
    with contextlib.suppress(OSError, NotImplementedError):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=600)
    try:
        yield
    finally:
        _release(lock)


def _release(lock: filelock.BaseFileLock) -> None:
    """Release the lock, if it could be acquired, and remove its file."""
    if lock.is_locked:
        lock.release()
        with contextlib.suppress(OSError):  # another process removed it, or has it open on Windows
            Path(lock.lock_file).unlink()
