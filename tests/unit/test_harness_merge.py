"""A patch laid over somebody's file: what it does not touch stays as it was written."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from routerd.harness.merge import CannotEditError, edited, merged
from routerd.harness.setup import Edit

FILE = Path("/home/me/agent.conf")
NAMES = st.sampled_from(["a", "b", "on", "x-y", "1"])
SCALARS = st.one_of(st.integers(0, 9), st.booleans(), st.sampled_from(["", "on", "22:30", "a: b", "# c", "é", "null"]))
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


def edit(format_: Any, text: str, patch: Any, by: str = "") -> str:
    return edited(Edit(path=FILE, format=format_, patch=patch, by=by), text)


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": 1}, {"a": {"b": None, "c": 2}}, {"a": {"c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        (None, {"a": {"b": None}}, {"a": {}}),
    ],
)
def test_a_patch_is_merged_as_the_standard_has_it(old: Any, patch: Any, new: Any) -> None:
    assert merged(old, patch) == new


def test_lists_of_maps_are_merged_by_their_key_new_ones_first() -> None:
    old = [{"id": "mine", "x": 1}, {"id": "ours", "y": 1}, "odd"]
    assert merged(old, [{"id": "ours", "z": 2}], "id") == [{"id": "ours", "z": 2}, {"id": "mine", "x": 1}, "odd"]


HERMES = """\
# my settings
model:
  default: old   # a good one
  provider: openrouter

# what it may do
terminal: {backend: docker}   # safe
providers:
  # the box in the cellar
  box: {base_url: "http://box:1/v1"}
# the end
"""


def test_a_yaml_file_keeps_what_is_not_touched_and_its_comments() -> None:
    new = edit("yaml", HERMES, {"model": {"default": "primary"}, "providers": {"routerd": {"name": "r"}}})
    assert yaml.safe_load(new) == {
        "model": {"default": "primary", "provider": "openrouter"},
        "terminal": {"backend": "docker"},
        "providers": {"routerd": {"name": "r"}, "box": {"base_url": "http://box:1/v1"}},
    }
    kept = ["# my settings", "# what it may do", "{backend: docker}   # safe", "# the box in the cellar", "# the end"]
    assert [comment for comment in kept if comment not in new] == []


def test_a_list_of_a_yaml_file_grows_at_its_head_and_keeps_its_comments() -> None:
    text = "routes:\n  # strangers first\n  - {name: a, use: b}\ndefault: b\n"
    new = edit("yaml", text, {"routes": [{"name": "c", "use": "b"}], "http": {"listen": "127.0.0.1:1"}}, by="name")
    assert "# strangers first" in new
    assert yaml.safe_load(new)["routes"] == [{"name": "c", "use": "b"}, {"name": "a", "use": "b"}]


def test_a_block_grows_by_lines_and_keeps_its_comments() -> None:
    text = "aliases:\n  # for the old program\n  gpt-4: b\nhosts:\n  - a  # the first\ndefault: b\n"
    new = edit("yaml", text, {"aliases": {"claude-*": "b"}, "level": "info"})
    assert yaml.safe_load(new) == {
        "aliases": {"claude-*": "b", "gpt-4": "b"},
        "hosts": ["a"],
        "default": "b",
        "level": "info",
    }
    assert {"  # for the old program", "  claude-*: b", "  - a  # the first", "level: info"} <= set(new.splitlines())


@pytest.mark.parametrize("text", ["{a: 1, b: {c: 2}}", "a: &x {c: 2}\nb: *x\n", "", "a: 1", "? a\n: 1\nb: {c: 3}\n"])
def test_yaml_in_any_style_comes_to_the_same(text: str) -> None:
    patch = {"b": {"d": 5}, "a": None}
    assert yaml.safe_load(edit("yaml", text, patch)) == merged(yaml.safe_load(text), patch)


@given(old=st.dictionaries(NAMES, TREES, max_size=4), patch=st.dictionaries(NAMES, TREES, min_size=1, max_size=3))
def test_whatever_the_yaml_and_the_patch_the_meaning_is_that_of_merging(old: Any, patch: Any) -> None:
    text = yaml.safe_dump(old, sort_keys=False, default_flow_style=False)
    once = edit("yaml", text, patch)
    assert yaml.safe_load(once) == merged(old, patch)
    assert edit("yaml", once, patch) == once


CODEX = """\
model = "gpt-5"  # theirs
approval_policy = "never"

[model_providers.box]
base_url = "http://box:1/v1"

[model_providers.routerd]
base_url = "http://old"
env_key = "OLD"

[model_providers.routerd.http_headers]
x = "y"

[profiles.work]
model = "gpt-5"
"""
PROVIDER = {"name": "routerd", "auth": {"command": "cat", "args": ["/a b/token"]}}
PATCH = {"model": "primary", "model_providers": {"routerd": PROVIDER}}


def test_a_toml_files_tables_are_replaced_and_the_rest_stays() -> None:
    new = tomllib.loads(edit("toml", CODEX, PATCH))
    assert new["model"] == "primary"
    assert new["model_providers"] == {"box": {"base_url": "http://box:1/v1"}, "routerd": PROVIDER}
    assert (new["approval_policy"], new["profiles"]) == ("never", {"work": {"model": "gpt-5"}})


def test_toml_that_is_not_understood_is_not_touched() -> None:
    with pytest.raises(CannotEditError, match=r"agent\.conf .* do it by hand"):
        edit("toml", 'model = """\n[x]\n"""\n', PATCH)
    with pytest.raises(CannotEditError, match="no TOML that can be read"):
        edit("toml", "model = ", PATCH)


def test_json_and_environment_files_keep_what_is_not_touched() -> None:
    assert json.loads(edit("json", '{"env": {"A": "1", "B": "2"}}', {"env": {"A": None, "C": "é"}})) == {
        "env": {"B": "2", "C": "é"}
    }
    assert edit("env", "# mine\nA=1\nexport TOKEN=old\n", {"TOKEN": "new"}) == "# mine\nA=1\nTOKEN=new\n"


@pytest.mark.parametrize(("format_", "text"), [("json", "{// mine\n}"), ("yaml", "a: [")])
def test_a_file_that_cannot_be_read_is_said_to_be_so(format_: str, text: str) -> None:
    with pytest.raises(CannotEditError, match=r"agent\.conf is no (JSON|YAML) that can be read"):
        edit(format_, text, {"a": 1})
