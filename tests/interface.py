"""``segpipe dev`` as a user starts it, and the questions Dagster's pages ask it.

It runs in a session of its own under a keeper (``python -m tests.interface COMMAND...``) that does
what Ctrl-C in a terminal does when its standard input ends: also when the tests are killed, no
process stays.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import requests

LOCATION = "segpipe"
REPOSITORY = "__repository__"
READY_WITHIN = 120.0  # seconds
RUN_WITHIN = 120.0
# dagster gives its own processes 60 s before it kills them.
STOPPED_WITHIN = 90.0
FORCED = 3  # exit status of the keeper when Ctrl-C was not enough

_LOOK_AGAIN = 0.1  # seconds between two looks at a condition
_PROJECT = Path(__file__).resolve().parents[1]
_Found = TypeVar("_Found")


def wait_for(what: str, look: Callable[[], _Found | None], seconds: float) -> _Found:
    """Look until there is something; what was found.

    Raises:
        TimeoutError: if there was nothing in time.
    """
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(_LOOK_AGAIN)
    return found


class Interface:
    """The running interface; a context manager.

    Attributes:
        url: of the pages.
        seconds_to_answer: from the start to the first answer with the assets in it.
    """

    def __init__(self, root: Path, home: Path, log: Path) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between the test and its own machine
        command = [sys.executable, "-m", "segpipe", "dev", "--root", str(root), "--port", str(port)]
        begun = time.monotonic()
        with log.open("wb") as output:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.interface", *command],
                cwd=_PROJECT,
                env={**os.environ, "DAGSTER_HOME": str(home), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_for("an answer from segpipe dev", self._answer, READY_WITHIN)
        except BaseException:
            self.stop()
            raise
        self.seconds_to_answer = time.monotonic() - begun

    def _answer(self) -> bool | None:
        if self._keeper.poll() is not None:
            said = self._log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"segpipe dev ended with {self._keeper.returncode}: {said}")
        try:
            return True if self.assets() else None
        except requests.ConnectionError:
            return None

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer to a GraphQL query.

        Raises:
            RuntimeError: if it is answered with errors.
        """
        body = {"query": query, "variables": variables}
        answer = self._session.post(f"{self.url}/graphql", json=body, timeout=60).json()
        if answer.get("errors"):
            raise RuntimeError(f"GraphQL: {answer['errors']}")
        data: dict[str, Any] = answer["data"]
        return data

    def assets(self) -> dict[str, list[str]]:
        """The assets of all groups, and the names of each one's checks."""
        nodes = self.ask(_ASSETS)["assetNodes"]
        return {
            "/".join(node["assetKey"]["path"]): [
                check["name"] for check in node["assetChecksOrError"].get("checks", ())
            ]
            for node in nodes
        }

    def check_statuses(self, asset: str) -> dict[str, str | None]:
        """The status of each check's latest execution; None where it was never executed."""
        nodes = self.ask(_CHECKS, keys=[{"path": asset.split("/")}])["assetNodes"]
        found = {}
        for check in nodes[0]["assetChecksOrError"]["checks"]:
            latest = check["executionForLatestMaterialization"]
            found[check["name"]] = latest and latest["status"]
        return found

    def launch(self, date: str, model_run: str, config: dict[str, Any]) -> str:
        """Ask for all assets of one partition, as "Materialize all" does; the run's id."""
        tags = {
            "dagster/partition": f"{date}|{model_run}",
            "dagster/partition/date": date,
            "dagster/partition/model_run": model_run,
            "dagster/from_ui": "true",
        }
        assets = self.assets()
        keys = {name: {"path": name.split("/")} for name in assets}
        parameters = {
            "mode": "default",
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
            "runConfigData": config,
            "selector": {
                "repositoryLocationName": LOCATION,
                "repositoryName": REPOSITORY,
                "pipelineName": "__ASSET_JOB",
                "assetSelection": list(keys.values()),
                "assetCheckSelection": [
                    {"name": check, "assetKey": keys[asset]}
                    for asset, checks in assets.items()
                    for check in checks
                ],
            },
        }
        answer = self.ask(_LAUNCH, executionParams=parameters)["launchPipelineExecution"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise RuntimeError(f"the run was not launched: {answer}")
        return str(answer["run"]["id"])

    def backfill(self, partitions: Sequence[str], **tags: str) -> str:
        """Ask for all assets of some partitions, as the dialog of a backfill does; its id."""
        parameters = {
            "partitionNames": list(partitions),
            "assetSelection": [{"path": name.split("/")} for name in self.assets()],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        answer = self.ask(_BACKFILL, backfillParams=parameters)["launchPartitionBackfill"]
        if answer["__typename"] != "LaunchBackfillSuccess":
            raise RuntimeError(f"the backfill was not launched: {answer}")
        return str(answer["backfillId"])

    def end_of_backfill(self, backfill_id: str, seconds: float = RUN_WITHIN) -> str:
        """Wait until a backfill and its runs are over; its status."""

        def status() -> str | None:
            found = str(self.ask(_BACKFILLED, id=backfill_id)["partitionBackfillOrError"]["status"])
            return None if found in ("REQUESTED", "CANCELING", "FAILING") else found

        return wait_for(f"the end of backfill {backfill_id}", status, seconds)

    def latest(self, asset: str, partition: str) -> dict[str, int]:
        """The numbers in the metadata of a partition's latest materialization."""
        answer = self.ask(_LATEST, key={"path": asset.split("/")}, partitions=[partition])
        (event,) = answer["assetNodeOrError"]["assetMaterializations"]
        return {
            entry["label"]: entry["intValue"]
            for entry in event["metadataEntries"]
            if entry.get("intValue") is not None
        }

    def end_of_run(self, run_id: str) -> str:
        """Wait until a run is over; its status."""

        def status() -> str | None:
            found = str(self.ask(_STATUS, id=run_id)["runOrError"]["status"])
            return found if found in ("SUCCESS", "FAILURE", "CANCELED") else None

        return wait_for(f"the end of run {run_id}", status, RUN_WITHIN)

    def terminate(self) -> int:
        """End ``segpipe dev`` as a service manager does, by SIGTERM; the status as of ``stop``."""
        self._keeper.terminate()
        return self.stop()

    def stop(self) -> int:
        """Press Ctrl-C and wait; 0, or ``FORCED`` where processes stayed and had to be killed."""
        self._session.close()
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        return self._keeper.wait(STOPPED_WITHIN + 30)

    def __enter__(self) -> Interface:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


_ASSETS = """
{ assetNodes { assetKey { path }
    assetChecksOrError { ... on AssetChecks { checks { name } } } } }
"""
_CHECKS = """
query ($keys: [AssetKeyInput!]) { assetNodes(assetKeys: $keys) {
    assetChecksOrError { ... on AssetChecks { checks {
        name executionForLatestMaterialization { status } } } } } }
"""
_LAUNCH = """
mutation ($executionParams: ExecutionParams!) {
  launchPipelineExecution(executionParams: $executionParams) {
    __typename
    ... on LaunchRunSuccess { run { id } }
    ... on InvalidSubsetError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message } } }
"""
_BACKFILL = """
mutation ($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on InvalidSubsetError { message } } }
"""
_BACKFILLED = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status } ... on PythonError { message } } }
"""
_LATEST = """
query ($key: AssetKeyInput!, $partitions: [String!]) { assetNodeOrError(assetKey: $key) {
    ... on AssetNode { assetMaterializations(partitions: $partitions, limit: 1) {
        metadataEntries { label ... on IntMetadataEntry { intValue } } } } } }
