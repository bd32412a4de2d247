"""docs/cli.md, from the commands themselves: ``python -m routerd.ctl.page docs/cli.md``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from . import main
from .common import EXIT_CODES

HEAD = """\
# The commands
Written by `python -m routerd.ctl.page docs/cli.md` from what `--help` says; a test compares them.

What a command prints for scripts goes to stdout, one JSON object with `--json`; all else goes to stderr. Colours are
for terminals alone, and `NO_COLOR` switches them off there too. `ROUTERD_CONFIG`, `ROUTERD_SOCKET`, `ROUTERD_STATE_DIR`
and `ROUTERD_CACHE_DIR` say where things are, where an option does not.

`routerd serve` is the daemon itself (`routerd serve --help`). It exits with 0 when it was stopped, 2 where the
configuration is wrong, 3 where it cannot start.

## Exit codes of `routerctl`
"""


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """The command and all below it, each with a context of its own."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner, name
            yield from commands(inner, click.Context(inner, info_name=name, parent=context))


def page() -> str:
    """The whole page."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
    return f"{HEAD}\n| | |\n|---|---|\n{codes}" + "".join(
        _section(*each) for each in commands(main, click.Context(main, info_name="routerctl"))
    )


def parts(command: click.Command) -> tuple[str, list[str], str]:
    """The help's text, its examples, and what stands after them."""
    text, _, after = inspect.cleandoc(command.help or "").partition("\n\b\nExamples:\n")
    examples, _, rest = after.partition("\n\n")
    return text, [line.strip() for line in examples.splitlines()], rest


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text, examples, rest = parts(command)
    about = "\n\n".join(part.replace("\b\n", "").strip() for part in (text, rest, command.epilog or "") if part.strip())
    shown = "\n".join([usage, "", *examples]).strip()
    records = [record for option in command.params if (record := option.get_help_record(context)) and record[1]]
    options = "".join(f"| `{_cell(name)}` | {_cell(told)} |\n" for name, told in records)
    table = f"\n| option | |\n|---|---|\n{options}" if options else ""
    return f"\n## {context.command_path}\n{about}\n\n```\n{shown}\n```\n{table}"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), "utf-8")
