"""What a chat template is told of how much to think: each family has a variable of its own. Pure."""

from __future__ import annotations

import re
from typing import Any

from routerd_client.chat import ChatRequest

SWITCHES = ("enable_thinking", "thinking")
"""Variables that switch thinking on and off: Qwen's, GLM's and most others'; DeepSeek's, Granite's and Kimi's."""
_HARMONY = "<|channel|>"
_HARMONY_EFFORTS = {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}
"""gpt-oss knows low, medium and high, and cannot do without."""
_KNOWS_NONE = re.compile(r"""["']none["']""")


_CODE = re.compile(r"\{[{%](.*?)[}%]\}", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*")


def template_words(template: str) -> list[str]:
    """Names in the code of ``template``: a variable that is not among them changes nothing."""
    code = " ".join(_CODE.findall(template.replace("\\n", "\n")))
    return sorted(set(_WORD.findall(code)))


def thinking_arguments(chat: ChatRequest, template: str) -> dict[str, Any]:
    """The variables by which ``template`` is told of ``chat``'s effort, or not to think at all.

    ``reasoning_effort: none``, and either switch set to false, mean the latter, whatever the template calls it.
    """
    effort = chat.reasoning_effort
    arguments: dict[str, Any] = {}
    if effort == "none" or any(chat.template_args.get(switch) is False for switch in SWITCHES):
        # mlx-lm gives the first to templates that are code, in their own terms; those refuse what they do not know
        arguments = dict.fromkeys(SWITCHES if template else SWITCHES[:1], False)
    if effort is None and arguments and _HARMONY in template:
        effort = "none"
    if _HARMONY in template:
        effort = _HARMONY_EFFORTS.get(effort or "", effort)
    elif effort == "none" and not ("reasoning_effort" in template and _KNOWS_NONE.search(template)):
        effort = None  # templates print what they are given
    return arguments if effort is None else {**arguments, "reasoning_effort": effort}