"""
_STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def living(group: int) -> list[int]:
    """The processes of a process group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended meanwhile
            continue
        if int(of) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def keep(command: Sequence[str]) -> int:
    """Run a command until standard input ends, then press Ctrl-C; the exit status.

    On SIGTERM the command alone, not what it started, is sent SIGTERM. Where anything stays
    running, it is killed, and the status is ``FORCED``.
    """
    # A shell that starts the tests in the background has them ignore Ctrl-C; a terminal does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    ends: list[Callable[[], None]] = []

    def listen() -> None:
        sys.stdin.buffer.read()
        ends.append(lambda: os.killpg(process.pid, signal.SIGINT))

    signal.signal(signal.SIGTERM, lambda *_: ends.append(process.terminate))
    threading.Thread(target=listen, daemon=True).start()
    while not ends and process.poll() is None:
        time.sleep(_LOOK_AGAIN)
    early = process.poll()
    if ends:
        ends[0]()
    deadline = time.monotonic() + STOPPED_WITHIN
    while (left := living(process.pid)) and time.monotonic() < deadline:
        process.poll()
        time.sleep(_LOOK_AGAIN)
    if left:
        print(f"still running, now killed: {left}", flush=True)
        os.killpg(process.pid, signal.SIGKILL)
        return FORCED
    process.wait()
    return early or 0


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))
