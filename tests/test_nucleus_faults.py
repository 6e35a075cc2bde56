"""Publishing to Nucleus while networks and services do what they do: whatever happens, receipts say
what is read back, nothing is lost or there twice, and the run ends.
"""

from __future__ import annotations

import pytest

from segpipe.errors import DestinationError
from tests.fault_proxy import Fault
from tests.nucleus_publisher import Publisher, endpoint, outcomes, publisher, there

__all__ = ["endpoint", "publisher", "there"]  # fixtures

pytest.importorskip("nucleus", reason="the SDK is not installed: segpipe[nucleus]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FAULTS = [
    Fault.TOO_MANY, Fault.BROKEN, Fault.BAD_GATEWAY, Fault.SLOW_DOWN, Fault.CUT,
    Fault.CUT_IN_REQUEST, Fault.CUT_IN_ANSWER, Fault.STORED_BUT_500, Fault.STORED_BUT_502,
    Fault.STORED_BUT_503, Fault.STORED_THEN_CUT, Fault.DELAY,
]  # fmt: skip


@pytest.mark.parametrize("update", [False, True], ids=["inserting", "replacing"])
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_while_uploading_leaves_true_receipts(
    publisher: Publisher, fault: Fault, update: bool
) -> None:
    publisher.land(40)
    if update:
        publisher.publish()
        publisher.land(40, (0, 2))
    rule = publisher.there.proxy.fail(fault, method="POST", path="uploadPredictions", nth=2)
    found = publisher.publish(update=update)
    assert rule.happened == 1
    assert outcomes(found) == {"replaced" if update else "inserted": 40}
    publisher.holds(found)
    assert len(publisher.there.held()) == 40


def test_answers_the_client_cannot_sum_up_are_read_back(publisher: Publisher) -> None:
    publisher.land(40)
    rule = publisher.there.proxy.fail(
        Fault.REWRITTEN,
        path="uploadPredictions",
        rewrite=lambda answer: {**answer, "errors": None},
    )
    found = publisher.publish()
    assert rule.happened == 4
    assert outcomes(found) == {"inserted": 40}
    publisher.holds(found)


@pytest.mark.parametrize("path", ["/export", "/models/", "/models/add", "/info"])
def test_a_fault_while_reading_is_tried_again(publisher: Publisher, path: str) -> None:
    publisher.land(60)
    for fault in (Fault.TOO_MANY, Fault.BAD_GATEWAY, Fault.CUT):
        publisher.there.proxy.fail(fault, path=f"{path}$", times=1)
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 60}
    publisher.holds(found)
    assert len(publisher.there.models()) == 1


def test_a_service_that_stays_away_fails_in_words_and_a_rerun_completes(
    publisher: Publisher,
) -> None:
    publisher.settings(retry_seconds=1, masks_per_call=10)
    publisher.land(60)
    rule = publisher.there.proxy.fail(Fault.CUT, method="POST", path="uploadPredictions")
    rule.nth = None
    with pytest.raises(DestinationError, match="did not reach Nucleus"):
        publisher.publish(run_id="the run")
    publisher.there.proxy.heal()
    found = publisher.publish(run_id="the run")
    assert outcomes(found) == {"inserted": 60}
    publisher.holds(found)
