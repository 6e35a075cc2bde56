"""Publishing to Nucleus in two threads, in two processes, and by processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.faults import Fault
from tests.fixtures.nucleus_endpoint import RunningEndpoint
from tests.fixtures.nucleus_publisher import ITEMS, Publisher, new_dataset
from tests.fixtures.published import outcomes
from tests.fixtures.thoroughness import at_most

pytest.importorskip("nucleus", reason="the SDK is not installed: segpipe[nucleus]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.slow
def test_two_runs_in_two_threads_leave_one_prediction_per_item(publisher: Publisher) -> None:
    publisher.land(150)
    # Slow enough that the calls of both would be under way at once.
    publisher.there.proxy.fail(Fault.DELAY, path="uploadPredictions", seconds=0.3)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda run: publisher.publish(run_id=run), ("one", "two")))
    assert len(publisher.there.held()) == 150
    for found in both:
        assert sum(found.outcomes.values()) == 150
        assert found.outcomes["failed"] == 0
        publisher.holds(found)
    # The client was not called twice at once: nothing broke and had to be sent again.
    assert publisher.there.uploads() <= 30


_CHILD = """
import sys
from datetime import UTC, datetime
from segpipe.manifests.partition import Partition
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
root, run_id, update = Root.open(sys.argv[1]), sys.argv[2], sys.argv[3] == "update"
partition = Partition("unet", "2026-01-05")
who = Provenance(root.settings.dataset, "unet", "2026-01-05", run_id, datetime.now(UTC), update)
print("ready", flush=True)
found = root.publish(partition, provenance=who, destination="nucleus")
print({k: v for k, v in found.outcomes.items() if v}, flush=True)
"""


def child(publisher: Publisher, run_id: str, update: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _CHILD, str(publisher.landing.root), run_id, update]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_two_processes_leave_one_prediction_per_item(publisher: Publisher) -> None:
    publisher.land(40)
    both = [child(publisher, run_id) for run_id in ("one", "two")]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(publisher.there.held()) == 40
    found = publisher.publish()
    assert outcomes(found) == {"unchanged": 40}
    publisher.holds(found)


UPLOADS = 10  # requests that send a hundred masks


def killed_after(
    publisher: Publisher, uploads: int, run_id: str, update: str = "", *, answered: bool
) -> None:
    """A run that is killed when so many of its uploads have come, or were answered."""
    proxy = publisher.there.proxy
    proxy.forget()
    process = child(publisher, run_id, update)
    deadline = time.monotonic() + 60

    def come() -> int:
        sent = [one for one in proxy.log if "uploadPredictions" in one.path]
        return sum(one.status is not None for one in sent) if answered else len(sent)

    while come() < uploads:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def kill_while_publishing(
    publisher: Publisher, endpoint: RunningEndpoint, uploads: Sequence[int]
) -> None:
    """Runs that insert and runs that replace, two for each of these numbers of uploads.

    Every other one is killed between uploads, the others within."""
    publisher.there.proxy.fail(Fault.DELAY, path="uploadPredictions", seconds=0.02)
    for number, count in enumerate(uploads):
        publisher.there.dataset = new_dataset(endpoint, ITEMS[:100], publisher.there.proxy).dataset
        publisher.settings(masks_per_call=20)
        answered = bool((number + number // UPLOADS) % 2)
        for outcome, values, update in (("inserted", (0, 1), ""), ("replaced", (0, 2), "update")):
            publisher.land(100, values)
            run_id = f"{outcome} {number}"
            killed_after(publisher, count, run_id, update, answered=answered)
            found = publisher.publish(update=bool(update), run_id=run_id)
            # What the killed attempt did counts as done by this run.
            assert outcomes(found) == {outcome: 100}, (count, answered)
            publisher.holds(found)
            assert len(publisher.there.held()) == 100


@pytest.mark.slow
def test_a_run_killed_and_started_again_has_exact_receipts(
    publisher: Publisher, endpoint: RunningEndpoint
) -> None:
    kill_while_publishing(publisher, endpoint, [1, 7])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_runs_killed_again_and_again_have_exact_receipts(
    publisher: Publisher, endpoint: RunningEndpoint
) -> None:
    kill_while_publishing(publisher, endpoint, [1 + n % UPLOADS for n in range(at_most(12, 50))])
