"""The newest thing a person really asked, without what harnesses put around it.

Agents send tens of kilobytes with every turn: reminders, descriptions of the environment, project rules, open
files, tool results. None of it says how hard the question is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from msgspec import Struct

from routerd_client.chat import Message, TextPart

HEAD, TAIL = 65_536, 65_536
"""Characters looked at in a message; what lies between the two is not."""

_BLOCKS = "|".join(
    (
        "system-reminder|environment_context|environment_details|environment|env|user_instructions|INSTRUCTIONS",
        "permissions instructions|collaboration_mode|skills_instructions|reminderInstructions|available_skills",
        "ide_opened_file|ide_selection|ide_context|ide_diagnostics|editor_context|workspace_info|current_file",
        "additional_data|open_and_recently_viewed_files|attached_files|attachments|file_contents|codebase|context",
        "local-command-stdout|local-command-stderr|local-command-caveat|command-name|command-message|bash-input",
        "bash-stdout|bash-stderr|user-prompt-submit-hook|task-notification|turn_aborted|claudeMd|memory-context",
    )
)
_TAG = re.compile(rf"<(/?)({_BLOCKS})(?:\s[^<>]{{0,400}})?>")
_UNWRAPPED = re.compile(r"</?(?:user_query|user_request|userRequest|command-args|task|user_message|feedback)>")
_RULES_FILE = re.compile(
    r"^#+ (?:AGENTS|CLAUDE|GEMINI)\.md(?: instructions)?(?: for [^\n]*)?\n.*?(?=^## My request|\n\n\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
_IDE, _REQUEST = "# Context from my IDE setup:", re.compile(r"^## My request for [^\n:]*:", re.MULTILINE)
_HOUSEKEEPING = re.compile(
    r"(?:generate|write|create|suggest|provide|come up with)\b[^.\n]{0,60}\btitle\b[^.\n]{0,40}"
    r"\b(?:conversation|chat|session|thread)|\btitle generator\b|\bisnewtopic\b|### task:\s+generate"
    r"|\bsummar(?:y of|i[sz]e) (?:this|the|our) (?:conversation|chat|session)\b"
    r"|^\s*compact (?:this|the|our) conversation",
    re.IGNORECASE,
)
_HINTS = ("title", "isnewtopic", "### task:", "summar", "compact")
"""One of these is in all that `_HOUSEKEEPING` finds; to look for them first is a hundred times faster."""
_LOOK = 2000
"""Characters of the ask, and of the system message, in which housekeeping shows."""


class Ask(Struct, frozen=True, dict=True):
    """``text`` is empty where no person asked anything. ``tool_results``: results of tools that came after the
    ask. ``system`` is the conversation's system message, as far as it is looked at."""

    text: str = ""
    tool_results: int = 0
    system: str = ""

    @cached_property
    def housekeeping(self) -> bool:
        """Whether the harness wants a title or a summary for itself, whatever it quotes."""
        # A title maker says so in its system message; an agent's long one may mention titles among much else.
        system = self.system if len(self.system) < _LOOK else ""
        return any(_wants_housekeeping(text[:_LOOK]) for text in (self.text, system))


def _wants_housekeeping(text: str) -> bool:
    lowered = text.lower()
    return any(word in lowered for word in _HINTS) and _HOUSEKEEPING.search(text) is not None


def newest_ask(messages: Sequence[Message]) -> Ask:
    """The newest user message that has words of a person in it. Looks at a bounded part of each message."""
    system = next((message.text[:_LOOK] for message in messages if message.role in ("system", "developer")), "")
    results = 0
    for message in reversed(messages):
        if message.role == "tool":
            results += 1
        if message.role == "user" and (text := _asked(message)):
            return Ask(text, results, system)
    return Ask(tool_results=results)


def _asked(message: Message) -> str:
    """What is left of each part: a harness puts its blocks into parts of their own, or around the ask."""
    parts = (
        [message.content]
        if isinstance(message.content, str)
        else [part.text for part in message.content or () if isinstance(part, TextPart)]
    )
    return "\n".join(kept for part in parts if (kept := strip_injected(part)))


def strip_injected(text: str) -> str:
    """``text`` without the blocks that harnesses inject. Looks at its `HEAD` and `TAIL`."""
    cut = len(text) > HEAD + TAIL
    if cut:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    if (context := text.find(_IDE)) >= 0 and (request := _REQUEST.search(text, context)):
        text = text[:context] + text[request.end() :]
    if "<" in text:
        text = _UNWRAPPED.sub("", _outside(text, cut))
    if ".md" in text:
        text = _RULES_FILE.sub("", text)
    return text.strip()


def _outside(text: str, cut: bool) -> str:
    """What stands outside every block, blocks within blocks included. A tag that is never closed is a person's
    own text, unless the text was ``cut``: then its block ends with the last closing tag."""
    tags = list(_TAG.finditer(text))
    last_close = max((tag.end() for tag in tags if tag[1]), default=0)
    closes = Counter(tag[2] for tag in tags if tag[1])
    kept: list[str] = []
    name, depth, at = "", 0, 0
    for tag in tags:
        if tag[1]:
            closes[tag[2]] -= 1
        if depth:
            if tag[2] == name:
                depth += -1 if tag[1] else 1
                at = tag.end()
        elif not tag[1] and (closes[tag[2]] or cut):
            kept.append(text[at : tag.start()])
            name, depth, at = tag[2], 1, tag.end()
    if depth:
        at = max(at, last_close)
    return "".join([*kept, text[at:]])
