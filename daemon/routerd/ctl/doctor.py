from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from routerd_client import Client
from routerd_client.errors import RouterdError
from routerd_client.protocol import StatusResult

from ..agent.doctor.examine import examine, mend
from ..agent.doctor.finding import Agent, Finding, Level, Scene, worst
from ..agent.here import manager
from ..agent.manager import AgentError, outdated
from ..agent.program import program
from ..agent.setup import setup
from ..app.compiled import compile_file
from ..config.load import ConfigFailedError
from ..config.places import Places
from ..gateway.token import FILE as TOKEN
from .agent import chosen_places
from .common import EXIT_FAILED, EXIT_WARNINGS, json_option, print_json

EXITS = {Level.OK: 0, Level.WARN: EXIT_WARNINGS, Level.FAIL: EXIT_FAILED}
ANSWER_S = 10.0
"""How long a daemon may take to answer that launchd or systemd starts for this call."""
_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
_LABELS = {"agent": "login service"}
"""What people read for a check, where its key in ``--json`` is another word."""


@click.command()
@click.option(
    "--fix", is_flag=True, help="Do what is safe: close modes, remove what dead daemons left; then look again."
)
@json_option
def command(fix: bool, as_json: bool) -> None:
    """Look at everything that could be wrong here, and say of each what to do. Needs no daemon.

    Looked at are: the login agent and its program, the daemon that answers and its version, the socket and who may
    reach it, routes.yaml, its secrets, models and memory, breakers, crashes, leftovers, disk, logs and the clock.
    Commands that print a secret are run once; what they print is not kept. The exit code is that of the worst finding:
    0 all is well, 4 warnings, 1 something does not work.

    \b
    Examples:
      routerctl doctor
      routerctl doctor --fix
      routerctl doctor --json | jq '.findings[] | select(.level != "ok")'
    """
    findings = list(examine(scene()))
    fixed: list[dict[str, str]] = []
    if fix:
        fixed = [{"says": finding.says, "error": error} for finding, error in mend(findings)]
        findings = list(examine(scene())) if fixed else findings
    if as_json:
        print_json({"level": worst(findings).value, "findings": [told(f) for f in findings], "fixed": fixed})
    else:
        for done in fixed:
            click.echo(f"fixed: {done['says']}" if not done["error"] else f"not fixed: {done['says']}: {done['error']}")
        click.echo(text(findings))
    sys.exit(EXITS[worst(findings)])


def scene() -> Scene:
    """What there is to look at: the daemon that answers and what it uses, or what one would use. Blocks."""
    where = chosen_places()
    status, unanswered = _ask(where)
    if status:
        logs = Path(status.log_file).parent
        where = replace(where, config=Path(status.config), state=Path(status.state_dir), logs=logs)
    agent, no_agent = _agent(where)
    if status is None and agent and agent.state.installed:
        environ, whose = setup(where, os.environ).own_environment(os.environ), "the login agent"
    else:
        environ, whose = _environment(status)
    found = Scene(
        places=where,
        program=program(),
        token=where.state / TOKEN,
        agent=agent,
        no_agent=no_agent,
        status=status,
        unanswered=unanswered,
        environ=environ,
        whose=whose,
    )
    try:
        loaded = compile_file(where.config, where.state).loaded
    except ConfigFailedError as error:
        return replace(found, errors=error.errors)
    return replace(found, config=loaded.config, warnings=loaded.warnings)


def _ask(where: Places) -> tuple[StatusResult | None, str]:
    """The daemon's status, or why there is none."""
    try:
        with Client(where.socket, name="routerctl doctor", timeout_s=ANSWER_S) as client:
            return client.status(), ""
    except RouterdError as error:
        return None, str(error)


def _agent(where: Places) -> tuple[Agent | None, str]:
    """The login agent, or why nothing is known of it."""
    try:
        manages = manager()
        state = manages.state()
        stale = outdated(manages.files(setup(where, os.environ))) if state.installed else []
    except AgentError as error:
        return None, str(error)
    return Agent(name=manages.name, state=state, outdated=stale), ""


def _environment(status: StatusResult | None) -> tuple[dict[str, str], str]:
    """What the daemon was started with, where the system shows it, else what this terminal has."""
    try:
        pairs = Path(f"/proc/{status.pid}/environ").read_bytes().decode(errors="replace").split("\0") if status else []
    except OSError:
        pairs = []
    if not pairs:
        return dict(os.environ), "this terminal"
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs if pair)}, "the daemon"


def told(finding: Finding) -> dict[str, Any]:
    """The finding as ``--json`` has it."""
    kept = {name: getattr(finding, name) for name in ("check", "says", "fix")}
    return {**kept, "level": finding.level.value, "fixable": finding.mend is not None}


def text(findings: list[Finding]) -> str:
    """The findings as a person reads them."""
    lines = []
    width = max((len(_LABELS.get(finding.check, finding.check)) for finding in findings), default=0)
    for finding in findings:
        mark = click.style(f"{finding.level.value:<5}", fg=_COLOURS[finding.level], bold=finding.level is Level.FAIL)
        lines.append(f"{mark} {_LABELS.get(finding.check, finding.check):<{width}} {finding.says}")
        if finding.fix:
            lines.append(f"{'':<{width + 6}} -> {finding.fix}" + (" (--fix does it)" if finding.mend else ""))
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    total = ", ".join(f"{count} {level.value}" for level, count in counts.items() if count)
    return "\n".join([*lines, "", total])
