"""What `--help` says: each command has examples, each example can be typed, and docs/cli.md is what they say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, chdir
from pathlib import Path

import click
import pytest

from routerd.__main__ import main as routerd
from routerd.ctl import main as routerctl
from routerd.ctl.common import EXIT_CODES
from routerd.ctl.page import commands, page, parts

PROGRAMS = {"routerctl": routerctl, "routerd": routerd}
ALL = [
    (context.command_path, command)
    for name, program in PROGRAMS.items()
    for command, context in commands(program, click.Context(program, info_name=name))
]


def calls(line: str) -> Iterator[list[str]]:
    """Each of our programs in a line for the shell, with its arguments."""
    words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    words.whitespace_split = True
    call: list[str] = []
    for word in [*words, "|"]:
        if not set(word) <= set("|&;<>"):
            call.append(word)
            continue
        if call and call[0] in PROGRAMS:
            yield call
        call = []


def parse(program: click.Command, arguments: list[str]) -> None:
    """Raises click's usage errors, as the program would."""
    with ExitStack() as files:
        context = files.enter_context(program.make_context(program.name, list(arguments)))
        while isinstance(command := context.command, click.Group) and context._protected_args:
            name, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            assert inner
            context = files.enter_context(inner.make_context(name, rest, parent=context))


@pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
def test_each_command_has_examples_that_can_be_typed(path: str, command: click.Command, tmp_path: Path) -> None:
    _, lines, _ = parts(command)
    assert lines
    assert any(path in line for line in lines)
    for name in re.findall(r"[\w.-]+\.(?:jsonl|yaml|json|db)\b", " ".join(lines)):
        (tmp_path / name).touch()  # the files that examples name
    with chdir(tmp_path):
        for name, *arguments in (call for line in lines for call in calls(line)):
            parse(PROGRAMS[name], arguments)


@pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
def test_each_option_says_what_it_does(path: str, command: click.Command) -> None:
    options = [option for option in command.params if isinstance(option, click.Option)]

    assert [option.name for option in options if not option.help and not option.hidden] == []


def test_every_exit_code_stands_in_the_help() -> None:
    told = {int(code) for code in re.findall(r"(\d) ", (routerctl.help or "").partition("Exit codes:")[2])}

    assert told == set(EXIT_CODES)


def test_the_page_of_the_commands_says_what_their_help_says() -> None:
    written = (Path(__file__).parents[2] / "docs/cli.md").read_text("utf-8")

    assert written == page(), "write it anew: python -m routerd.ctl.page docs/cli.md"
