"""The YAML parser's complaints in words that help."""

from __future__ import annotations

import re

import yaml

from .report import Mark, Report

_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff")
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_TAB = ("a tab cannot indent", "YAML indents with spaces")
_INDENT = ("the indentation does not fit the lines above", "keys of one block start in the same column")

# (part of the parser's problem, what to say, what to do), for both the C parser and the pure one
_SAID = (
    ("violates indentation", *_TAB),
    ("mapping values are not allowed", "':' is not expected here", "quote a text with ': ' in it; check the indent"),
    ("',' or ']'", "this list is not closed", "a ',' or ']' is missing before here"),
    ("',' or '}'", "this block is not closed", "a ',' or '}' is missing before here"),
    ("unexpected end of stream", "a quoted text is not closed", "its closing quote is missing"),
    ("expected node content", "a value is missing here", "is a bracket not closed?"),
    ("the node content", "a value is missing here", "is a bracket not closed?"),
    ("expected ':'", "a ':' is missing after this key", "write 'key: value'"),
    ("expected key", *_INDENT),
    ("'-' indicator", *_INDENT),
    ("expected <block end>", *_INDENT),
    ("<document start>", "the document has ended before this", "check the indentation"),
)


def mark_at(text: str, offset: int) -> Mark:
    """The place of ``text[offset]``."""
    start, line = 0, 1
    for found in _LINE_BREAK.finditer(text, 0, offset):
        start, line = found.end(), line + 1
    return Mark(line, offset - start + 1)


def report_odd_character(text: str, report: Report) -> bool:
    """True where ``text`` has a character that YAML does not allow; the first one is reported."""
    odd = _NOT_TEXT.search(text)
    if odd:
        report.add(mark_at(text, odd.start()), f"the character U+{ord(odd[0]):04X} is not allowed", "remove it")
    return odd is not None


def report_syntax(error: yaml.MarkedYAMLError, text: str, report: Report) -> None:
    """Say what the parser stumbled over, and where."""
    at = error.problem_mark or error.context_mark
    place = Mark(at.line + 1, at.column + 1) if at else Mark(1, 1)
    problem = error.problem or "not valid YAML"
    if "cannot start any token" in problem:
        report.add(place, *_bad_start(text, place))
        return
    for part, message, hint in _SAID:
        if part in problem:
            report.add(place, message, hint)
            return
    report.add(place, f"not valid YAML: {problem}")


def _bad_start(text: str, place: Mark) -> tuple[str, str]:
    lines = _LINE_BREAK.split(text)
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    character = line[place.column - 1 : place.column]
    if character == "\t":
        return _TAB
    return f"a value cannot begin with '{character}'", "write it in quotes"
