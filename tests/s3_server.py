"""A real server of the S3 protocol on loopback, as a process of its own.

It is moto's S3 behind waitress. moto answers conditional writes as S3 does (``If-None-Match: *`` on
what is there and ``If-Match`` with another ETag: 412), but looks and stores in two steps: of
twenty writers racing for one key up to four won when the interpreter switched threads in
between. Delta commits stand on exactly one winning, so a lock per object is put around the two
steps, in the server itself: whatever comes in front, no way leads past it. waitress instead of
moto's development server because that one closes the connection after every answer, and because
waitress has the whole body before anything is stored: a client that dies half-way leaves nothing.

Credentials are not checked. Nothing is kept on disk; the process ends with the one that started
it, even if that is killed.

``python -m tests.s3_server`` says the port on standard output and serves until standard input ends.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import sys
import threading
import uuid
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

REGION = "eu-central-1"
ACCESS_KEY = "segpipe-tests"
SECRET_KEY = "segpipe-tests-secret"
READY_WITHIN = 60.0  # seconds
_THREADS = 16

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True)
class Bucket:
    """A bucket and the door to it: what the clients need to be told."""

    endpoint: str
    name: str

    @property
    def url(self) -> str:
        """The bucket as fsspec and object_store both know it."""
        return f"s3://{self.name}"

    @property
    def environment(self) -> dict[str, str]:
        """The usual environment variables; with these set, no client needs options."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,  # the one that botocore reads
            "AWS_ALLOW_HTTP": "true",
        }

    @property
    def fsspec_options(self) -> dict[str, Any]:
        """``storage_options`` of fsspec, for s3fs."""
        return {
            "key": ACCESS_KEY,
            "secret": SECRET_KEY,
            "endpoint_url": self.endpoint,
            "client_kwargs": {"region_name": REGION},
        }

    @property
    def delta_options(self) -> dict[str, str]:
        """``storage_options`` of deltalake."""
        return self.environment

    def client(self, **config: Any) -> Any:
        """A boto3 client that asks once and does not try again."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
        )

    def signed(self, operation: str, key: str) -> str:
        """A URL that allows an operation of boto3 (``get_object``, ...) to plain HTTP clients."""
        return str(
            self.client(signature_version="s3v4").generate_presigned_url(
                operation, {"Bucket": self.name, "Key": key}
            )
        )

    def keys(self, prefix: str = "") -> list[str]:
        """The objects that are there, sorted."""
        pages = (
            self.client().get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        )
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))


class S3Server:
    """The server's process; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.s3_server"],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self.endpoint = f"http://127.0.0.1:{self._port()}"
            self.new_bucket()  # loads moto's S3 now, not within the first test's measurements
        except BaseException:
            self.stop()
            raise

    def _port(self) -> int:
        output = self._process.stdout
        assert output is not None
        said, _, _ = select.select([output], [], [], READY_WITHIN)
        line = output.readline() if said else b""
        if not line:
            raise RuntimeError(f"the S3 server was not ready; it ended with {self._process.poll()}")
        return int(line)

    def new_bucket(self) -> Bucket:
        """An empty bucket with a name that no other had."""
        bucket = Bucket(self.endpoint, f"segpipe-{uuid.uuid4().hex[:12]}")
        bucket.client().create_bucket(
            Bucket=bucket.name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        return bucket

    def forget(self) -> None:
        """Drop all buckets and what they hold."""
        urlopen(Request(f"{self.endpoint}/moto-api/reset", method="POST"), timeout=30).close()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def __enter__(self) -> S3Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def one_writer_per_object(application: Application) -> Application:
    """moto's application with its writes to one object one after the other."""
    locks = [threading.Lock() for _ in range(1024)]

    def serialised(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # moto finds the key in what was sent, under another name; what is decoded lost its %2F.
        environ["RAW_URI"] = environ["REQUEST_URI"]
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        # Two objects that share a lock only wait for each other.
        path = environ["PATH_INFO"].encode("utf-8", "surrogatepass")
        with locks[zlib.crc32(path) % len(locks)]:
            return application(environ, start_response)

    return serialised


def _end_with_the_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Serve until standard input ends."""
    import waitress
    from moto.moto_server.werkzeug_app import create_backend_app

    # S3 alone: moto's choice among all services took half of the time of every request.
    store, control = create_backend_app("s3"), create_backend_app("moto_api")

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        chosen = control if environ["PATH_INFO"].startswith("/moto-api/") else store
        return chosen(environ, start_response)

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue is no news here
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    print(listening.getsockname()[1], flush=True)
    waitress.serve(
        one_writer_per_object(application),
        sockets=[listening],
        threads=_THREADS,
        connection_limit=1000,  # a worker holds a few dozen at a time
        asyncore_use_poll=True,
        channel_timeout=3600,  # an idle connection of a paused test stays usable
        _quiet=True,
    )


if __name__ == "__main__":
    main()
