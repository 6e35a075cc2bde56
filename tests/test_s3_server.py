"""The object store that tests publish to, and the faults in front of it, do what they say."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import boto3
import pyarrow as pa
import pytest
import requests
import s3fs
from botocore.exceptions import ClientError
from deltalake import DeltaTable, write_deltalake

from tests.fault_proxy import Fault, FaultProxy
from tests.s3_fixtures import FlakyBucket
from tests.s3_server import Bucket, S3Server, one_writer_per_object


def put(bucket: Bucket, key: str, body: bytes = b"content", **conditions: Any) -> int:
    """Put an object once; the HTTP status."""
    try:
        bucket.client().put_object(Bucket=bucket.name, Key=key, Body=body, **conditions)
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return 200


def content(bucket: Bucket, key: str) -> bytes:
    """An object's bytes."""
    return bytes(bucket.client().get_object(Bucket=bucket.name, Key=key)["Body"].read())


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Call the work with 0, 1, ... in as many threads, all starting together."""
    start = threading.Barrier(count)

    def wait_and_work(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(wait_and_work, range(count)))


class TestTheServer:
    def test_an_object_that_is_there_is_not_put_again_on_condition(self, s3: Bucket) -> None:
        assert put(s3, "once", b"first", IfNoneMatch="*") == 200
        assert put(s3, "once", b"second", IfNoneMatch="*") == 412
        assert content(s3, "once") == b"first"

    def test_an_object_is_replaced_only_while_it_is_the_one_that_was_read(self, s3: Bucket) -> None:
        put(s3, "swapped", b"first")
        read = s3.client().head_object(Bucket=s3.name, Key="swapped")["ETag"]
        assert put(s3, "swapped", b"second", IfMatch=read) == 200
        assert put(s3, "swapped", b"third", IfMatch=read) == 412
        assert put(s3, "absent", b"fourth", IfMatch=read) == 404
        assert content(s3, "swapped") == b"second"

    @pytest.mark.parametrize("size", [100, 1_000_000])
    def test_of_twenty_racing_conditional_puts_exactly_one_wins(
        self, s3: Bucket, size: int
    ) -> None:
        bodies = [bytes([number]) * size for number in range(20)]
        for attempt in range(5):
            key = f"raced-{attempt}"
            answers = race(s3, key, bodies, "If-None-Match: *")
            assert sorted(answers) == [200, *[412] * 19]
            assert content(s3, key) == bodies[answers.index(200)]

    def test_of_twenty_racing_swaps_exactly_one_wins(self, s3: Bucket) -> None:
        put(s3, "swapped", b"before")
        read = s3.client().head_object(Bucket=s3.name, Key="swapped")["ETag"]
        bodies = [bytes([number]) * 100_000 for number in range(20)]
        answers = race(s3, "swapped", bodies, f"If-Match: {read}")
        assert sorted(answers) == [200, *[412] * 19]
        assert content(s3, "swapped") == bodies[answers.index(200)]

    def test_writes_to_one_object_never_overlap_and_others_do_not_wait(self) -> None:
        inside: list[str] = []
        overlaps: list[str] = []
        slow = threading.Event()

        def store(environ: dict[str, Any], _: Callable[..., Any]) -> list[bytes]:
            if environ["PATH_INFO"] == "/bucket/slow":
                return [b"waited" if slow.wait(10) else b"gave up"]
            overlaps.extend(inside)
            inside.append("writer")
            time.sleep(0.002)
            inside.pop()
            return [b""]

        serialised = one_writer_per_object(store)

        def write(path: str) -> Any:
            asked = {"REQUEST_METHOD": "PUT", "PATH_INFO": path, "REQUEST_URI": path}
            return serialised(asked, lambda *_: None)

        with ThreadPoolExecutor(1) as other:
            waiting = other.submit(write, "/bucket/slow")
            at_once(10, lambda _: write("/bucket/fast"))
            slow.set()
            assert waiting.result() == [b"waited"]
        assert overlaps == []

    def test_a_client_that_dies_within_its_body_leaves_nothing(self, s3: Bucket) -> None:
        place = urlsplit(s3.endpoint)
        with socket.create_connection((place.hostname or "", place.port or 0)) as client:
            head = (
                f"PUT /{s3.name}/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
            )
            client.sendall(head.encode() + bytes(500))
        put(s3, "whole")
        assert s3.keys() == ["whole"]

    @pytest.mark.parametrize(
        "key",
        [
            "a b/c+d/é ü/日本.png",
            "model_run=a%2Fb/part%20x.png",
            "?what#why&so=that.png",
            "'quoted' \"twice\".png",
            "Case.png",
        ],
    )
    def test_a_key_of_any_characters_is_the_object_of_that_name(
        self, s3: Bucket, flaky_s3: FlakyBucket, key: str
    ) -> None:
        for bucket in (s3, flaky_s3):
            put(bucket, key, b"here")
            assert bucket.keys() == [key]
            assert content(bucket, key) == b"here"
            files = s3fs.S3FileSystem(**bucket.fsspec_options)
            assert files.cat_file(f"{bucket.name}/{key}") == b"here"
            files.pipe_file(f"{bucket.name}/{key}", b"from s3fs")
            assert content(bucket, key) == b"from s3fs"

    def test_a_large_object_in_parts_comes_back_whole(self, s3: Bucket) -> None:
        data = os.urandom(12_000_000)
        files = s3fs.S3FileSystem()
        with files.open(f"{s3.url}/large", "wb", block_size=5 * 2**20) as output:
            output.write(data)
        assert (
            files.cat_file(f"{s3.url}/large", start=6_000_000, end=6_000_100)
            == (data[6_000_000:6_000_100])
        )
        assert content(s3, "large") == data

    def test_the_environment_alone_leads_every_client_there(self, flaky_s3: FlakyBucket) -> None:
        s3fs.S3FileSystem().pipe_file(f"{flaky_s3.url}/from-s3fs", b"1")
        boto3.client("s3").put_object(Bucket=flaky_s3.name, Key="from-boto3", Body=b"2")
        write_deltalake(f"{flaky_s3.url}/table", pa.table({"number": [1]}))
        by_itself = "import s3fs, sys; print(s3fs.S3FileSystem().find(sys.argv[1]))"
        found = subprocess.run(
            [sys.executable, "-c", by_itself, flaky_s3.name], capture_output=True, check=True
        ).stdout.decode()
        for name in ("from-s3fs", "from-boto3", "table/_delta_log/00000000000000000000.json"):
            assert f"{flaky_s3.name}/{name}" in found
        written = {passed.path for passed in flaky_s3.proxy.log if passed.method == "PUT"}
        assert f"/{flaky_s3.name}/table/_delta_log/00000000000000000000.json" in written

    def test_each_bucket_is_empty_and_its_own(self, s3: Bucket, s3_server: S3Server) -> None:
        other = s3_server.new_bucket()
        put(s3, "here")
        assert (s3.keys(), other.keys()) == (["here"], [])

    def test_the_server_ends_with_the_process_that_started_it(self) -> None:
        starting = (
            "import os; from tests.s3_server import S3Server; "
            "print(S3Server().endpoint, flush=True); os.kill(os.getpid(), 9)"
        )
        endpoint = subprocess.run(
            [sys.executable, "-c", starting], stdout=subprocess.PIPE, check=False
        ).stdout.decode()
        place = urlsplit(endpoint.strip())
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                socket.create_connection((place.hostname or "", place.port or 0), 1).close()
            except ConnectionRefusedError:
                return
            time.sleep(0.05)
        pytest.fail(f"{endpoint} still answers")


class TestDeltaOnTheServer:
    def test_two_writers_at_once_lose_no_commit(self, s3: Bucket) -> None:
        table = f"{s3.url}/table"
        write_deltalake(table, pa.table({"writer": [9], "number": [0]}))

        def append(writer: int) -> None:
            for number in range(10):
                rows = pa.table({"writer": [writer], "number": [number]})
                write_deltalake(table, rows, mode="append", storage_options=s3.delta_options)

        at_once(2, append)
        final = DeltaTable(table)
        rows = final.to_pyarrow_table().to_pylist()
        assert sorted((row["writer"], row["number"]) for row in rows) == [
            *((writer, number) for writer in range(2) for number in range(10)),
            (9, 0),
        ]
        assert final.version() == 20
        assert [entry["version"] for entry in final.history()] == list(range(20, -1, -1))

    def test_rows_of_a_commit_that_was_stored_but_answered_500_are_there_once(
        self, s3: Bucket, flaky_s3: FlakyBucket
    ) -> None:
        table = f"{flaky_s3.url}/table"
        write_deltalake(table, pa.table({"number": [0]}))
        flaky_s3.proxy.fail(Fault.STORED_BUT_500, method="PUT", path=r"_delta_log/", nth=1)
        write_deltalake(table, pa.table({"number": [1]}), mode="append")
        assert flaky_s3.proxy.faults == {Fault.STORED_BUT_500: 1}
        # deltalake takes its own commit for another's and commits the same file again.
        rows = DeltaTable(table, storage_options=s3.delta_options).to_pyarrow_table()
        assert sorted(rows["number"].to_pylist()) == [0, 1]


class TestTheFaults:
    """Each asked once, by a client that does not try again."""

    @pytest.fixture
    def proxy(self, flaky_s3: FlakyBucket) -> FaultProxy:
        return flaky_s3.proxy

    def test_slow_down_answers_503_and_stores_nothing(
        self, s3: Bucket, flaky_s3: FlakyBucket, proxy: FaultProxy
    ) -> None:
        proxy.fail(Fault.SLOW_DOWN, method="PUT", path="/masks/", nth=1)
        with pytest.raises(ClientError) as refused:
            flaky_s3.client().put_object(Bucket=s3.name, Key="masks/a", Body=b"1")
        assert refused.value.response["Error"]["Code"] == "SlowDown"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert s3.keys() == []
        assert put(flaky_s3, "masks/a") == 200

    def test_delay_answers_later_but_rightly(
        self, flaky_s3: FlakyBucket, proxy: FaultProxy
    ) -> None:
        proxy.fail(Fault.DELAY, method="PUT", seconds=0.3, times=1)
        started = time.monotonic()
        assert put(flaky_s3, "late", b"right") == 200
        assert time.monotonic() - started >= 0.3
        assert content(flaky_s3, "late") == b"right"

    def test_cut_hangs_up_and_stores_nothing(
        self, s3: Bucket, flaky_s3: FlakyBucket, proxy: FaultProxy
    ) -> None:
        proxy.fail(Fault.CUT, method="PUT")
        with pytest.raises(requests.ConnectionError):
            requests.put(flaky_s3.signed("put_object", "cut"), data=b"1", timeout=10)
        assert s3.keys() == []

    def test_a_cut_within_the_request_stores_nothing(
        self, s3: Bucket, flaky_s3: FlakyBucket, proxy: FaultProxy
    ) -> None:
        proxy.fail(Fault.CUT_IN_REQUEST, method="PUT")
        with pytest.raises(requests.ConnectionError):
            requests.put(flaky_s3.signed("put_object", "cut"), data=bytes(10**6), timeout=10)
        assert s3.keys() == []
        assert 0 < proxy.bytes_in < 10**6

    @pytest.mark.parametrize("size", [1000, 1_000_000])
    def test_a_cut_within_the_answer_gives_half_of_it(
        self, s3: Bucket, flaky_s3: FlakyBucket, proxy: FaultProxy, size: int
    ) -> None:
        put(s3, "whole", os.urandom(size))
        proxy.fail(Fault.CUT_IN_ANSWER, method="GET", path="/whole")
        place = urlsplit(flaky_s3.signed("get_object", "whole"))
        client = http.client.HTTPConnection(place.hostname or "", place.port)
        client.request("GET", f"{place.path}?{place.query}")
        answer = client.getresponse()
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) == size
        received = b""
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            while True:
                piece = answer.read1(size // 10)
                if not piece:
                    raise http.client.IncompleteRead(received)
                received += piece
        client.close()
        assert received == content(s3, "whole")[: size // 2]

    def test_stored_but_500_stores(
        self, s3: Bucket, flaky_s3: FlakyBucket, proxy: FaultProxy
    ) -> None:
        proxy.fail(Fault.STORED_BUT_500, method="PUT")
        assert put(flaky_s3, "stored", b"all of it") == 500
        assert content(s3, "stored") == b"all of it"
        assert [passed.status for passed in proxy.log] == [200]

    def test_stored_then_cut_stores(
        self, s3: Bucket, flaky_s3: FlakyBucket, proxy: FaultProxy
    ) -> None:
        proxy.fail(Fault.STORED_THEN_CUT, method="PUT")
        with pytest.raises(requests.ConnectionError):
            requests.put(flaky_s3.signed("put_object", "stored"), data=b"1", timeout=10)
        assert content(s3, "stored") == b"1"

    def test_only_the_nth_request_that_matches_fails(
        self, flaky_s3: FlakyBucket, proxy: FaultProxy
    ) -> None:
        rule = proxy.fail(Fault.SLOW_DOWN, method="PUT", path=r"\.png$", nth=2)
        keys = ["a.png", "b.json", "c.png", "d.png"]
        assert [put(flaky_s3, key) for key in keys] == [200, 200, 503, 200]
        assert (rule.matched, rule.happened) == (3, 1)
        proxy.fail(Fault.SLOW_DOWN)
        proxy.heal()
        assert put(flaky_s3, "e.png") == 200

    def test_faults_by_chance_are_the_same_for_the_same_seed_in_any_order(self, s3: Bucket) -> None:
        keys = [f"{number}.png" for number in range(60)]

        def failing(seed: int, in_order: list[str]) -> set[str]:
            with FaultProxy(s3.endpoint, seed) as proxy:
                proxy.fail(Fault.SLOW_DOWN, method="PUT", probability=0.3)
                bucket = FlakyBucket(proxy.endpoint, s3.name, proxy)
                return {key for key in in_order if put(bucket, key) == 503}

        first = failing(1, keys)
        assert 8 <= len(first) <= 29
        assert failing(1, keys[::-1]) == first
        assert failing(2, keys) != first

    def test_requests_and_bytes_are_counted(self, flaky_s3: FlakyBucket, proxy: FaultProxy) -> None:
        signed = flaky_s3.signed
        requests.put(signed("put_object", "counted"), data=bytes(1234), timeout=10)
        assert (proxy.bytes_in, proxy.bytes_out) == (1234, 0)
        requests.get(signed("get_object", "counted"), timeout=10)
        requests.head(signed("head_object", "counted"), timeout=10)
        assert proxy.requests == {"PUT": 1, "GET": 1, "HEAD": 1}
        assert (proxy.bytes_in, proxy.bytes_out) == (1234, 1234)
        proxy.forget()
        assert (proxy.requests, proxy.bytes_in) == ({}, 0)

    def test_s3fs_gets_over_faults_that_pass(
        self, s3: Bucket, flaky_s3: FlakyBucket, proxy: FaultProxy
    ) -> None:
        proxy.fail(Fault.SLOW_DOWN, method="PUT", nth=3)
        proxy.fail(Fault.STORED_BUT_500, method="PUT", nth=5)
        proxy.fail(Fault.CUT, method="PUT", nth=7)
        files = {f"{s3.name}/{number}.png": bytes([number]) * 5000 for number in range(20)}
        s3fs.S3FileSystem().pipe(files)
        assert sum(proxy.faults.values()) == 3
        there = s3.keys()
        assert {f"{s3.name}/{key}": content(s3, key) for key in there} == files


def race(bucket: Bucket, key: str, bodies: list[bytes], condition: str) -> list[int]:
    """Put all bodies under one key: all but the last byte of each first, then the last bytes."""
    place = urlsplit(bucket.signed("put_object", key))
    head = (
        f"PUT {place.path}?{place.query} HTTP/1.1\r\nHost: localhost\r\n{condition}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(bodies[0])}\r\n\r\n"
    )
    clients = [
        socket.create_connection((place.hostname or "", place.port or 0), 30) for _ in bodies
    ]
    for client, body in zip(clients, bodies, strict=True):
        client.sendall(head.encode() + body[:-1])
    for client, body in zip(clients, bodies, strict=True):
        client.sendall(body[-1:])
    answers = []
    for client in clients:
        answers.append(int(client.makefile("rb").readline().split()[1]))
        client.close()
    return answers
