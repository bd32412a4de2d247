"""Every agent that is known here. A new one is its `Harness`, and its line."""

from __future__ import annotations

from .chats import LLM, OPEN_WEBUI
from .coding import AIDER, CLAUDE_CODE, CODEX, CONTINUE, OPENCODE, OPENHANDS
from .frameworks import CREWAI, LANGGRAPH
from .hermes import HERMES

HARNESSES = {
    "hermes": HERMES,
    "crewai": CREWAI,
    "langgraph": LANGGRAPH,
    "openhands": OPENHANDS,
    "claude-code": CLAUDE_CODE,
    "codex": CODEX,
    "opencode": OPENCODE,
    "aider": AIDER,
    "continue": CONTINUE,
    "open-webui": OPEN_WEBUI,
    "llm": LLM,
}
