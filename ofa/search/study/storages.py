"""Where a study lives: an SQLite file, a journal file or a database server, opened so that workers may die."""

from __future__ import annotations

import fcntl
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.common.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_FORMS = "Write sqlite:///FILE.db, journal:FILE.log, postgresql://USER@HOST/NAME or mysql://USER@HOST/NAME"
_JOURNALS = (".log", ".journal", ".jsonl")
_DATABASES = (".db", ".sqlite", ".sqlite3")
_SERVERS = ("postgresql", "mysql", "mariadb")

#: The package of the driver that a bare `postgresql:` or `mysql:` needs, by the module that SQLAlchemy misses.
_DRIVERS = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient", "psycopg": "psycopg[binary]", "pymysql": "pymysql"}


def open_storage(storage: str, *, key: str = "--storage") -> BaseStorage:
    """An Optuna storage by URL or file name; the file is made if there is none.

    Raises `UserError` for a URL of another kind, a missing driver, a server that does not answer, and a file that is
    there but no storage; it is left as it is.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kind, place = _parsed(storage, key)
    if kind == "journal":
        return _open_journal(Path(place), key)
    if kind == "sqlite":
        path = Path(place.removeprefix("sqlite:///").partition("?")[0])
        with _made_alone(path, key):
            return _open_database(place, storage, key)
    return _open_database(place, storage, key)


def shown(storage: str) -> str:
    """The storage as it may be printed: without a password."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", storage)


def _parsed(storage: str, key: str) -> tuple[str, str]:
    """(`journal`, file), (`sqlite`, URL) or (`server`, URL)."""
    scheme, colon, rest = storage.partition(":")
    if colon and scheme == "journal" and rest:
        return "journal", rest.removeprefix("//")
    if storage.startswith("sqlite:///") and len(storage) > len("sqlite:///"):
        return "sqlite", storage
    if colon and rest.startswith("//") and scheme.partition("+")[0] in _SERVERS:
        return "server", storage
    if "://" not in storage and storage.endswith(_JOURNALS):
        return "journal", storage
    if "://" not in storage and storage.endswith(_DATABASES):
        return "sqlite", f"sqlite:///{storage}"
    raise UserError("not a storage that studies can be kept in", key=key, value=shown(storage), hint=_FORMS)


def _open_journal(path: Path, key: str) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalLock(path)))
    except OSError as error:
        raise UserError(f"cannot be opened: {error.strerror or error}", file=path, key=key) from error
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise UserError("not a journal of studies", file=path, key=key) from error


class JournalLock:
    """A lock that the system takes back from a worker that is killed, at once; it also mends what such a one left.

    Optuna's own locks are files that stay behind, and are broken up after 30 s. A last line that was cut short is cut
    off before the next is written, for a journal with such a line in its middle cannot be read any more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        self._descriptor = os.open(self._path, os.O_RDWR)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        _cut_torn_line(self._descriptor)
        return True

    def release(self) -> None:
        assert self._descriptor is not None
        os.close(self._descriptor)  # which unlocks
        self._descriptor = None


def _cut_torn_line(descriptor: int) -> None:
    end = os.fstat(descriptor).st_size
    if end == 0 or os.pread(descriptor, 1, end - 1) == b"\n":
        return
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    os.ftruncate(descriptor, end)


def _open_database(url: str, storage: str, key: str) -> BaseStorage:
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage, get_storage

    # SQLite lets one writer in at a time: workers wait for each other rather than give up after 5 s. A server may have
    # dropped a connection during an evaluation of minutes: it is tried before it is used.
    engine = {"connect_args": {"timeout": 120}} if url.startswith("sqlite:") else {"pool_pre_ping": True}

    def opened() -> BaseStorage:
        return get_storage(RDBStorage(url, engine_kwargs=engine))

    try:
        return _again(opened, (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError))
    except ImportError as error:
        module = getattr(error.__cause__, "name", None) or str(error.__cause__)
        package = _DRIVERS.get(module, module)
        hint = f"Install it: pip install {package}"
        raise UserError(
            f"needs the driver {module!r}, which is not installed", key=key, value=shown(storage), hint=hint
        ) from error
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise UserError(f"not a database URL: {error}", key=key, value=shown(storage), hint=_FORMS) from error
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UserError(f"cannot be opened: {cause}", key=key, value=shown(storage)) from error


def _again(opened: Callable[[], BaseStorage], raced: tuple[type[Exception], ...], attempts: int = 6) -> BaseStorage:
    """Workers that open an empty database at the same moment make its tables at the same moment: all but one fail, and
    find them the next time."""
    for _ in range(attempts - 1):
        try:
            return opened()
        except raced:
            time.sleep(0.2 + random.random())
    return opened()


@contextmanager
def _made_alone(path: Path, key: str) -> Iterator[None]:
    """The same for an SQLite file, where it can be ruled out: one worker at a time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"cannot be opened: {error.strerror or error}", file=path, key=key) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
