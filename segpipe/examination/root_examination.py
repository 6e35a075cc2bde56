"""The sections of an examination that look at a root."""

from __future__ import annotations

from collections.abc import Iterator

from segpipe.errors import SegpipeError
from segpipe.examination import holdings, services, storage, written_settings
from segpipe.examination.check import Check, Level, Section, segpipe_command, worst
from segpipe.examination.known_secrets import KnownSecrets
from segpipe.examination.patience import LONGER, SHORTLY, Patience
from segpipe.examination.probing import check_reachable
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE, Settings
from segpipe.storage.files import Folder


class RootExamination:
    """Looks at a root, and changes nothing.

    Args:
        root: path or URL.
        patience: waits for each check.
        secrets: is told those of the root's options for storage.

    Attributes:
        settings: of the root, once they could be read; None before, and where they cannot be used.
    """

    def __init__(self, root: str, patience: Patience, secrets: KnownSecrets) -> None:
        self.root = root
        self.settings: Settings | None = None
        self._patience = patience
        self._secrets = secrets

    def sections(self) -> Iterator[Section]:
        """What is found, section by section, as it is found."""
        yield Section("Settings", self._settings(self.root))
        if self.settings is None:
            return
        settings = self.settings
        stored = [*storage.places(settings, self._patience)]
        yield Section("Storage", stored)
        # What has just failed to answer is not waited for as long again.
        seconds = SHORTLY if worst(stored) is Level.PROBLEM else LONGER
        yield Section("Root", self._holdings(Root(settings), seconds))
        checks = self._patience.checks(
            "destinations", lambda: services.destinations(settings), LONGER
        )
        yield Section("Destinations", checks)

    def _settings(self, root: str) -> list[Check]:
        again = segpipe_command("doctor", root)
        wrong = self._patience.checks(
            "root",
            lambda: [one] if (one := storage.root_place(root)) is not None else [],
            silence="see that it is mounted and its server is up",
            command=again,
        )
        wrong += [] if wrong else self._reached(root, again)
        if wrong:
            return wrong
        read = self._patience.checks(
            SETTINGS_FILE,
            lambda: [self._read_settings(root)],
            silence="see that the storage can be reached from here",
            command=again,
        )
        if self.settings is None:
            return read
        settings = self.settings
        self._secrets.learn(settings.storage_options)
        for name, work in (
            ("items", lambda: written_settings.items_lists(settings)),
            ("model runs", lambda: written_settings.model_runs(Root(settings))),
            ("scheduler", lambda: written_settings.scheduler(settings)),
            ("allowed_roots", lambda: storage.allowed_roots(settings)),
        ):
            read += self._patience.checks(name, work, LONGER, command=again)
        return read

    def _reached(self, root: str, again: str) -> list[Check]:
        """What is wrong where a store does not answer, asked once, before settings are read."""

        def reached() -> list[Check]:
            check_reachable(Folder(root))
            return []

        return self._patience.checks(
            "root", reached, silence="see that the endpoint can be reached from here", command=again
        )

    def _read_settings(self, root: str) -> Check:
        try:
            settings = Settings.load(root)
            there = Folder(settings.root).exists(SETTINGS_FILE)
        except SegpipeError as error:
            return written_settings.unusable(root, error)
        self.settings = settings
        return written_settings.settings_file(settings, there=there)

    def _holdings(self, root: Root, seconds: float) -> list[Check]:
        found = []
        again = segpipe_command("doctor", root.settings.root)
        for name, work in (
            ("manifests", holdings.manifests),
            ("catalog", holdings.catalog),
            ("leftovers", holdings.leftovers),
        ):
            found += self._patience.checks(
                name,
                lambda work=work: work(root),  # type: ignore[misc]
                seconds,
                silence="it is large, or its storage slow: look again when it has less to do",
                command=again,
            )
        return found
