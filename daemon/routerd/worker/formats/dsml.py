"""Reader of DeepSeek V3.2's calls, where each parameter's tag marks the value as text or JSON."""

from __future__ import annotations

import re

from .blocks import Unit, each
from .reading import Call, Tools, UnreadableError, call, decode

_NAME = re.compile(r'<｜DSML｜invoke\s+name="([^"]+)"\s*>')
_PARAMETER = re.compile(
    r'<｜DSML｜parameter\s+name="(?P<name>[^"]+)"(?:\s+string="(?P<string>true|false)")?\s*>(?P<value>.*?)</｜DSML｜parameter>',
    re.DOTALL,
)


def _parse(text: str, tools: Tools) -> list[Call]:  # noqa: ARG001 - the text says each value's type
    name = _NAME.search(text)
    if not name:
        raise UnreadableError("it names no function")
    arguments = {
        found["name"]: found["value"] if found["string"] != "false" else decode(found["value"])
        for found in _PARAMETER.finditer(text)
    }
    return [call(name[1], arguments)]


read = each(_parse, Unit("<｜DSML｜invoke", "</｜DSML｜invoke>"))
"""See `reading.Reader`."""
