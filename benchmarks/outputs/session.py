"""Commands run one after another in a folder, and what they print."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.outputs.constants import DATE
from benchmarks.outputs.files import add_tree
from benchmarks.outputs.results import Results


@dataclass(frozen=True)
class Session:
    """Commands in a folder, and what comes of them.

    Attributes:
        folder: where they run; they are given paths relative to it.
    """

    folder: Path
    results: Results
    environment: Mapping[str, str]

    def segpipe(self, name: str, *arguments: str) -> None:
        """Run a command; its exit status is a result, and what it prints another.

        Progress and logs go to standard error; of that, only the sentence an unusable input ends
        with is kept, and how the command crashed.
        """
        begun = perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "segpipe", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        crashed = "Traceback (most recent call last)" in done.stderr
        if crashed:
            errors.append(f"crashed: {done.stderr.splitlines()[-1]}")
        if crashed or done.returncode < 0:
            say(done.stderr)
        self.results.text(f"{name}/printed", "\n".join([*errors, done.stdout]))
        self.results.add(f"{name}/exit status", str(done.returncode))
        shown = " ".join(arguments)
        say(f"{perf_counter() - begun:5.1f} s  {done.returncode}  segpipe {shown[:110]}")

    def validate(self, name: str, manifest: str, *options: str) -> None:
        """``segpipe validate``, everything it writes, and its page."""
        out = f"checked/{name}"
        (self.folder / out).parent.mkdir(parents=True, exist_ok=True)
        page = ("--html", f"{out}/report.html")
        form = ("--format", "json", "--workers", "1")
        (self.folder / out).mkdir()
        self.segpipe(name, "validate", manifest, "--out", out, *form, *page, *options)
        add_tree(self.results, name, self.folder / out)

    def run(self, name: str, root: str, model_run: str, *options: str, date: str = DATE) -> None:
        """``segpipe run`` of one partition."""
        whose = ("--root", root, "--model-run", model_run, "--date", date)
        self.segpipe(name, "run", *whose, *options)

    def bring(self, model_run: str, format: str, source: str, *options: str) -> None:
        """``segpipe import`` into the root of imports."""
        whose = ("--root", IMPORTS, "--model-run", model_run, "--date", DATE)
        self.segpipe(f"{IMPORTS}/{model_run}/import", "import", format, source, *whose, *options)

    def check_imported(self, model_run: str) -> None:
        """Validate what an import wrote."""
        manifests = f"{IMPORTS}/manifests/model_run={model_run}/date={DATE}"
        self.validate(f"{IMPORTS}/{model_run}", manifests)

    def export(self, name: str, root: str, model_run: str, kind: str, *options: str) -> str:
        """``segpipe export`` and everything it writes; where that is."""
        out = f"exported/{name}"
        whose = ("--root", root, "--model-run", model_run)
        self.segpipe(name, "export", *whose, "--as", kind, *options, out)
        add_tree(self.results, name, self.folder / out)
        return out


IMPORTS = "imports"


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
