"""Publishing to Nucleus in two threads, in two processes, and by processes that are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fault_proxy import Fault
from tests.nucleus_publisher import Publisher, endpoint, outcomes, publisher, there

__all__ = ["endpoint", "publisher", "there"]  # fixtures

pytest.importorskip("nucleus", reason="the SDK is not installed: segpipe[nucleus]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


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
from segpipe.partition import Partition
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
root, run_id, update = Root.open(sys.argv[1]), sys.argv[2], sys.argv[3] == "update"
partition = Partition("unet", "2026-01-05")
who = Provenance(root.settings.dataset, "unet", "2026-01-05", run_id, datetime.now(UTC), update)
print("ready", flush=True)
found = root.publish(partition, who, destination="nucleus")
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


def test_two_processes_leave_one_prediction_per_item(publisher: Publisher) -> None:
    publisher.land(100)
    both = [child(publisher, run_id) for run_id in ("one", "two")]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(publisher.there.held()) == 100
    found = publisher.publish()
    assert outcomes(found) == {"unchanged": 100}
    publisher.holds(found)


def kill_while_publishing(publisher: Publisher, times: int) -> None:
    import random

    chance = random.Random(0)
    publisher.settings(masks_per_call=20)
    values = 1
    publisher.land(100, (0, values))
    publisher.publish()
    for number in range(times):
        values = 1 + values % 200
        publisher.land(100, (0, values + 1))
        run_id = f"killed {number}"
        process = child(publisher, run_id, "update")
        time.sleep(chance.uniform(0, 1.2))
        process.kill()
        process.communicate()
        found = publisher.publish(update=True, run_id=run_id)
        # What the killed attempt replaced counts as replaced by this run.
        assert outcomes(found) == {"replaced": 100}, number
        publisher.holds(found)


def test_a_run_killed_and_started_again_has_exact_receipts(publisher: Publisher) -> None:
    kill_while_publishing(publisher, 3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_fifty_times_has_exact_receipts(publisher: Publisher) -> None:
    kill_while_publishing(publisher, 50)
