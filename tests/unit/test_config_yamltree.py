"""YAML text -> tree: YAML 1.2's meaning, places, and mistakes with their place."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from routerd.config.report import Report
from routerd.config.yamltree import Node, parse, resolve, select


def parsed(text: str) -> Node:
    report = Report("f")
    tree = parse(text, report)
    assert tree is not None
    assert report.sorted() == []
    return tree


def complaints(text: str) -> list[str]:
    report = Report("f")
    parse(text, report)
    return list(map(str, report.sorted()))


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.items()}
    return [plain(child) for child in node.elements()] if isinstance(node.value, list) else node.value


@pytest.mark.parametrize(
    "text",
    [
        "on",
        "no",
        "yes",
        "off",
        "On",
        "NO",
        "22:30",
        "0123",
        "2024-01-31",
        "1_",
        "1__0",
        "-",
        ".",
        "+",
        "0x",
        "tRUE",
        "1e",
    ],
)
def test_what_only_yaml_1_1_converts_is_text(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("2_000_000", 2_000_000),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("6e2", 600.0),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_core_scalars_have_their_value(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quoted_scalars_are_text() -> None:
    assert plain(parsed("""['1', "true", '', "null", 'on']""")) == ["1", "true", "", "null", "on"]


def test_nodes_and_keys_know_their_place() -> None:
    tree = parsed("a:\n  bb: [x, 'é', z]\nc: 1\n")
    assert (tree.marks["c"].line, tree.marks["c"].column) == (3, 1)
    inner = tree.get("a")
    assert inner is not None
    assert (inner.marks["bb"].line, inner.marks["bb"].column) == (2, 3)
    places = [(node.line, node.column) for _, node in select(tree, ("a", "bb", "*"))]
    assert places == [(2, 8), (2, 11), (2, 16)]


def test_a_byte_order_mark_does_not_shift_the_first_line() -> None:
    assert parsed("\ufeffab: 1").marks["ab"].column == 1


def test_scalars_keep_their_source_text() -> None:
    assert [node.source for node in parsed("[8080, 1.50, true, '0x1']").elements()] == ["8080", "1.50", "true", "0x1"]


def test_whole_number_keys_are_their_text() -> None:
    assert plain(parsed("{1: a, 0x10: b, '2': c}")) == {"1": "a", "0x10": "b", "2": "c"}


def test_an_alias_repeats_its_anchor() -> None:
    assert plain(parsed("a: &x {k: 1}\nb: *x")) == {"a": {"k": 1}, "b": {"k": 1}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3", "f:3:1: duplicate key 'a' (it is given first on line 1)"),
        ("{1: a, '1': b}", "f:1:8: duplicate key '1' (it is given first on line 1)"),
        ("? [a]\n: b", "f:1:3: a key must be text, not a list or a block"),
        ("true: 1", "f:1:1: the key true is not text (write it in quotes: 'true')"),
        ("a: {<<: {b: 1}}", "f:1:5: merge keys ('<<') are not supported (write the keys out)"),
        (
            "a: !!str 1",
            "f:1:4: YAML tags (tag:yaml.org,2002:str) are not supported (write the value in quotes)",
        ),
        ("a: 1\n---\nb: 1", "f:2:1: a second document begins here (one file holds one document: remove the '---')"),
        ("a: *x", "f:1:4: *x has no anchor &x above it"),
        ("a: &x [*x]", "f:1:8: *x stands inside what it repeats"),
        ("a:\n\tb: 1", "f:2:1: a tab cannot indent (YAML indents with spaces)"),
        ("a: @b", "f:1:4: a value cannot begin with '@' (write it in quotes)"),
        ("a: b: c", "f:1:5: ':' is not expected here (quote a text with ': ' in it; check the indent)"),
        ("a: [1\nb: 2", "f:2:2: this list is not closed (a ',' or ']' is missing before here)"),
        ("a: {b: 1\nc: 2", "f:2:2: this block is not closed (a ',' or '}' is missing before here)"),
        ("a: 'b", "f:1:6: a quoted text is not closed (its closing quote is missing)"),
        ("a: b\0", "f:1:5: the character U+0000 is not allowed (remove it)"),
        ("a: 1\r\nb: \ud800", "f:2:4: the character U+D800 is not allowed (remove it)"),
        (
            "# nothing\n",
            "f: the file is empty"
            " (a minimal file has two lines: 'backends: {small: {mlx: {model: demo}}}' and 'default: small')",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, complaint: str) -> None:
    assert complaints(text) == [complaint]


def test_reading_goes_on_after_a_duplicate_key() -> None:
    assert len(complaints("a: 1\na: 2\nb: {c: 1, c: 2}\na: 3")) == 3


def test_aliases_of_aliases_are_bounded() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12)]
    (complaint,) = complaints("\n".join(lines))
    assert complaint == "f:5:45: the aliases of this file stand for more than 100000 values"


def test_nesting_is_bounded() -> None:
    assert complaints("[" * 100) == ["f:1:65: nested deeper than 64 levels"]


def test_nesting_through_aliases_is_bounded() -> None:
    chain = "\n".join(f"l{n}: &l{n} {'[' * 20}*l{n - 1}{']' * 20}" for n in range(1, 9))
    assert "nested deeper than 64 levels" in complaints(f"l0: &l0 [x]\n{chain}")[0]


@given(st.text() | st.text("[]{}:,&*!|>'\"%@`?-# \n\tab01.~<"))
def test_any_text_gives_a_tree_or_a_mistake(text: str) -> None:
    report = Report("f")
    tree = parse(text, report)
    assert (tree is not None) or report.sorted()


_scalars = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text("abc: -'\"#né", max_size=8)
_trees = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc x1", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(_trees.filter(lambda tree: tree is not None), st.booleans())
def test_what_a_yaml_writer_writes_is_read_back(tree: object, flow: bool) -> None:
    assert plain(parsed(yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True))) == tree
