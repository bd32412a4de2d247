"""The agents that are run, each with the version it was last seen to work in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "scripts"
ECHO = "echo tool-$((6*7))"
"""What tools run; their results must hold `ECHOED`, which nobody has written before."""
ECHOED = "tool-42"


@dataclass(frozen=True)
class Client:
    """``command`` gets the program and what to ask. ``tool`` is what the scripted backend calls; None: it has none.

    ``harness`` is set up by ``routerctl init --write`` with ``init`` options; ``variables`` come from
    ``routerctl env``, where that is asked for. ``edits`` lays what only tests need over a JSON file of the home.
    """

    name: str
    packages: tuple[str, ...]
    harness: str
    program: str
    command: Callable[[str, str], list[str]]
    tool: tuple[str, dict[str, Any]] | None
    registry: str = "pip"
    init: tuple[str, ...] = ()
    from_environment: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    edits: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def known_as(self) -> str:
        """Its name for a route's ``match: {client: ...}``."""
        return self.harness

    @property
    def version(self) -> str:
        return self.packages[0].rpartition("==" if self.registry == "pip" else "@")[2]


def _python(script: str) -> Callable[[str, str], list[str]]:
    return lambda program, ask: [program, str(SCRIPTS / script), ask]


_LLM_TOOL = "def reckon(text: str) -> str:\n    return f'tool-{6 * 7}'"

CLAUDE_CODE = Client(
    name="claude-code, socket",
    packages=("@anthropic-ai/claude-code@2.1.197",),
    harness="claude-code",
    program="claude",
    command=lambda program, ask: [program, "-p", ask, "--allowedTools", "Bash"],
    tool=("Bash", {"command": ECHO, "description": "say"}),
    registry="npm",
    variables={"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"},
)

CLIENTS = (
    Client(
        name="llm",
        packages=("llm==0.36",),
        harness="llm",
        program="llm",
        command=lambda program, ask: [program, "--functions", _LLM_TOOL, ask],
        tool=("reckon", {"text": "6*7"}),
    ),
    Client(
        name="langgraph",
        packages=("langgraph==1.2.22", "langchain-openai==1.7.3"),
        harness="langgraph",
        program="python",
        command=_python("langgraph_agent.py"),
        tool=("reckon", {"text": "6*7"}),
    ),
    Client(
        name="crewai",
        packages=("crewai==1.15.30",),
        harness="crewai",
        program="python",
        command=_python("crewai_agent.py"),
        tool=("reckon", {"text": "6*7"}),
        variables={"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"},
    ),
    Client(
        name="hermes",
        packages=("hermes-agent==0.19.0",),
        harness="hermes",
        program="hermes",
        command=lambda program, ask: [program, "chat", "-q", ask, "--yolo"],
        tool=("terminal", {"command": ECHO}),
    ),
    Client(
        name="codex",
        packages=("@openai/codex@0.169.0",),
        harness="codex",
        program="codex",
        command=lambda program, ask: [
            *(program, "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", ask)
        ],
        tool=("exec_command", {"cmd": ECHO}),
        registry="npm",
    ),
    CLAUDE_CODE,
    replace(CLAUDE_CODE, name="claude-code, socket by env", from_environment=True),
    replace(CLAUDE_CODE, name="claude-code, TCP", init=("--tcp",)),
    Client(
        name="continue",
        packages=("@continuedev/cli@1.5.47",),
        harness="continue",
        program="cn",
        command=lambda program, ask: [program, "--config", ".continue/config.yaml", "--auto", "-p", ask],
        tool=("Bash", {"command": ECHO}),
        registry="npm",
        variables={"CONTINUE_TELEMETRY_ENABLED": "0"},
    ),
    Client(
        name="aider",
        packages=("aider-chat==0.86.2",),
        harness="aider",
        program="aider",
        command=lambda program, ask: [
            *(program, "--yes-always", "--no-git", "--no-check-update", "--analytics-disable", "--no-pretty"),
            *("--message", ask),
        ],
        tool=None,
    ),
    Client(
        name="opencode",
        packages=("opencode-ai@1.18.33",),
        harness="opencode",
        program="opencode",
        command=lambda program, ask: [program, "run", ask],
        tool=("bash", {"command": ECHO, "description": "say"}),
        registry="npm",
        edits={".config/opencode/opencode.json": {"permission": {"bash": "allow"}, "autoupdate": False}},
    ),
)


def edit(file: Path, patch: dict[str, Any]) -> None:
    """Lay ``patch`` over a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | patch))
