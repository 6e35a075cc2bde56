"""Publishing and maintenance of a catalog in an object store, in seeded orders of their requests.

The catalog is that of ``test_every_interleaving``, put into a bucket and made ten days old there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from segpipe.publishing.catalog import Catalog
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from tests.fixtures.aged_catalog import TEN_DAYS, catalog_of_five_versions
from tests.fixtures.held_requests import HoldingProxy, interleave_requests
from tests.fixtures.s3_buckets import upload
from tests.fixtures.s3_server import Bucket, S3Server
from tests.fixtures.stepping import Actor
from tests.fixtures.thoroughness import at_most
from tests.publishing.test_every_interleaving import (
    FIRST,
    FOURTH,
    INSERT,
    OPTIMIZE,
    UNPUBLISH,
    UPDATE,
    VACUUM,
    Task,
    violations,
)

TOGETHER = [
    (VACUUM, FIRST),
    (VACUUM, INSERT),
    (VACUUM, FOURTH),
    (VACUUM, UPDATE),
    (FOURTH, INSERT),
    (OPTIMIZE, UPDATE),
    (UNPUBLISH, INSERT),
    (VACUUM, OPTIMIZE),
    (VACUUM, VACUUM),
]


@pytest.fixture(scope="module")
def proxies(s3_server: S3Server) -> Iterator[Sequence[HoldingProxy]]:
    with HoldingProxy(s3_server.endpoint) as one, HoldingProxy(s3_server.endpoint) as other:
        yield one, other


@pytest.fixture(scope="module")
def ten_days_old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return catalog_of_five_versions(tmp_path_factory.mktemp("bucket"))


def seeded(seed: int) -> Callable[[int, int, Sequence[int]], int]:
    """Turns that end where it is drawn; every fourth seed draws each request."""
    draw = random.Random(seed)
    ends = {draw.randrange(120) for _ in range(1 + seed % 4)}

    def choose(step: int, last: int, going: Sequence[int]) -> int:
        return draw.choice(going) if step == 0 or step in ends or seed % 4 == 3 else last

    return choose


def wrong(
    server: S3Server,
    proxies: Sequence[HoldingProxy],
    actors: Sequence[Actor],
    template: Path,
    seed: int,
) -> list[object]:
    """What is wrong after one order of requests, and the requests; nothing should be."""
    bucket = server.new_bucket()
    upload(bucket, template)
    bucket.age(TEN_DAYS)
    tasks = TOGETHER[seed % len(TOGETHER)]

    def acting(actor: Actor, proxy: HoldingProxy, task: Task) -> Callable[[], object]:
        options = Bucket(proxy.endpoint, bucket.name).fsspec_options
        places = {"root": f"{bucket.url}/root", "inbox": str(template.with_name("inbox"))}

        def act() -> object:
            actor.tell(**task, **places, options=options)
            return actor.wait()

        return act

    acts = [acting(*one) for one in zip(actors, proxies, tasks, strict=False)]
    steps, answers = interleave_requests(proxies, acts, seeded(seed))
    root = Folder(f"{bucket.url}/root", bucket.fsspec_options)
    catalog = Catalog(root.folder("catalog"), MaskStore(root.folder("masks")))
    found = violations(catalog, tasks, answers)
    found += [key for key in bucket.keys() if ".removals" in key]  # noqa: SIM118
    return [*found, *steps] if found else []


@pytest.mark.parametrize("seed", range(2))
def test_whatever_order_requests_of_two_arrive_in_the_catalog_is_whole(
    s3: Bucket,
    s3_server: S3Server,
    proxies: Sequence[HoldingProxy],
    actors: Sequence[Actor],
    ten_days_old: Path,
    seed: int,
) -> None:
    assert wrong(s3_server, proxies, actors, ten_days_old, seed) == []


@pytest.mark.slow
def test_many_seeded_orders_of_requests_leave_the_catalog_whole(
    s3: Bucket,
    s3_server: S3Server,
    proxies: Sequence[HoldingProxy],
    actors: Sequence[Actor],
    ten_days_old: Path,
) -> None:
    for seed in range(2, 2 + at_most(12, 200)):
        assert wrong(s3_server, proxies, actors, ten_days_old, seed) == [], f"seed {seed}"
