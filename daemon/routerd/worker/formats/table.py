"""Table of all known markers and the readers of their calls.

docs/models.md lists the model families and the published examples that each one was tested with.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from . import dsml, harmony, json_calls, named_calls, pythonic
from .blocks import Parser, Unit, each, parsed, whole
from .grammar import Family, Pair, Tag
from .reading import Reader, Reading, Tools, names

JSON = r"\s*(?:`{1,3}\w*\s*)?(?:\[\s*)*\{"
LIST = r"\s*\[\s*\{"
FUNCTION = r"\s*«<function=»"
GLM = r"\s*NAMES\s*(?:«<arg_key>»|«</tool_call>»)"
NAME_FIRST = r"\s*\w"
NAMED = rf"{LIST}|\s*[\w.-]+\s*(?:«[CALL_ID]»|«[ARGS]»|\{{)"

PAIRS = (
    Pair("[THINK]", "[/THINK]"),
    Pair("<seed:think>", "</seed:think>"),
    Pair("<longcat_think>", "</longcat_think>"),
    Pair("<|think:start|>", "<|think:end|>"),
    Pair("<|channel>thought", "<channel|>"),
    Pair("<|channel>", "<channel|>"),
    Pair("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    Pair("<|START_THINKING|>", "<|END_THINKING|>"),
    Pair("<|inner_prefix|>", "<|inner_suffix|>"),
    Pair("◁think▷", "◁/think▷"),
    Pair("<thought>", "</thought>"),
    Pair("Here is my thought process:", "Here is my response:"),
    Pair("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
    Pair("<think>", "</think>"),
)
WRAPPERS = (Pair("<answer>", "</answer>"), Pair("<response>", "</response>"))
DROPPED = (
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
    "<|START_TEXT|>",
    "<|END_TEXT|>",
    "<|open|>response<|sep|>",
    "<|close|>response<|sep|>",
    "<|close|>message<|sep|>",
)


_CALLS = re.compile(r'"(?:parameters|arguments)"|\w\(')
"""Required in a call without a marker; an object with a name alone is not a call."""


def family(parser: Callable[[str], Parser]) -> Family:
    """Build the table. ``parser`` returns mlx-lm's parser of a given name."""
    xml = each(parsed(parser("qwen3_coder")), Unit("<function=", "</function>"))
    glm = whole(parsed(parser("glm47")), re.compile(r"\s*[\w.-]+\s*(?:<arg_key>.*</arg_value>\s*)?", re.DOTALL))
    longcat = whole(
        parsed(parser("longcat")),
        re.compile(r"\s*[\w.-]+\s*(?:<longcat_arg_key>.*</longcat_arg_value>\s*)?", re.DOTALL),
    )
    lists = pythonic.reader(parsed(parser("pythonic")))
    tags = (
        Tag(
            "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", r"\s*«<|tool_call_begin|>»", named_calls.kimi
        ),
        Tag("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", r"\s*«<｜tool▁call▁begin｜>»", named_calls.deepseek),
        Tag(
            "<｜DSML｜function_calls>",
            "</｜DSML｜function_calls>",
            r"\s*«<｜DSML｜invoke»",
            dsml.read,
            ("<｜DSML｜", "｜DSML｜"),
        ),
        Tag(
            "<minimax:tool_call>",
            "</minimax:tool_call>",
            r"\s*«<invoke name=»",
            each(parsed(parser("minimax_m2")), Unit("<invoke name=", "</invoke>")),
        ),
        Tag(
            "<|open|>tools<|sep|>",
            "<|close|>tools<|sep|>",
            r"\s*«<|open|>»call",
            each(parsed(parser("kimi_k3")), Unit("<|open|>call", "<|close|>call<|sep|>")),
            ("<|end_of_msg|>",),
        ),
        Tag(
            "<|tool_call>",
            "<tool_call|>",
            r"\s*call:[\w-]+\{",
            whole(parsed(parser("gemma4")), re.compile(r".*\}\s*", re.DOTALL)),
        ),
        Tag(
            "<start_function_call>",
            "<end_function_call>",
            r"\s*call:\w+\{",
            each(parsed(parser("function_gemma")), Unit("call:", "}")),
        ),
        Tag(
            "<longcat_tool_call>",
            "</longcat_tool_call>",
            rf"{JSON}|\s*NAMES\s*(?:«<longcat_arg_key>»|«</longcat_tool_call>»)",
            _either(longcat, json_calls.read),
            unsure=NAME_FIRST,
        ),
        Tag(
            "<|tool_call_start|>",
            "<|tool_call_end|>",
            rf"{JSON}|\s*\[\s*[A-Za-z_]",
            _either(lists, json_calls.read),
            ("<|tool_call_start|>", "<|tool_list_start|>"),
        ),
        Tag("<|python_start|>", "<|python_end|>", r"\s*\[\s*[A-Za-z_][\w.]*\(", lists),
        Tag("<seed:tool_call>", "</seed:tool_call>", FUNCTION, xml),
        Tag(
            "<function name=",
            "</function>",
            r"[\"']?NAMES[\"']?\s*>",
            whole(parsed(parser("minicpm5")), re.compile(".*", re.DOTALL)),
            ('<function name="',),
            unsure=".",
        ),
        Tag("[TOOL_CALLS]", "", NAMED, _either(named_calls.mistral, json_calls.read)),
        Tag("<|START_ACTION|>", "<|END_ACTION|>", JSON, json_calls.read),
        Tag("<|action_start|><|plugin|>", "<|action_end|>", JSON, json_calls.read, ("<|plugin|>",)),
        Tag("<|tools_prefix|>", "<|tools_suffix|>", JSON, json_calls.read),
        Tag(
            "<function_calls>", "</function_calls>", r"\s*[A-Za-z_][\w.]*\(", pythonic.lines(parsed(parser("pythonic")))
        ),
        Tag("<TOOLCALL>", "</TOOLCALL>", JSON, json_calls.read),
        Tag("<tool_calls>", "</tool_calls>", JSON, json_calls.read),
        Tag("functools", "", LIST, json_calls.read, ("functools", "<|/tool_call|>")),
        Tag("<|tool_call|>", "<|/tool_call|>", JSON, json_calls.read),
        Tag("<|python_tag|>", "", JSON, json_calls.read),
        # Qwen 3 Coder sometimes omits the tag around the function.
        Tag("<function=", "</function>", r"NAMES\s*>", _untagged(xml), unsure=".", stray="</tool_call>"),
        Tag("<tool_call>", "</tool_call>", rf"{JSON}|{FUNCTION}|{GLM}", _tool_call(xml, glm), unsure=NAME_FIRST),
    )
    bare = (
        Tag("", "", r"(?:\[\s*)?\{\s*\"(?:name|tool_name)\"\s*:\s*\"NAMES\"", _offered(json_calls.read)),
        Tag("", "", r"(?:\[\s*)?\{\s*\"(?:type|function|parameters|arguments)\"\s*:", _offered(json_calls.read)),
        Tag("", "", r"\[\s*NAMES\(", _offered(lists)),
    )
    return Family(PAIRS, tags, bare, WRAPPERS, DROPPED, harmony.TOKENS)


