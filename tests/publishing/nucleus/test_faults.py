"""Publishing to Nucleus while networks and services do what they do: whatever happens, receipts say
what is read back, nothing is lost or there twice, and the run ends.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pyarrow.parquet as pq
import pytest

from segpipe.errors import DestinationError
from tests.fixtures.faults import Fault
from tests.fixtures.landing import PARTITION
from tests.fixtures.nucleus_endpoint import KEY
from tests.fixtures.nucleus_publisher import ITEMS, Publisher
from tests.fixtures.published import outcomes
from tests.fixtures.thoroughness import slow_after

pytest.importorskip("nucleus", reason="the SDK is not installed: segpipe[nucleus]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FAULTS = [
    Fault.TOO_MANY, Fault.BROKEN, Fault.BAD_GATEWAY, Fault.SLOW_DOWN, Fault.CUT,
    Fault.CUT_IN_REQUEST, Fault.CUT_IN_ANSWER, Fault.STORED_BUT_500, Fault.STORED_BUT_502,
    Fault.STORED_BUT_503, Fault.STORED_THEN_CUT, Fault.DELAY,
]  # fmt: skip
READ = ["/export", "/models/", "/models/add", "/info"]


@pytest.mark.parametrize(
    "update", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["inserting", "replacing"]
)
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_while_uploading_leaves_true_receipts(
    publisher: Publisher, fault: Fault, update: bool
) -> None:
    publisher.land(20)
    if update:
        publisher.publish()
        publisher.land(20, (0, 2))
    rule = publisher.there.proxy.fail(fault, method="POST", path="uploadPredictions", nth=2)
    found = publisher.publish(update=update)
    assert rule.happened == 1
    assert outcomes(found) == {"replaced" if update else "inserted": 20}
    publisher.holds(found)
    assert len(publisher.there.held()) == 20


def test_answers_the_client_cannot_sum_up_are_read_back(publisher: Publisher) -> None:
    publisher.land(20)
    rule = publisher.there.proxy.fail(
        Fault.REWRITTEN,
        path="uploadPredictions",
        rewrite=lambda answer: {**answer, "errors": None},
    )
    found = publisher.publish()
    assert rule.happened == 2
    assert outcomes(found) == {"inserted": 20}
    publisher.holds(found)


@pytest.mark.parametrize("path", slow_after(1, {one: one for one in READ}))
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


# --- refusals in the middle of a call


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.REFUSED, r"answered 400: .*There is something wrong with one of them\."),
        (Fault.BROKEN, r"answered 500: .*We encountered an internal error\."),
        (Fault.FORBIDDEN, r"answered 403: .*The key may not write here\."),
    ],
    ids=["400", "500", "403"],
)
def test_a_refused_upload_is_told_in_the_services_own_words(
    publisher: Publisher, fault: Fault, words: str
) -> None:
    publisher.settings(retry_seconds=0)
    publisher.land(3)
    publisher.there.proxy.fail(fault, path="uploadPredictions")
    if fault is Fault.REFUSED:
        found = publisher.publish()
        assert outcomes(found) == {"failed": 3}
        assert all(re.fullmatch(f".*{words}.*", said) for _, said in found.failures)
        publisher.holds(found)
    else:
        with pytest.raises(DestinationError, match=words):
            publisher.publish()


@pytest.mark.parametrize("seconds", [1.5], ids=["1.5 s"])
def test_the_service_is_left_alone_as_long_as_it_asks(publisher: Publisher, seconds: float) -> None:
    publisher.land(20)
    publisher.there.proxy.fail(Fault.TOO_MANY, path="uploadPredictions", nth=1, seconds=seconds)
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 20}
    sent = [one for one in publisher.there.proxy.log if "uploadPredictions" in one.path]
    refused = next(one for one in sent if one.fault is Fault.TOO_MANY)
    assert sent[-1].at - refused.at >= seconds
    publisher.holds(found)


def test_a_key_withdrawn_in_the_middle_ends_the_run_and_a_rerun_tells_what_was_stored(
    publisher: Publisher,
) -> None:
    """Requests that were under way are stored, although nobody waited for them."""
    publisher.land(40)
    proxy = publisher.there.proxy
    proxy.fail(Fault.LATE, path="uploadPredictions", times=2, seconds=0.5)
    proxy.fail(Fault.UNAUTHORIZED, path="uploadPredictions")
    with pytest.raises(DestinationError, match=r"401: .*The key was withdrawn.*run again"):
        publisher.publish(run_id="the run")
    assert len(publisher.there.held()) == 20
    proxy.heal()
    found = publisher.publish(run_id="the run")
    assert outcomes(found) == {"inserted": 40}
    publisher.holds(found)


@pytest.mark.parametrize("update", slow_after(1, {"inserting": False, "replacing": True}))
def test_one_prediction_that_is_refused_costs_no_other(publisher: Publisher, update: bool) -> None:
    """The service refuses whole requests: which of its ten it is shows when they go one by one."""
    publisher.land(20)
    if update:
        publisher.publish()
        publisher.land(20, (0, 2))
    rule = publisher.there.proxy.fail(Fault.REFUSED, path="uploadPredictions", body=b"item 0017")
    found = publisher.publish(update=update)
    assert outcomes(found) == {"replaced" if update else "inserted": 19, "failed": 1}
    ((reference_id, words),) = found.failures
    assert reference_id == ITEMS[17]
    assert "answered 400" in words
    assert rule.happened == 2
    publisher.there.proxy.heal()
    assert outcomes(publisher.publish(update=update)) == {
        "unchanged": 19, "replaced" if update else "inserted": 1,
    }  # fmt: skip


@pytest.mark.parametrize("per_call", slow_after(1, {"one call": 100, "a call each": 1}))
def test_one_prediction_the_service_breaks_on_costs_no_other(
    publisher: Publisher, per_call: int
) -> None:
    publisher.settings(retry_seconds=1, masks_per_call=per_call)
    publisher.land(15)
    publisher.there.proxy.fail(Fault.BROKEN, path="uploadPredictions", body=b"item 0012")
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 14, "failed": 1}
    ((reference_id, words),) = found.failures
    assert reference_id == ITEMS[12]
    assert "answered 500" in words
    publisher.holds(found)


def test_what_was_given_up_and_is_there_all_the_same_has_not_failed(publisher: Publisher) -> None:
    """Cut off, a request goes on behind the proxy, and is done when its items are refused."""
    publisher.land(10)
    proxy = publisher.there.proxy
    # While it is under way its ten items are not to be seen.
    proxy.fail(Fault.STORED_THEN_CUT, path="uploadPredictions", nth=1)
    proxy.fail(Fault.REFUSED, path="uploadPredictions")
    proxy.fail(
        Fault.REWRITTEN, path="/referenceId/", after=10, times=20,
        rewrite=lambda _: {"annotations": {}},
    )  # fmt: skip
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 10}
    publisher.holds(found)


# --- other runs, and what is read back afterwards


@pytest.mark.parametrize("update", [False, True], ids=["without update", "with update"])
def test_what_another_run_put_there_since_it_was_planned_is_told_as_it_is(
    publisher: Publisher, update: bool
) -> None:
    publisher.land(60)
    other = publisher.receipts(publisher.publish())
    publisher.land(62, (0, 2))
    # As it was when this run read what is there: nothing.
    publisher.there.proxy.fail(
        Fault.REWRITTEN, path="/export$", times=1, rewrite=lambda _: {"segmentation": []}
    )
    found = publisher.publish(update=update)
    assert outcomes(found) == {"replaced" if update else "ignored": 60, "inserted": 2}
    publisher.holds(found)
    told = publisher.receipts(found)[ITEMS[7]]
    assert told["previous_fingerprint"] == other[ITEMS[7]]["fingerprint"]


def test_what_is_read_back_otherwise_than_the_receipts_say_is_reported(
    publisher: Publisher,
) -> None:
    publisher.land(60)

    def changed(answer: dict[str, Any]) -> dict[str, Any]:
        kept = [one for one in answer["segmentation"] if one["reference_id"] != ITEMS[3]]
        for one in kept:
            if one["reference_id"] == ITEMS[5]:
                one["annotations"][0]["label"] = "edited"
        return {"segmentation": kept}

    publisher.there.proxy.fail(Fault.REWRITTEN, path="/export$", after=1, rewrite=changed)
    found = publisher.publish()
    assert found.verification is not None
    assert [(one.reference_id, one.words) for one in found.verification.mismatches] == [
        (ITEMS[3], "the receipt says inserted, but Nucleus holds nothing for it"),
        (ITEMS[5], "the receipt says inserted, but Nucleus holds another prediction"),
    ]


# --- answers of another form


def test_errors_that_name_nobody_are_those_of_what_is_not_there(publisher: Publisher) -> None:
    row = publisher.landing.row("nowhere", (0, 1))
    known = [publisher.landing.row(one, (0, 1)) for one in ITEMS[:12]]
    publisher.landing.manifest([row, *known])
    publisher.root.materialize(PARTITION)

    def nameless(answer: dict[str, Any]) -> dict[str, Any]:
        errors = ["An item could not be stored." for _ in answer.get("errors", [])]
        return {**answer, "errors": errors}

    publisher.there.proxy.fail(Fault.REWRITTEN, path="uploadPredictions", rewrite=nameless)
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 12, "failed": 1}
    assert found.failures == (("nowhere", "An item could not be stored."),)
    publisher.holds(found)


def test_an_error_about_what_was_stored_all_the_same_is_no_failure(publisher: Publisher) -> None:
    publisher.land(15)
    line = json.dumps({"annotation": {"reference_id": ITEMS[3]}, "error": "Cannot be stored."})
    publisher.there.proxy.fail(
        Fault.REWRITTEN, path="uploadPredictions", nth=1,
        rewrite=lambda answer: {**answer, "errors": [line]},
    )  # fmt: skip
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 15}
    publisher.holds(found)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/models/$", []),
        ("/models/$", {"models": [None]}),
        ("/models/$", {}),
        ("/models/add$", []),
        ("/models/add$", {}),
        ("/export$", []),
        ("/export$", {"segmentation": [None]}),
        ("/export$", {"segmentation": [{"annotations": []}]}),
        ("/export$", {"segmentation": [{"reference_id": "item 0001", "annotations": [7]}]}),
        ("/referenceId/", []),
        ("/referenceId/", {"annotations": {"segmentation": ["x"]}}),
        ("/uploadPredictions$", []),
        ("/uploadPredictions$", "stored"),
        ("/uploadPredictions$", {"predictions_processed": "many"}),
    ],
)
def test_an_answer_of_another_form_is_no_more_than_a_failure_in_words(
    publisher: Publisher, path: str, answer: Any
) -> None:
    publisher.settings(retry_seconds=0)
    publisher.land(60 if "export" in path else 3)
    rule = publisher.there.proxy.fail(Fault.REWRITTEN, path=path, rewrite=lambda _: answer)
    if "upload" in path:  # what was stored is read back
        found = publisher.publish()
        assert outcomes(found) == {"inserted": 3}
        publisher.holds(found)
    else:
        with pytest.raises(DestinationError, match="cannot be understood"):
            publisher.publish()
    assert rule.happened >= 1


def test_an_item_the_service_does_not_know_may_be_a_404_when_it_is_read(
    publisher: Publisher,
) -> None:
    publisher.land(2)
    publisher.there.proxy.fail(Fault.ABSENT, path="/referenceId/item%200001", times=1)
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 2}
    publisher.holds(found)


def test_a_signature_in_a_masks_url_is_not_taken_for_the_mask(publisher: Publisher) -> None:
    """A service that keeps masks under names of its own gives them back as presigned URLs."""
    publisher.land(12)
    signed = "https://bucket.s3.example.com/a1/mask.png?X-Amz-Credential=k/s3&X-Amz-Signature="

    def presigned(answer: dict[str, Any]) -> dict[str, Any]:
        for one in answer["annotations"].get("segmentation", []):
            one["mask_url"] = signed + hashlib.sha256(one["reference_id"].encode()).hexdigest()
        return answer

    publisher.there.proxy.fail(Fault.REWRITTEN, path="/referenceId/", rewrite=presigned)
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 12}
    publisher.holds(found)
    assert outcomes(publisher.publish()) == {"unchanged": 12}


def test_an_answer_slower_than_the_timeout_is_read_back(publisher: Publisher) -> None:
    publisher.settings(timeout=1)
    publisher.land(20)
    rule = publisher.there.proxy.fail(Fault.LATE, path="uploadPredictions", nth=2, seconds=2)
    found = publisher.publish()
    assert rule.happened == 1
    assert outcomes(found) == {"inserted": 20}
    publisher.holds(found)
    assert len(publisher.there.held()) == 20


def test_a_service_that_cannot_be_read_back_leaves_the_receipts_of_what_it_stored(
    publisher: Publisher,
) -> None:
    publisher.settings(retry_seconds=1)
    publisher.land(60)
    publisher.there.proxy.fail(Fault.BROKEN, path="/export$", after=1)
    with pytest.raises(DestinationError, match=r"the predictions: answered 500"):
        publisher.publish(run_id="unread")
    assert len(publisher.there.held()) == 60
    (kept,) = publisher.root.receipts("nucleus").files()
    assert kept.path.endswith("/unread.parquet")
    told = pq.read_table(kept.path, partitioning=None)
    assert told["outcome"].to_pylist() == ["inserted"] * 60


# --- what the client does alone


def test_others_in_the_process_who_use_the_client_find_it_as_it_is(publisher: Publisher) -> None:
    publisher.land(1)
    publisher.publish()
    import nucleus

    there = publisher.there
    client = nucleus.NucleusClient(api_key=KEY, endpoint=there.proxy.endpoint, use_notebook=False)
    mask = str(next((publisher.landing.root / "masks").rglob("*.png")))
    model = client.create_model("own", f"{there.dataset} own")
    sent = nucleus.SegmentationPrediction(mask, [nucleus.Segment("a", 0)], ITEMS[0])
    there.proxy.fail(Fault.REFUSED, path="uploadPredictions", nth=1)
    with pytest.raises(nucleus.errors.NucleusAPIError, match="received 400"):
        client.get_dataset(there.dataset).upload_predictions(model, [sent])
    answer = client.get_dataset(there.dataset).upload_predictions(model, [sent])
    assert answer["predictions_processed"] == 1
