"""``segpipe nucleus-server`` as a user starts it, in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import requests

READY_WITHIN = 60.0  # seconds
KEY = "live_0123456789abcdef-test"


class RunningEndpoint:
    """The endpoint on a free port of this machine; a context manager.

    Attributes:
        url: of the API, without a slash at the end.
        root: the folder it serves.
        log: what it printed.
    """

    def __init__(
        self, root: Path, *options: str, key: str | None = KEY, port: int | None = None
    ) -> None:
        self.root, self._options, self._key = root, options, key
        self.port = port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = root.parent / f"{root.name}-endpoint.log"
        root.mkdir(parents=True, exist_ok=True)
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {k: v for k, v in os.environ.items() if k != "SEGPIPE_NUCLEUS_KEY"}
        if self._key is not None:
            environment["SEGPIPE_NUCLEUS_KEY"] = self._key
        command = [sys.executable, "-m", "segpipe", "nucleus-server"]
        command += ["--root", str(self.root), "--port", str(self.port), *self._options]
        with self.log.open("ab") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        deadline = time.monotonic() + READY_WITHIN
        while True:
            try:
                requests.get(f"{self.url}/dataset/details", timeout=5)
                return process
            except requests.ConnectionError:
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    words = self.log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"the endpoint did not start: {words}") from None
                time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Start it again on the same root and port."""
        self._process = self._started()

    def stop(self) -> int:
        """End it as a service manager does; the exit status."""
        self._process.terminate()
        return self._process.wait(30)

    def __enter__(self) -> RunningEndpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
