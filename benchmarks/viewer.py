"""The page of ``segpipe browse`` on a large catalog: how long a reader waits, and its memory.

``python -m benchmarks.viewer [--runs 10] [--rows 100000] [--root DIR]`` fills a catalog with so
many model runs of so many predictions, five Segments each, serves it as ``segpipe browse`` does,
and asks it as the page does. The server is started twice: without anything kept, and again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from urllib.parse import quote

import requests

from benchmarks.goals import Goal, goals_table
from benchmarks.machine import machine_facts
from benchmarks.memory import mib_of, process_facts
from benchmarks.querying import fill

#: What was set out for: seconds, and MiB.
FIRST_PAGE, FILTER, ITEM, MEMORY = 1.5, 1.0, 0.3, 600.0
_TIMES = 5
# No two are the same: what was answered before is remembered.
_FILTERS = (
    "label=Road", "confidence=0.{}..0.9", "text=77{}", "sort=least-sure&text={}",
    "sort=most-segments&label=Car&run=model-00{}", "area=Tree:0.{}..&sort=least-sure",
    "sort=newest&confidence=..0.0{}", "run=model-00{}&entropy=0.1..",
)  # fmt: skip


@dataclass(frozen=True)
class Waited:
    """What a reader waits for, in seconds.

    Attributes:
        processor: seconds that the server had a processor, at the mean: what is left of the wait
            on a machine with nothing else to do, or less.
    """

    words: str
    seconds: Sequence[float]
    processor: float

    def __str__(self) -> str:
        times = f"{median(self.seconds):>7.3f} s at the median, {max(self.seconds):.3f} s at most"
        return f"  {self.words:<44}{times}, {self.processor:.3f} s of a processor"


class Server:
    """``segpipe browse`` in a process of its own."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "segpipe", "browse", "--root", str(root), "--no-open"]
        self.process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
        self.session = requests.Session()
        self._await(port)

    def _await(self, port: int) -> None:
        while self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.02)
        raise SystemExit("segpipe browse ended")

    def get(self, path: str) -> tuple[float, Any]:
        """Seconds until the whole answer is there, and the answer."""
        begun = perf_counter()
        answer = self.session.get(f"{self.url}{path}", timeout=120)
        answer.raise_for_status()
        found = answer.json() if "json" in answer.headers["content-type"] else answer.content
        return perf_counter() - begun, found

    @property
    def processor(self) -> float:
        """Seconds that it had a processor so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_mib(self) -> float:
        """The most memory it had so far."""
        return mib_of(process_facts(Path(f"/proc/{self.process.pid}/status")), "VmHWM")


@contextlib.contextmanager
def _served(root: Path) -> Iterator[Server]:
    server = Server(root)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(20)


def _waited(server: Server, words: str, ask: Callable[[int], Any]) -> Waited:
    """Ask so many times, each time something else."""
    seconds, before = [], server.processor
    for number in range(1, _TIMES + 1):
        begun = perf_counter()
        ask(number)
        seconds.append(perf_counter() - begun)
    return Waited(words, seconds, (server.processor - before) / _TIMES)


def _first_page(server: Server) -> tuple[Waited, Any]:
    """What the page asks for before it shows cards: itself, the root, and the first of them."""
    begun, before = perf_counter(), server.processor
    server.get("/")
    server.get("/api/root")
    _, page = server.get("/api/items?limit=60")
    return Waited("first page", [perf_counter() - begun], server.processor - before), page


def _whole(server: Server) -> float:
    """Seconds until all rows have been read."""
    begun = perf_counter()
    while any("is being made" in note for note in server.get("/api/items?limit=1")[1]["notes"]):
        time.sleep(0.2)
    return perf_counter() - begun


def measure(root: Path) -> tuple[list[str], list[Goal]]:
    """Lines for people, and what was reached."""
    lines = []
    with _served(root) as server:
        cold, page = _first_page(server)
        lines += ["without an index", str(cold), f"  of {page['total']:,} predictions read by then"]
        lines.append(f"  the whole index after {_whole(server):.1f} s more")
        cold_peak = server.peak_mib
        lines.append(f"  memory {cold_peak:,.0f} MiB at most")
    with _served(root) as server:
        warm, page = _first_page(server)
        lines += ["with the index kept", str(warm)]
        waiting = _whole(server)
        lines.append(f"  of {page['total']:,} predictions; whole after {waiting:.1f} s more")
        filters = [
            _waited(
                server, form.replace("{}", "N"),
                lambda n, form=form: server.get(f"/api/items?limit=60&{form.format(n)}"),
            )
            for form in _FILTERS
        ]  # fmt: skip
        counts = _waited(
            server, "counts of a filter", lambda n: server.get(f"/api/counts?text=5{n}")
        )
        cursor = [page["next"]]

        def scroll(_: int) -> None:
            answer = server.get(f"/api/items?limit=60&after={quote(cursor[0])}")[1]
            cursor[0] = answer["next"]

        scrolled = _waited(server, "the next page", scroll)
        items = _waited(
            server, "an item of all model runs",
            lambda n: server.get(f"/api/item?id=item-{7919 * n:08d}"),
        )  # fmt: skip
        lines += map(str, [*filters, counts, scrolled, items])
        peak = server.peak_mib
        lines.append(f"  memory {peak:,.0f} MiB at most")
    worst = max(median(one.seconds) for one in filters)
    return lines, [
        Goal("first page, seconds, index kept", FIRST_PAGE, warm.seconds[0]),
        Goal("first page, seconds, no index yet", FIRST_PAGE, cold.seconds[0]),
        Goal("a filter change, seconds, the slowest", FILTER, worst),
        Goal("an item, seconds", ITEM, median(items.seconds)),
        Goal("memory, MiB", MEMORY, max(peak, cold_peak)),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viewer", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="model runs (10)")
    parser.add_argument("--rows", type=int, default=100_000, help="predictions of each (100,000)")
    parser.add_argument("--root", type=Path, help="a folder to keep, filled if it is not there")
    asked = parser.parse_args()
    print(", ".join(f"{name} {fact}" for name, fact in machine_facts().items()))
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder:
        root = asked.root or Path(folder)
        if not (root / "catalog").is_dir():
            root.mkdir(parents=True, exist_ok=True)
            fill(root, asked.runs, asked.rows)
        for path in (root / "cache").rglob("*"):  # of an earlier measurement
            if path.is_file():
                path.unlink()
        lines, goals = measure(root)
    print("\n".join(["", f"{asked.runs * asked.rows:,} predictions", *lines, ""]))
    print(goals_table(goals))


if __name__ == "__main__":
    main()
