"""What is hidden of whatever is printed: what a name says is secret, and not where things are."""

from __future__ import annotations

import pytest

from segpipe.cli.unexpected import without_secrets
from segpipe.examination.check import problem
from segpipe.examination.known_secrets import KnownSecrets

_KEY = "/aB+cD/eF0gHiJkLmNoPqRsTuVwXyZ0123456789"


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("AWS_SECRET_ACCESS_KEY", _KEY, _KEY),
        ("AZURE_STORAGE_ACCOUNT_KEY", f"{_KEY}==", f"{_KEY}=="),
        ("PGPASSWORD", "~hunter2", "~hunter2"),
        ("AZURE_STORAGE_SAS_TOKEN", "sv=2024&sig=abc%3D", "sv=2024&sig=abc%3D"),
        (
            "AZURE_STORAGE_CONNECTION_STRING",
            f"AccountName=a;AccountKey={_KEY};BlobEndpoint=https://a.blob.example",
            _KEY,
        ),
        (
            "STORAGE",
            "BlobEndpoint=https://a.blob.example;SharedAccessSignature=sv=2024&sig=hunter2",
            "sv=2024&sig=hunter2",
        ),
    ],
)
def test_a_secret_is_hidden_however_it_looks(
    name: str, value: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt = KnownSecrets()
    learnt.learn({"client_kwargs": {name: value}})
    monkeypatch.setenv(name, value)
    for secrets in (learnt, KnownSecrets()):
        for said in (value, f"refused: {secret} is unknown"):
            check = secrets.hidden(problem(said, said, said, said))
            assert secret not in check.found + check.next_step + check.command
    assert secret not in without_secrets(f"refused: {secret} is unknown")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/keys/service.json"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        ("AZURE_KEYVAULT_URL", "https://vault.example"),
        ("AWS_REGION", "eu-central-1"),
    ],
)
def test_where_something_is_is_no_secret(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    said = f"there is no {value}"
    assert KnownSecrets().without(said) == said
    assert without_secrets(said) == said


def test_a_secret_that_begins_with_another_is_hidden_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIRST_KEY", "hunter2")
    monkeypatch.setenv("SECOND_KEY", "hunter2-and-more")
    assert KnownSecrets().without("no hunter2-and-more") == "no ..."
