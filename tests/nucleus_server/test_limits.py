"""Clients that keep connections and bodies waiting, over real sockets, and who is served beside."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from segpipe.nucleus_server.limits import Limits
from tests.fixtures.nucleus_endpoint import KEY, RunningEndpoint
from tests.fixtures.nucleus_world import World, raw

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MIB = 1024 * 1024
HALF = b"GET /dataset/details HTTP/1.1\r\nHost: localhost\r\nX-Slow: "


@contextlib.contextmanager
def many(
    endpoint: RunningEndpoint, count: int, sent: bytes = HALF
) -> Iterator[list[socket.socket]]:
    """Connections that have sent this and nothing more."""
    with contextlib.ExitStack() as opened:
        found = []
        for _ in range(count):
            one = opened.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), 10))
            with contextlib.suppress(ConnectionError):  # refused, or closed for the next one
                one.sendall(sent)
            found.append(one)
        yield found


def begun(endpoint: RunningEndpoint, size: int, path: str = "/dataset/create") -> socket.socket:
    """A connection on which a body of this size begins."""
    one = socket.create_connection(("127.0.0.1", endpoint.port), 30)
    one.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode()
    )
    return one


def closed_after(one: socket.socket, within: float) -> float:
    """Seconds until the other side closes."""
    start = time.monotonic()
    one.settimeout(within)
    with contextlib.suppress(ConnectionError):
        while one.recv(65536):
            pass
    return time.monotonic() - start


def memory_of(process: int, name: str) -> int:
    """VmRSS or VmHWM in bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def slow_answers(endpoint: RunningEndpoint, auth: tuple[str, str] | None = (KEY, "")) -> float:
    """The longest of ten answers, in seconds."""
    longest = 0.0
    for _ in range(10):
        start = time.monotonic()
        assert raw(endpoint, "GET", "/dataset/details", auth=auth).status_code == 200
        longest = max(longest, time.monotonic() - start)
    return longest


