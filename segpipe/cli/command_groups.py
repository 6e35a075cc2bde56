"""The commands of ``segpipe --help``, grouped by what somebody wants to do."""

from __future__ import annotations

import click

from segpipe.cli.ending import Commands

#: What somebody wants to do -> the commands for it. Every command is in one of them.
GROUPS = {
    "Begin": ("demo", "doctor"),
    "Bring predictions in": ("import", "validate", "rules"),
    "Run and publish": ("run", "dev", "register", "nucleus-server"),
    "Look and ask": ("browse", "gallery", "show", "query", "export"),
    "Measure": ("evaluate", "compare"),
    "See what changed, and undo it": ("history", "diff", "restore", "unpublish"),
    "Maintain": ("optimize", "vacuum", "upgrade"),
}


class GroupedCommands(Commands):
    """Commands whose help lists them by :data:`GROUPS`."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group."""
        names = set(self.list_commands(ctx))
        widest = max(map(len, names), default=0)
        grouped = {title: [one for one in of if one in names] for title, of in GROUPS.items()}
        others = sorted(names.difference(*grouped.values()))
        for title, of in {**grouped, "Others": others}.items():
            rows = []
            for name in of:
                command = self.get_command(ctx, name)
                if command is not None and not command.hidden:
                    limit = formatter.width - 6 - widest
                    rows.append((name.ljust(widest), command.get_short_help_str(limit)))
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
