"""Fixtures for all tests: what is in ``tests/fixtures``, registered."""

import gc

import pytest

pytest.register_assert_rewrite("tests.fixtures")
pytest_plugins = [
    "tests.fixtures.damaged_tables",
    "tests.fixtures.dagster_instance",
    "tests.fixtures.inbox",
    "tests.fixtures.landing",
    "tests.fixtures.nucleus_endpoint",
    "tests.fixtures.published_days",
    "tests.fixtures.publishing_process",
    "tests.fixtures.data_sets",
    "tests.fixtures.recording",
    "tests.fixtures.s3_buckets",
    "tests.fixtures.stepping",
    "tests.fixtures.stores",
    "tests.fixtures.viewed_root",
]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Have the garbage collector look less often, and not at what was imported.

    That stays to the end; a tenth of the tests' time went into looking through it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000)


def pytest_unconfigure() -> None:
    """Have all of it collected at the end: some libraries print what is not."""
    gc.unfreeze()
