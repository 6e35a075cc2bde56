"""The destinations besides the catalog: whether they can be published to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from segpipe.errors import DestinationError
from segpipe.examination.check import Check, ok, problem, segpipe_command
from segpipe.examination.packages import version_of
from segpipe.extras import install_command
from segpipe.publishing.destinations import DESTINATIONS, NUCLEUS
from segpipe.publishing.nucleus.settings import KEY_VARIABLE
from segpipe.settings import Settings

_TIMEOUT_SECONDS = 10


def destinations(settings: Settings) -> Iterator[Check]:
    """Where predictions are published, as ``destinations`` says."""
    titles = [DESTINATIONS[name].title for name in settings.destinations]
    yield ok("destinations", f"predictions are published to {' and '.join(titles)}")
    if NUCLEUS in settings.destinations:
        yield nucleus(settings)


def nucleus(settings: Settings) -> Check:
    """Whether Scale Nucleus answers, knows the key, and has the dataset."""
    given = settings.nucleus
    again = segpipe_command("doctor", settings.root)
    if given is None:
        step = 'write a table [nucleus] with dataset_id = "ds_..." into segpipe.toml'
        return problem(NUCLEUS, "there is no table [nucleus] in segpipe.toml", step, again)
    if version_of("scale-nucleus") is None:
        command = install_command("nucleus")
        return problem(NUCLEUS, "its client is not installed", "install it", command)
    if not os.environ.get(KEY_VARIABLE):
        found = f"the API key is not set ({KEY_VARIABLE} in the environment)"
        command = f"read -rs {KEY_VARIABLE} && export {KEY_VARIABLE}"
        return problem(NUCLEUS, found, "set it in this shell, and type it in unseen:", command)
    from segpipe.publishing.nucleus.service import NucleusService

    service = NucleusService(replace(given, timeout=_TIMEOUT_SECONDS, retry_seconds=0))
    try:
        service.check_dataset()
    except DestinationError as error:
        step = (
            f"see that {KEY_VARIABLE}, dataset_id and endpoint belong together, and that the "
            "endpoint can be reached from here"
        )
        return problem(NUCLEUS, str(error), step, again)
    return ok(NUCLEUS, f"it answers, and has the dataset {given.dataset_id}")
