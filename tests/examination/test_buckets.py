"""Roots in buckets: what they can do is tried out, nothing stays, and nobody waits for ever."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from segpipe.examination import patience
from segpipe.examination.check import Level
from segpipe.examination.patience import Patience
from segpipe.root import Root
from tests.fixtures.command_line import segpipe
from tests.fixtures.examined import examined, the, wrong
from tests.fixtures.faults import Fault
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.ports import free_port
from tests.fixtures.s3_buckets import FlakyBucket, upload
from tests.fixtures.s3_server import Bucket


@pytest.fixture
def published(s3: Bucket, landing: LandingWriter) -> str:
    """URL of a root in a bucket, with one published partition."""
    landing.manifest([landing.row("a")])
    upload(s3, landing.root)
    root = Root.open(f"{s3.url}/root")
    root.materialize(PARTITION)
    root.publish(PARTITION)
    return f"{s3.url}/root"


def test_a_root_in_a_bucket_is_tried_out_and_left_as_it_was(published: str, s3: Bucket) -> None:
    before = s3.keys()
    checks = examined(published)
    assert wrong(checks) == []
    assert "listed, written, read, replaced, removed" in the(checks, "root").found
    assert s3.keys() == before


@pytest.mark.slow
def test_no_secret_is_printed(published: str, s3: Bucket) -> None:
    secret = s3.secrets[1]
    s3.put("root/segpipe.toml", f'masks = "s3://{secret}/masks"\n'.encode())
    done = segpipe("doctor", "--root", published, "--format", "json", **s3.environment)
    assert done.returncode == 1  # there is no such bucket
    assert json.loads(done.stdout)["usable"] is False
    assert secret not in done.stdout + done.stderr
    assert s3.secrets[0] not in done.stdout + done.stderr


def test_a_bucket_that_is_not_there_is_a_problem(s3: Bucket) -> None:
    (check,) = examined(f"{s3.url}-nowhere/root")
    assert check.level is Level.PROBLEM
    assert "there is no bucket or container named" in check.found


def test_an_endpoint_that_refuses_connections_is_told_at_once(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    (check,) = examined(f"{s3.url}/root")
    assert time.monotonic() - began < patience.SHORTLY
    assert check.level is Level.PROBLEM
    assert "does not answer" in check.found


def test_credentials_that_may_only_read_are_told_and_are_no_problem(
    flaky_s3: FlakyBucket, landing: LandingWriter
) -> None:
    landing.manifest([landing.row("a")])
    upload(flaky_s3, landing.root)
    flaky_s3.proxy.fail(Fault.FORBIDDEN, method="PUT", path=r".")
    check = the(examined(f"{flaky_s3.url}/root"), "root")
    assert check.level is Level.NOTE
    assert "can be read, and not written" in check.found


def test_a_file_that_cannot_be_removed_is_a_problem_that_names_it(
    flaky_s3: FlakyBucket, landing: LandingWriter
) -> None:
    landing.manifest([landing.row("a")])
    upload(flaky_s3, landing.root)
    flaky_s3.proxy.fail(Fault.FORBIDDEN, method="DELETE", path=r".")
    flaky_s3.proxy.fail(Fault.FORBIDDEN, method="POST", path=r".")
    check = the(examined(f"{flaky_s3.url}/root"), "root")
    assert check.level is Level.PROBLEM
    assert "cannot be removed" in check.found
    (left,) = [key for key in flaky_s3.keys("root") if ".segpipe-doctor-" in key]
    assert left.rpartition("/")[2] in check.next_step


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.mark.slow
def test_an_endpoint_that_never_answers_does_not_hold_the_command(s3: Bucket) -> None:
    with silent_server() as port:
        environment = {**s3.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        began = time.monotonic()
        done = segpipe("doctor", "--root", f"{s3.url}/root", **environment)
    assert time.monotonic() - began < 3 * patience.SHORTLY
    assert done.returncode == 1
    assert "no answer within 20 seconds" in done.stdout


def test_a_check_that_does_not_end_is_a_problem_and_the_next_is_made() -> None:
    waiting, ended = Patience(), threading.Event()

    def hangs() -> list[object]:
        ended.wait(60)
        return []

    (late,) = waiting.checks("disk", hangs, 0.05)  # type: ignore[arg-type]
    ended.set()
    assert (late.level, late.found) == (Level.PROBLEM, "no answer within 0.05 seconds")
    assert waiting.given_up
    assert waiting.checks("next", list) == []


def test_a_check_that_fails_in_its_own_way_is_told_without_secrets() -> None:
    def fails() -> list[object]:
        raise RuntimeError("GET http://me:password@host/x?signature=abc failed")

    (check,) = Patience().checks("store", fails)  # type: ignore[arg-type]
    assert check.level is Level.PROBLEM
    assert "RuntimeError" in check.found
    assert "password" not in check.found
    assert "abc" not in check.found
