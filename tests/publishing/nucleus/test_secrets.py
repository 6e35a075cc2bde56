"""The key of Nucleus, and the client's manners, show nowhere."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from segpipe.errors import DestinationError
from tests.fixtures.faults import Fault
from tests.fixtures.landing import PARTITION
from tests.fixtures.nucleus_endpoint import KEY
from tests.fixtures.nucleus_publisher import ITEMS, Publisher
from tests.fixtures.published import outcomes

pytest.importorskip("nucleus", reason="the SDK is not installed: segpipe[nucleus]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_nothing_secret_is_printed_logged_stored_or_raised(
    publisher: Publisher, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    handlers = list(logging.getLogger().handlers)
    publisher.settings(retry_seconds=1)
    publisher.land(30)
    destination = publisher.root.destination("nucleus")
    told = repr(destination) + repr(vars(destination)) + repr(publisher.root.settings)
    publisher.there.proxy.fail(Fault.BAD_GATEWAY, path="uploadPredictions")
    with pytest.raises(DestinationError) as error:
        publisher.publish()
    chain: BaseException | None = error.value
    while chain is not None:
        told += repr(chain) + str(chain)
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    publisher.there.proxy.heal()
    publisher.publish()
    out, err = capfd.readouterr()
    told += out + err + caplog.text
    for path in publisher.landing.root.rglob("*"):
        if path.is_file():
            told += path.read_bytes().decode("latin-1")
    assert KEY not in told
    assert logging.getLogger().handlers == handlers  # the SDK adds one when it is imported


@pytest.mark.parametrize("words_before", [0, 440, 460, 470])
def test_a_key_the_service_repeats_is_not_repeated(publisher: Publisher, words_before: int) -> None:
    """Not even its beginning, where long words are cut off in its middle."""

    class Indiscreet(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            user = base64.b64decode(self.headers["Authorization"].split()[1]).decode()
            self.send_response(403)
            self.end_headers()
            header = self.headers["Authorization"]
            words = f"may not do that {'-' * words_before} {user} {header}"
            self.wfile.write(words.encode())

        def log_message(self, *words: object) -> None:
            """Nothing."""

    publisher.land(1)
    with HTTPServer(("127.0.0.1", 0), Indiscreet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        publisher.settings(endpoint=f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(DestinationError, match=r"403.*may not do that") as error:
            publisher.publish()
        server.shutdown()
    assert KEY[:6] not in str(error.value)
    assert base64.b64encode(KEY.encode()).decode()[:6] not in str(error.value)


def test_a_key_in_the_errors_of_an_upload_is_in_no_receipt(publisher: Publisher) -> None:
    row = publisher.landing.row("nowhere", (0, 1))
    publisher.landing.manifest([row, publisher.landing.row(ITEMS[0], (0, 1))])
    publisher.root.materialize(PARTITION)
    line = json.dumps({"annotation": {"reference_id": "nowhere"}, "error": f"refused to {KEY}:"})
    publisher.there.proxy.fail(
        Fault.REWRITTEN, path="uploadPredictions", rewrite=lambda _: {"predictions_processed": 1,
        "predictions_ignored": 0, "errors": [line]},
    )  # fmt: skip
    found = publisher.publish()
    assert outcomes(found) == {"inserted": 1, "failed": 1}
    assert found.failures == (("nowhere", "refused to ...:"),)
    assert KEY not in str(publisher.receipts(found))


def test_importing_the_client_leaves_logging_as_it_was() -> None:
    script = (
        "import logging, segpipe.publishing.nucleus.client as client; client.sdk(); "
        "print(logging.getLogger().handlers)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr
