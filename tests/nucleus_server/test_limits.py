"""Clients that keep connections and bodies waiting, over real sockets, and who is served beside."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from segpipe.nucleus_server.limits import Limits
from segpipe.publishing.history import history
from segpipe.root import Root
from tests.fixtures.nucleus_endpoint import KEY, RunningEndpoint
from tests.fixtures.nucleus_world import World, multipart, raw

pytestmark = [
    pytest.mark.slow,  # an endpoint each, with clients that wait and connections that hang
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

MIB = 1024 * 1024
HALF = b"GET /dataset/details HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
ASK = b"GET /dataset/details HTTP/1.1\r\nHost: localhost\r\n\r\n"


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


def answer_on(one: socket.socket) -> tuple[int, bytes]:
    """The status and the body of the answer that comes on a connection."""
    answer = http.client.HTTPResponse(one)
    answer.begin()
    return answer.status, answer.read()


def bytes_read(one: socket.socket, pause: float = 0.0) -> int:
    """How many come until the other side closes, read with pauses in seconds, 512 KiB at a time."""
    got = 0
    with contextlib.suppress(ConnectionError):
        while part := one.recv(MIB // 2):
            got += len(part)
            time.sleep(pause)
    return got


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


def unnamed_files(endpoint: RunningEndpoint) -> int:
    """How many files without a name it has open below its root."""
    found = 0
    for descriptor in Path(f"/proc/{endpoint.process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            target = str(descriptor.readlink())
            found += target.startswith(str(endpoint.root)) and target.endswith("(deleted)")
    return found


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
    with (
        RunningEndpoint(tmp_path / "root", key=None, limits=limits) as endpoint,
        many(endpoint, 1, ASK) as (one,),
    ):
        assert answer_on(one)[0] == 200
        time.sleep(0.3)
        one.sendall(ASK)
        assert answer_on(one)[0] == 200
        assert 0.5 < closed_after(one, 10) < 8


def test_four_slow_bodies_are_refused_in_the_end_and_others_are_served_meanwhile(
    tmp_path: Path,
) -> None:
    limits = Limits(idle_seconds=20, body_seconds=2, body_rate=1024 * MIB)
    with contextlib.ExitStack() as opened:
        endpoint = opened.enter_context(RunningEndpoint(tmp_path / "root", key=None, limits=limits))
        slow = [opened.enter_context(begun(endpoint, 400 * MIB)) for _ in range(4)]
        start = time.monotonic()
        while time.monotonic() < start + 1:
            for one in slow:
                one.sendall(b" ")
            assert raw(endpoint, "GET", "/dataset/details", auth=None).status_code == 200
            time.sleep(0.1)
        for one in slow:
            status, words = answer_on(one)
            assert status == 408
            assert b"too slowly" in words


def test_a_body_that_stops_is_refused(tmp_path: Path) -> None:
    limits = Limits(idle_seconds=1.0)
    with (
        RunningEndpoint(tmp_path / "root", key=None, limits=limits) as endpoint,
        begun(endpoint, 1000) as one,
    ):
        one.sendall(b"{")
        assert answer_on(one)[0] == 408


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
        assert unnamed_files(endpoint) == 4
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
                assert answer_on(one)[0] == 200
        names = {one["name"] for one in requests.get(f"{endpoint.url}/dataset/details").json()}
        assert names == {f"d{number}" for number in range(len(sizes))}


def test_complete_bodies_do_not_wait_for_slow_ones_however_much_memory_those_hold(
    tmp_path: Path,
) -> None:
    limits = Limits(spool_bytes=MIB, memory_bytes=2 * MIB)
    with contextlib.ExitStack() as opened:
        endpoint = opened.enter_context(RunningEndpoint(tmp_path / "root", key=None, limits=limits))
        for _ in range(3):
            opened.enter_context(begun(endpoint, MIB)).sendall(b" " * (MIB - 1))
            time.sleep(0.3)  # one after another: all at once, none would fit
        body = json.dumps({"name": "streets", "is_scene": False}).encode() + b" " * (MIB // 2)
        start = time.monotonic()
        assert raw(endpoint, "POST", "/dataset/create", data=body, auth=None).status_code == 200
        assert time.monotonic() - start < 10


@pytest.mark.parametrize("last", [0, 100], ids=["while it comes", "with its last bytes"])
def test_a_body_the_disk_has_no_room_for_is_refused_and_leaves_nothing(
    tmp_path: Path, last: int
) -> None:
    limits = Limits(spool_bytes=MIB)
    size = 4 * MIB if not last else 2 * MIB + last
    with RunningEndpoint(tmp_path / "root", key=None, limits=limits) as endpoint:
        resource.prlimit(endpoint.process, resource.RLIMIT_FSIZE, (2 * MIB, -1))
        with begun(endpoint, size) as one:
            one.sendall(b" " * (size - last))
            time.sleep(0.5)
            one.sendall(b" " * last)
            status, words = answer_on(one)
        assert (status, b"no room" in words) == (507, True)
        deadline = time.monotonic() + 10
        while unnamed_files(endpoint):  # the answer is sent before it is closed
            assert time.monotonic() < deadline
        assert {p.name.split("-")[0] for p in (endpoint.root / "nucleus").iterdir()} == {
            "registry.sqlite"
        }
        assert "File too large" in endpoint.log.read_text()
        # Where there is room again, it is taken.
        resource.prlimit(endpoint.process, resource.RLIMIT_FSIZE, (-1, -1))
        body = json.dumps({"name": "streets", "is_scene": False}).encode() + b" " * (size - MIB)
        assert raw(endpoint, "POST", "/dataset/create", data=body, auth=None).status_code == 200


def test_what_the_registrys_disk_has_no_room_for_is_an_error_in_one_line_until_there_is_room(
    tmp_path: Path,
) -> None:
    with RunningEndpoint(tmp_path / "root", key=None) as endpoint:
        body: dict[str, Any] = {"name": "streets", "is_scene": False}
        dataset = raw(endpoint, "POST", "/dataset/create", json=body, auth=None).json()
        path = f"/dataset/{dataset['dataset_id']}/signedUrl/first"
        upload = raw(endpoint, "GET", path, auth=None).json()["signed_url"]
        resource.prlimit(endpoint.process, resource.RLIMIT_FSIZE, (MIB, -1))
        body["name"] = "n" * 2 * MIB
        for _ in range(2):
            answer = raw(endpoint, "POST", "/dataset/create", json=body, auth=None)
            assert (answer.status_code, "storage" in answer.json()["error"]) == (500, True)
        assert requests.put(upload, data=b"x" * 2 * MIB, timeout=30).status_code == 500
        log = endpoint.log.read_text()
        assert "Traceback" not in log
        assert "registry.sqlite" in log
        assert upload.rpartition("/")[2] not in log  # it is a secret
        resource.prlimit(endpoint.process, resource.RLIMIT_FSIZE, (-1, -1))
        assert raw(endpoint, "POST", "/dataset/create", json=body, auth=None).ok


def test_masks_the_disk_has_no_room_for_are_refused(tmp_path: Path) -> None:
    """Those of a multipart body are files as soon as they are larger than 1 MiB."""
    with RunningEndpoint(tmp_path / "root") as endpoint:
        world = World(endpoint, tmp_path, "full", items=1)
        path = f"/dataset/{world.dataset.id}/model/{world.model.id}/uploadPredictions"
        sent = [world.prediction("img00").to_payload()]
        resource.prlimit(endpoint.process, resource.RLIMIT_FSIZE, (MIB, -1))
        answer = raw(endpoint, "POST", path, files=multipart(sent, [("a.png", b"x" * 2 * MIB)]))
        assert (answer.status_code, "no room" in answer.json()["error"]) == (507, True)


class TwoRequests:
    """A call of 11 masks, of which the second request, with one, is complete before the first."""

    def __init__(self, endpoint: RunningEndpoint, folder: Path) -> None:
        self.world = world = World(endpoint, folder, "streets")
        self.endpoint = endpoint
        self.path = f"/dataset/{world.dataset.id}/model/{world.model.id}/uploadPredictions"
        sent = [world.prediction(f"img{n:02d}") for n in range(11)]
        self._first, self._last = sent[:10], sent[10:]

    def _asked(self, sent: list[Any]) -> requests.PreparedRequest:
        files = [(quote(p.mask_url, safe=""), Path(p.mask_url).read_bytes()) for p in sent]
        parts = multipart([p.to_payload() for p in sent], files)
        url = f"{self.endpoint.url}{self.path}"
        return requests.Request("POST", url, files=parts, auth=(KEY, "")).prepare()

    @contextlib.contextmanager
    def begun(self) -> Iterator[tuple[socket.socket, bytes]]:
        """The first request, without the second half of its body."""
        asked = self._asked(self._first)
        body = asked.body
        assert isinstance(body, bytes)
        head = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
        half = len(body) // 2
        with socket.create_connection(("127.0.0.1", self.endpoint.port), 30) as one:
            words = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n"
            one.sendall(words.encode() + body[:half])
            yield one, body[half:]

    def last(self) -> requests.Response:
        """The answer to the second one."""
        with requests.Session() as session:
            return session.send(self._asked(self._last), timeout=30)

    @property
    def sizes(self) -> tuple[int, int]:
        """Of their bodies, in bytes."""
        first, last = (len(self._asked(sent).body or b"") for sent in (self._first, self._last))
        return first, last

    @property
    def publications(self) -> int:
        """How many versions of the catalog they made."""
        versions = history(Root.open(str(self.endpoint.root)).catalog)
        return sum(one.operation == "publish" for one in versions)


def test_a_calls_small_request_waits_for_a_larger_one_that_is_still_arriving(
    tmp_path: Path,
) -> None:
    """So that a call of large masks, too, is one version of the catalog."""
    with RunningEndpoint(tmp_path / "root") as endpoint:
        call = TwoRequests(endpoint, tmp_path)
        with call.begun() as (first, rest), ThreadPoolExecutor(1) as pool:
            last = pool.submit(call.last)
            with pytest.raises(TimeoutError):
                last.result(1.5)
            first.sendall(rest)
            status, told = answer_on(first)
            assert (status, json.loads(told)["predictions_processed"]) == (200, 10)
            assert last.result(20).json()["predictions_processed"] == 1
        assert call.publications == 1


def test_a_request_that_does_not_end_holds_the_answers_of_its_call_for_a_while_only(
    tmp_path: Path,
) -> None:
    with RunningEndpoint(tmp_path / "root", limits=Limits(held_seconds=0.5)) as endpoint:
        call = TwoRequests(endpoint, tmp_path)
        with call.begun():
            assert call.last().json()["predictions_processed"] == 1
        assert call.publications == 1
        start = time.monotonic()  # it is gone
        assert call.last().json()["predictions_ignored"] == 1
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("waits", ["of the call", "another"])
def test_an_answer_is_held_for_nobody_while_a_body_waits_for_the_memory_it_has(
    tmp_path: Path, waits: str
) -> None:
    """It may be the very request that it is held for, or one that has nothing to do with it."""
    room = 7000
    limits = Limits(spool_bytes=256, memory_bytes=2 * room, held_seconds=25.0)
    with RunningEndpoint(tmp_path / "root", limits=limits) as endpoint:
        call = TwoRequests(endpoint, tmp_path)
        assert limits.spool_bytes < min(call.sizes)
        assert max(call.sizes) <= room < sum(call.sizes)
        with call.begun() as (first, rest), ThreadPoolExecutor(1) as pool:
            last = pool.submit(call.last)
            with pytest.raises(TimeoutError):
                last.result(1.0)
            start = time.monotonic()
            if waits == "of the call":
                first.sendall(rest)
                assert answer_on(first)[0] == 200
            else:
                body = json.dumps({"name": "fields", "is_scene": False}).encode() + b" " * room
                assert raw(endpoint, "POST", "/dataset/create", data=body).status_code == 200
            assert last.result(20).json()["predictions_processed"] == 1
            assert time.monotonic() - start < 8


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_the_end_does_not_wait_for_slow_clients(tmp_path: Path, number: int) -> None:
    with contextlib.ExitStack() as opened:
        endpoint = opened.enter_context(RunningEndpoint(tmp_path / "root", key=None))
        large = {"name": "n" * 12 * MIB, "is_scene": False}
        assert raw(endpoint, "POST", "/dataset/create", json=large, auth=None).ok
        opened.enter_context(many(endpoint, 10))
        opened.enter_context(many(endpoint, 4, ASK * 2))
        for _ in range(4):
            opened.enter_context(begun(endpoint, 400 * MIB)).sendall(b" " * MIB)
        time.sleep(0.5)
        start = time.monotonic()
        assert endpoint.stop(number) == 128 + number
        assert time.monotonic() - start < 10
        assert "Traceback" not in endpoint.log.read_text()


def test_a_request_at_work_is_answered_before_the_end(tmp_path: Path) -> None:
    limits = Limits(ending_seconds=0.05)
    with RunningEndpoint(tmp_path / "root", key=None, limits=limits) as endpoint:
        create = {"name": "streets", "is_scene": False}
        dataset = raw(endpoint, "POST", "/dataset/create", json=create, auth=None).json()
        items = [{"reference_id": f"i{n}", "image_url": "http://a/b"} for n in range(50_000)]
        body = json.dumps({"items": items}).encode()
        with begun(endpoint, len(body), f"/dataset/{dataset['dataset_id']}/append") as one:
            one.sendall(body)
            time.sleep(0.2)
            endpoint.stop()
            assert answer_on(one)[0] == 200


def test_where_every_connection_is_at_work_a_new_one_is_told_to_come_again(
    tmp_path: Path,
) -> None:
    limits = Limits(connections_per_address=3)
    with contextlib.ExitStack() as opened:
        endpoint = opened.enter_context(RunningEndpoint(tmp_path / "root", key=None, limits=limits))
        slow = [opened.enter_context(begun(endpoint, 1000)) for _ in range(3)]
        time.sleep(0.5)
        with socket.create_connection(("127.0.0.1", endpoint.port), 10) as refused:
            status, words = answer_on(refused)
        assert status == 503
        assert b"too many connections" in words
        # Of another address, there is room.
        with socket.create_connection(
            ("127.0.0.1", endpoint.port), 10, source_address=("127.0.0.2", 0)
        ) as other:
            other.sendall(b"GET /models/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer_on(other)[0] == 200
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


def test_answers_nobody_reads_do_not_keep_their_connection_and_slow_readers_get_theirs(
    tmp_path: Path,
) -> None:
    """Also where more requests came with the first: those cannot be answered."""
    limits = Limits(head_seconds=1.0, keep_alive_seconds=1)
    with contextlib.ExitStack() as opened:
        endpoint = opened.enter_context(RunningEndpoint(tmp_path / "root", key=None, limits=limits))
        large = {"name": "n" * 14 * MIB, "is_scene": False}
        assert raw(endpoint, "POST", "/dataset/create", json=large, auth=None).ok
        never = [opened.enter_context(many(endpoint, 1, ASK * times))[0] for times in (1, 3)]
        (slow,) = opened.enter_context(many(endpoint, 1, ASK))
        assert bytes_read(slow, pause=0.06) > 14 * MIB
        for one in never:
            assert bytes_read(one) < 14 * MIB
