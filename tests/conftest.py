"""Fixtures for all tests: what is in ``tests/fixtures``, registered."""

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
    "tests.fixtures.real_data",
    "tests.fixtures.recording",
    "tests.fixtures.s3_buckets",
    "tests.fixtures.stepping",
    "tests.fixtures.stores",
    "tests.fixtures.viewed_root",
]
