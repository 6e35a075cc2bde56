"""An examination: of the installation, and of a root if one is named.

The library itself is loaded in between, so that a package that is broken is told like all else.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator

from segpipe.examination import machine, packages
from segpipe.examination.check import Check, Level, Section, ok, problem
from segpipe.examination.known_secrets import KnownSecrets
from segpipe.examination.patience import LONGER, Patience
from segpipe.storage.local_paths import is_file_url, local_path

_COMPILING_SECONDS = 120.0
_LIBRARY = "segpipe.examination.root_examination"


class Examination:
    """Looks at an installation and a root, and changes nothing.

    Args:
        root: path or URL; None to look at the installation alone.

    Attributes:
        root: the same, a local path absolute.
        patience: what waited for each check; it knows whether something was left waiting.
    """

    def __init__(self, root: str | None) -> None:
        self.root = None if root is None else _absolute(root)
        self.patience = Patience()
        self._secrets = KnownSecrets()

    def sections(self) -> Iterator[Section]:
        """What is found, section by section, as it is found."""
        yield self.without_secrets(Section("Machine", self._machine()))
        loaded = self.patience.checks("library", lambda: [_library()], LONGER)
        works = all(check.level is Level.OK for check in loaded)
        yield self.without_secrets(Section("Packages", self._packages(works, loaded)))
        if self.root is None or not works:
            return
        from segpipe.examination.root_examination import RootExamination

        for section in RootExamination(self.root, self.patience, self._secrets).sections():
            yield self.without_secrets(section)

    def without_secrets(self, section: Section) -> Section:
        """A section without what nobody may read in it."""
        return Section(section.title, [self._secrets.hidden(one) for one in section.checks])

    def _machine(self) -> list[Check]:
        found = []
        for name, work in (
            ("Python", machine.python_version),
            ("system", machine.system),
            ("processors", machine.processors),
            ("memory", machine.memory),
            ("open files", machine.open_files),
            ("temporary files", machine.temporary_folder),
        ):
            found += self.patience.checks(name, lambda work=work: [work()])  # type: ignore[misc]
        return found

    def _packages(self, works: bool, loaded: list[Check]) -> list[Check]:
        found = self.patience.checks("segpipe", packages.own_version)
        if not works:
            return found + loaded
        found += self.patience.checks("extras", packages.extras)
        found += self.patience.checks("versions", packages.conflicts)

        def compiled() -> list[Check]:
            from segpipe.examination.fast_path import compiled_code

            return [compiled_code()]

        checks = self.patience.checks("fast path", compiled, _COMPILING_SECONDS)
        # That it is not installed is said among the extras.
        return found + [one for one in checks if one.level is not Level.NOTE]


def _library() -> Check:
    """Whether the library can be loaded, with all that it stands on."""
    try:
        importlib.import_module(_LIBRARY)
    except Exception as error:  # packages of versions that do not fit fail in ways of their own
        # Of an error of another kind, `name` is an attribute or a variable.
        module = error.name if isinstance(error, ImportError) else None
        package = packages.package_of(module) if module else None
        words = " ".join(str(error).split())[:300]
        found = f"segpipe cannot be loaded: {type(error).__name__}: {words}"
        names = [package] if package and package != "segpipe" else []
        step = "install that package anew" if names else "install it anew, with all that it needs"
        return problem("library", found, step, packages.install_anew_command(*names, alone=True))
    return ok("library", "loaded")


def _absolute(root: str) -> str:
    if is_file_url(root):
        try:
            return local_path(root) or root
        except ValueError:  # said where it is opened
            return root
    return root if "://" in root else os.path.abspath(os.path.expanduser(root))
