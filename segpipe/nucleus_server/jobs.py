"""Asynchronous jobs, and the request bodies uploaded for them."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from segpipe.nucleus_server.database import Database, new_id
from segpipe.nucleus_server.requests import MOST_ENTRIES


@dataclass(frozen=True)
class Job:
    """An asynchronous job; ``asked`` is the request that created it."""

    id: str
    dataset: str
    kind: str
    status: str
    message: Mapping[str, Any]
    errors: Sequence[str]
    created: str
    asked: Mapping[str, Any]


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are listed.

    Attributes:
        dataset: of this one; of all where None.
        kinds: of these; of all where there are none.
        completed: whether those that are done, too.
        start, end: made from then on, and not after then; whenever where None.
        most: so many at most, the newest.
    """

    dataset: str | None = None
    kinds: Sequence[str] = ()
    completed: bool = False
    start: datetime | None = None
    end: datetime | None = None
    most: int = MOST_ENTRIES

    def takes(self, job: Job) -> bool:
        """Whether a job is one of them."""
        made = datetime.fromisoformat(job.created)
        return (
            self.dataset in (None, job.dataset)
            and (not self.kinds or job.kind in self.kinds)
            and (self.completed or job.status != "Completed")
            and (self.start is None or self.start <= made)
            and (self.end is None or made <= self.end)
        )


class Jobs:
    """The jobs of a database, and the bodies that were put for them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = database.rows

    def create(self, dataset: str, kind: str, asked: Mapping[str, Any]) -> Job:
        """A job that waits."""
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        job = Job(new_id("job"), dataset, kind, "Queued", {}, [], created, asked)
        statement = (
            "INSERT INTO jobs (id, dataset, kind, status, message, errors, created, asked) "
            "VALUES (?, ?, ?, ?, '{}', '[]', ?, ?)"
        )
        self._rows(statement, job.id, dataset, kind, job.status, created, json.dumps(dict(asked)))
        return job

    def begin(self, job: str) -> None:
        """Say that a job is worked on."""
        self._rows("UPDATE jobs SET status = 'Running' WHERE id = ?", job)

    def end(self, job: Job, status: str, message: Mapping[str, Any], errors: Sequence[str]) -> None:
        """Record a job's result and delete its uploaded body."""
        told = (status, json.dumps(dict(message)), json.dumps(list(errors)), job.id)
        with self._database.transaction():
            statement = "UPDATE jobs SET status = ?, message = ?, errors = ? WHERE id = ?"
            self._rows(statement, *told)
            statement = "DELETE FROM uploads WHERE dataset = ? AND request_id = ?"
            self._rows(statement, job.dataset, job.asked.get("requestId"))

    def get(self, job: str) -> Job | None:
        """A job; None where there is none of this id."""
        found = self._rows("SELECT * FROM jobs WHERE id = ?", job)
        return _job(found[0]) if found else None

    def all(self) -> list[Job]:
        """All jobs, in the order they were made."""
        return [_job(row) for row in self._rows("SELECT * FROM jobs ORDER BY place")]

    def listed(self, asked: JobFilter) -> list[Job]:
        """Those of the jobs that are asked for, in the order they were made."""
        found = [one for one in self.all() if asked.takes(one)]
        return found[max(0, len(found) - asked.most) :]

    def sign_upload(self, dataset: str, request_id: str) -> str:
        """A token under which the body of a request may be put, once made the same for ever.

        Raises:
            RequestRefused: 404 if there is no such dataset any more.
        """
        with self._database.transaction_of(dataset):
            statement = "SELECT token FROM uploads WHERE dataset = ? AND request_id = ?"
            found = self._rows(statement, dataset, request_id)
            if found:
                return str(found[0]["token"])
            token = uuid.uuid4().hex
            statement = "INSERT INTO uploads (request_id, dataset, token) VALUES (?, ?, ?)"
            self._rows(statement, request_id, dataset, token)
            return token

    def expects_upload(self, token: str) -> bool:
        """Whether a body may be put under this token."""
        return bool(self._rows("SELECT 1 FROM uploads WHERE token = ?", token))

    def put_upload(self, token: str, body: bytes) -> bool:
        """Keep the body; False where the token is of no upload."""
        with self._database.transaction():
            if not self.expects_upload(token):
                return False
            self._rows("UPDATE uploads SET body = ? WHERE token = ?", body, token)
            return True

    def upload(self, dataset: str, request_id: str) -> bytes | None:
        """The body that was put; None where there is none."""
        statement = "SELECT body FROM uploads WHERE dataset = ? AND request_id = ?"
        found = self._rows(statement, dataset, request_id)
        return found[0]["body"] if found else None


def _job(row: sqlite3.Row) -> Job:
    return Job(
        row["id"],
        row["dataset"],
        row["kind"],
        row["status"],
        json.loads(row["message"]),
        json.loads(row["errors"]),
        row["created"],
        json.loads(row["asked"]),
    )