def test_a_thousand_half_open_connections_of_one_address_leave_room_for_the_sdk(
    tmp_path: Path,
) -> None:
    """The client has the same address: those that wait make room for it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < 2000:
        pytest.skip(f"only {before[1]} open files are allowed here; this takes 2000")
    # The server has what most systems give a process.
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    with RunningEndpoint(tmp_path / "root") as endpoint:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2000), before[1]))
        try:
            with many(endpoint, 1000):
                assert slow_answers(endpoint) < 5
                world = World(endpoint, tmp_path, "crowded", items=5)
                told = world.upload([world.prediction(f"img{n:02d}") for n in range(5)])
                assert told["predictions_processed"] == 5
                files = len(list(Path(f"/proc/{endpoint.process}/fd").iterdir()))
                assert files < Limits.connections_per_address + 64
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_request_whose_head_does_not_end_is_closed_however_often_it_sends(
    tmp_path: Path,
) -> None:
    limits = Limits(head_seconds=1.0)
    with (
        RunningEndpoint(tmp_path / "root", limits=limits) as endpoint,
        many(endpoint, 3, b"") as (silent, half, dripping),
    ):
        half.sendall(HALF)
        start = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() < start + 20:
                dripping.sendall(b"a")
                time.sleep(0.1)
        assert 0.9 < time.monotonic() - start < 10
        for one in (silent, half):
            assert closed_after(one, 10) < 10


def test_after_an_answer_a_connection_waits_for_a_while_and_is_used_again(tmp_path: Path) -> None:
    limits = Limits(keep_alive_seconds=1, head_seconds=2.0)
    ask = b"GET /dataset/details HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        RunningEndpoint(tmp_path / "root", key=None, limits=limits) as endpoint,
        many(endpoint, 1, ask) as (one,),
    ):
        assert b"200 OK" in one.recv(65536)
        time.sleep(0.3)
        one.sendall(ask)
        assert b"200 OK" in one.recv(65536)
        assert 0.5 < closed_after(one, 10) < 8


def test_four_slow_bodies_are_refused_in_the_end_and_others_are_served_meanwhile(
    tmp_path: Path,
) -> None:
    limits = Limits(idle_seconds=20, body_seconds=3, body_rate=1024 * MIB)
    with contextlib.ExitStack() as opened:
        endpoint = opened.enter_context(RunningEndpoint(tmp_path / "root", key=None, limits=limits))
        slow = [opened.enter_context(begun(endpoint, 400 * MIB)) for _ in range(4)]
        start = time.monotonic()
        while time.monotonic() < start + 1.5:
            for one in slow:
                one.sendall(b" ")
            assert raw(endpoint, "GET", "/dataset/details", auth=None).status_code == 200
            time.sleep(0.1)
        for one in slow:
            answer = one.recv(65536)
            assert b" 408 " in answer
            assert b"too slowly" in answer + one.recv(65536)


def test_a_body_that_stops_is_refused(tmp_path: Path) -> None:
    limits = Limits(idle_seconds=1.0)
    with (
        RunningEndpoint(tmp_path / "root", key=None, limits=limits) as endpoint,
        begun(endpoint, 1000) as one,
    ):
        one.sendall(b"{")
        assert b" 408 " in one.recv(65536)


def test_large_bodies_wait_on_disk_and_not_in_memory(tmp_path: Path) -> None:
    with contextlib.ExitStack() as opened:
        endpoint = opened.enter_context(RunningEndpoint(tmp_path / "root", key=None))
        before = memory_of(endpoint.process, "VmRSS")
        slow = [opened.enter_context(begun(endpoint, 100 * MIB)) for _ in range(4)]
        for one in slow:
            for _ in range(90):
                one.sendall(b" " * MIB)
        assert slow_answers(endpoint, None) < 5
        grown = memory_of(endpoint.process, "VmHWM") - before
        assert grown < 4 * 16 * MIB + 60 * MIB, f"{grown:,}"
        files = [p.resolve() for p in Path(f"/proc/{endpoint.process}/fd").iterdir()]
        assert sum((endpoint.root / "nucleus") == file.parent for file in files) >= 4
        endpoint.kill()
        assert not [p for p in endpoint.root.rglob("*") if p.is_file() and p.stat().st_size > MIB]


def test_bodies_beyond_the_memory_of_all_wait_for_their_turn_and_are_answered(
    tmp_path: Path,
) -> None:
    """Also one that is larger than all the memory there is."""
    limits = Limits(spool_bytes=MIB, memory_bytes=4 * MIB)
    with RunningEndpoint(tmp_path / "root", key=None, limits=limits) as endpoint:
        sizes = [0, 6 * MIB, 3 * MIB, MIB // 2, 3 * MIB]
        with contextlib.ExitStack() as opened:
            sent = []
            for number, size in enumerate(sizes):
                body = json.dumps({"name": f"d{number}", "is_scene": False}).encode() + b" " * size
                one = opened.enter_context(begun(endpoint, len(body)))
                one.sendall(body[:-1])
                sent.append(one)
            for one in sent:
                one.sendall(b" " if one is not sent[0] else b"}")
            for one in sent:
                assert b" 200 " in one.recv(65536)
        names = {one["name"] for one in requests.get(f"{endpoint.url}/dataset/details").json()}
        assert names == {f"d{number}" for number in range(len(sizes))}


def test_where_every_connection_is_at_work_a_new_one_is_told_to_come_again(
    tmp_path: Path,
) -> None:
    limits = Limits(connections_per_address=3)
    with contextlib.ExitStack() as opened:
        endpoint = opened.enter_context(RunningEndpoint(tmp_path / "root", key=None, limits=limits))
        slow = [opened.enter_context(begun(endpoint, 1000)) for _ in range(3)]
        time.sleep(0.5)
        with socket.create_connection(("127.0.0.1", endpoint.port), 10) as refused:
            answer = refused.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"too many connections" in answer
        # Of another address, there is room.
        with socket.create_connection(
            ("127.0.0.1", endpoint.port), 10, source_address=("127.0.0.2", 0)
        ) as other:
            other.sendall(b"GET /models/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in other.recv(65536)
        slow.pop().close()
        time.sleep(0.5)
        assert raw(endpoint, "GET", "/dataset/details", auth=None).status_code == 200


def test_the_cap_in_all_holds_across_addresses(tmp_path: Path) -> None:
    limits = Limits(connections=10, connections_per_address=4)
    with contextlib.ExitStack() as opened:
        endpoint = opened.enter_context(RunningEndpoint(tmp_path / "root", limits=limits))
        for number in range(40):
            source = (f"127.0.0.{2 + number % 8}", 0)
            one = socket.create_connection(("127.0.0.1", endpoint.port), 10, source_address=source)
            opened.enter_context(one).sendall(HALF)
        time.sleep(0.5)
        sockets = [
            p for p in Path(f"/proc/{endpoint.process}/fd").iterdir()
            if p.is_symlink() and "socket" in str(p.readlink())
        ]  # fmt: skip
        assert len(sockets) <= 10 + 4  # what it listens on, and the loop's own
        assert slow_answers(endpoint) < 5


def test_an_answer_nobody_reads_does_not_keep_its_connection(tmp_path: Path) -> None:
    limits = Limits(head_seconds=1.0, keep_alive_seconds=1)
    with RunningEndpoint(tmp_path / "root", key=None, limits=limits) as endpoint:
        name = "n" * MIB
        for number in range(16):
            body = {"name": f"{number}{name}", "is_scene": False}
            assert raw(endpoint, "POST", "/dataset/create", json=body, auth=None).ok
        ask = b"GET /dataset/details HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with many(endpoint, 1, ask) as (one,):
            time.sleep(4)
            got = 0
            with contextlib.suppress(ConnectionError):
                while part := one.recv(MIB):
                    got += len(part)
            assert got < 16 * MIB
