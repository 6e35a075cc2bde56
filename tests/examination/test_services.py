"""Destinations and schedulers: whether they answer, without ever showing a key."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from segpipe.examination.check import Check, Level
from segpipe.examination.services import nucleus
from segpipe.examination.written_settings import scheduler
from segpipe.publishing.nucleus.settings import KEY_VARIABLE, NucleusSettings
from segpipe.settings import Settings
from tests.fixtures.nucleus_endpoint import KEY, RunningEndpoint
from tests.fixtures.ports import free_port


def looked_at(endpoint: str, dataset: str) -> Check:
    given = NucleusSettings(dataset, endpoint=endpoint)
    return nucleus(Settings("/root", destinations=("nucleus",), nucleus=given))


def test_nucleus_without_its_key_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    check = looked_at("", "ds_1")
    assert check.level is Level.PROBLEM
    assert f"export {KEY_VARIABLE}" in check.command


def test_nucleus_is_asked_for_the_dataset_with_the_key(
    endpoint: RunningEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fixtures.nucleus_world import client_of

    monkeypatch.setenv(KEY_VARIABLE, KEY)
    dataset = client_of(endpoint).create_dataset("doctor", is_scene=False)
    assert looked_at(endpoint.url, dataset.id).level is Level.OK
    missing = looked_at(endpoint.url, "ds_nowhere")
    assert missing.level is Level.PROBLEM
    assert "404" in missing.found


def test_a_key_that_nucleus_does_not_know_is_a_problem_and_is_not_shown(
    endpoint: RunningEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "live_another-key-than-that")
    check = looked_at(endpoint.url, "ds_1")
    assert check.level is Level.PROBLEM
    assert "401" in check.found
    assert "another-key" not in f"{check}"


def test_an_endpoint_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    check = looked_at(f"http://127.0.0.1:{free_port()}", "ds_1")
    assert check.level is Level.PROBLEM
    assert "refused" in check.found


def test_a_scheduler_is_asked_whether_it_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        (there,) = scheduler(Settings("/root", scheduler=address))
    assert there.level is Level.OK
    (gone,) = scheduler(Settings("/root", scheduler=address))
    assert gone.level is Level.PROBLEM
    assert address in gone.found
    assert [*scheduler(Settings("/root"))] == []
