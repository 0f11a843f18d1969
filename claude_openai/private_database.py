"""An SQLite file of the user, in which several servers may write.

Each access opens the file again. So it may be moved or deleted at any time, and an error leaves nothing behind. A
rollback journal is used and not a WAL, because it leaves one file, and works on network file systems that have locks.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from claude_openai.file_access import make_private_folder, open_unfollowed

__all__ = ["PrivateDatabase"]


@dataclass(frozen=True, slots=True)
class PrivateDatabase:
    """The file and its schema. Each method blocks for `busy_s` at most.

    Attributes:
        path: the file.
        schema: the statements that create the tables, separated by semicolons.
        version: the version of the schema.
        error: makes the exception that `converted_errors` raises, from the path and the reason.
        busy_s: how long an access waits for other writers.
        pragmas: set at each access.
        first_pragmas: set before the tables are created.
    """

    path: Path
    schema: str
    version: int
    error: Callable[[Path, str], Exception]
    busy_s: float
    pragmas: Sequence[str] = ()
    first_pragmas: Sequence[str] = ()

    @contextmanager
    def converted_errors(self) -> Iterator[None]:
        """Convert errors of the system and of SQLite to `error`."""
        try:
            yield
        except (OSError, sqlite3.Error, ValueError, TypeError) as error:
            raise self.error(self.path, _reason(error)) from error

    def is_there(self) -> bool:
        """Return whether the file exists, and make it private.

        Raises:
            OSError: it is another kind of file, or belongs to another user.
        """
        # The file is not opened here: closing a descriptor releases the locks that SQLite holds on the file in this
        # process.
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError("not a plain file of this user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            self.path.chmod(0o600)
        return True

    def create(self) -> None:
        """Create the file with mode 0600, unless it exists."""
        if not self.is_there():
            make_private_folder(self.path.parent)
            with suppress(FileExistsError):  # another server was faster
                os.close(open_unfollowed(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o600))

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Open the file, which must exist; create its tables if it has none."""
        # It creates no file: one of SQLite's would not be private.
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, timeout=self.busy_s, isolation_level=None, uri=True)) as database:
            for pragma in self.pragmas:
                database.execute(f"PRAGMA {pragma}")
            self._prepare(database)
            yield database

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open the file, and write within a transaction."""
        with self.connection() as database, database:
            database.execute("BEGIN IMMEDIATE")
            yield database

    def _prepare(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == self.version:
            return
        for pragma in self.first_pragmas if version == 0 else ():
            database.execute(f"PRAGMA {pragma}")
        with database:
            database.execute("BEGIN IMMEDIATE")
            (version,) = database.execute("PRAGMA user_version").fetchone()  # another server may have been faster
            if version > self.version:
                raise sqlite3.NotSupportedError(f"it was written by a newer claude-openai (version {version})")
            if version == 0:
                for statement in self.schema.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {self.version}")


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
