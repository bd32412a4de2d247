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
"""Characters looked at in a part of a message; what lies between the two is not."""
MOST = 4 * (HEAD + TAIL)
"""Characters looked at in a request, from its end; and as many parts and messages have a share in it as fit into it
at `_LEAST` each."""
_LEAST = 256

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
    """The newest user message that has words of a person in it. Looks at a bounded part of the conversation."""
    system = next((message.text[:_LOOK] for message in messages if message.role in ("system", "developer")), "")
    results, left = 0, MOST
    for message in reversed(messages):
        if message.role == "tool":
            results += 1
        if message.role != "user":
            continue
        text, left = _asked(message, left)
        if text or left <= 0:
            return Ask(text, results, system)
    return Ask(tool_results=results)


def _asked(message: Message, left: int) -> tuple[str, int]:
    """What is left of each part, as far as ``left`` characters go, and how many are left then: a harness puts its
    blocks into parts of their own, or around the ask, which is in the last of them."""
    parts = (
        [message.content]
        if isinstance(message.content, str)
        else [part.text for part in message.content or () if isinstance(part, TextPart)]
    )
    kept: list[str] = []
    for part in reversed(parts):
        left -= max(_LEAST, min(len(part), HEAD + TAIL))
        if stripped := strip_injected(part):
            kept.append(stripped)
        if left <= 0:
            break
    return "\n".join(reversed(kept)), left


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
