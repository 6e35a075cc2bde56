"""Fixtures of an object store: a bucket of one's own, straight or through a proxy with faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import s3fs

from tests.fault_proxy import FaultProxy
from tests.s3_server import Bucket, S3Server

# What would lead a client elsewhere, or have it ask a cloud's own services for credentials.
_OTHER_SETTINGS = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT",
)


@dataclass(frozen=True)
class FlakyBucket(Bucket):
    """A bucket whose endpoint is a proxy; ``proxy`` says what fails and counts."""

    proxy: FaultProxy


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The server, one for all tests."""
    with S3Server() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket; the environment leads every client to its server."""
    bucket = s3_server.new_bucket()
    _lead_to(bucket, monkeypatch)
    yield bucket
    s3fs.S3FileSystem.clear_instance_cache()
    s3_server.forget()


@pytest.fixture
def flaky_s3(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyBucket]:
    """The bucket of ``s3`` through a proxy; the environment leads there.

    ``s3`` in the same test is the way past the proxy, to look at what is really there.
    """
    with FaultProxy(s3.endpoint) as proxy:
        bucket = FlakyBucket(proxy.endpoint, s3.name, proxy)
        _lead_to(bucket, monkeypatch)
        yield bucket
        s3fs.S3FileSystem.clear_instance_cache()


def _lead_to(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _OTHER_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    # A file system made without options would be that of the test before.
    s3fs.S3FileSystem.clear_instance_cache()