def _tool_call(xml: Reader, glm: Reader) -> Reader:
    """Make a reader for ``<tool_call>`` tags, which three call formats share."""

    def read(text: str, tools: Tools) -> Reading:
        begun = text.lstrip()
        if begun.startswith("<function="):
            return xml(text, tools)
        return json_calls.read(text, tools) if begun[:1] in ("{", "[", "`") else glm(text, tools)

    return read


def _untagged(xml: Reader) -> Reader:
    """Make a reader that restores the markers around the text, then applies ``xml``."""

    def read(text: str, tools: Tools) -> Reading:
        return xml(f"<function={text}</function>", tools)

    return read


def _either(reader: Reader, json: Reader) -> Reader:
    """Make a reader that uses ``json`` for text that starts like JSON, else ``reader``."""

    def read(text: str, tools: Tools) -> Reading:
        return (json if re.match(JSON, text) else reader)(text, tools)

    return read


def _offered(reader: Reader) -> Reader:
    """Make a reader for text without a marker, which is a call only if it names an offered tool."""

    def read(text: str, tools: Tools) -> Reading:
        reading, known = reader(text, tools), names(tools)
        if not _CALLS.search(text):
            return Reading([], text)
        if reading.calls and all(call.name in known for call in reading.calls):
            return reading
        named = any(re.search(rf'"{re.escape(name)}"|\b{re.escape(name)}\(', text) for name in known)
        return reading if reading.why and named and not reading.calls else Reading([], text)

    return read
