"""What a bug report never has in it."""

from __future__ import annotations

import pytest

from routerd.ctl.redact import HIDDEN, Redactor


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdefgh12345678",
        "Authorization: Bearer abcdefgh.12345678",
        "authorization: basic dXNlcjpwYXNz",
        "AKIAIOSFODNN7EXAMPLE is not valid",
        "got AIzaSyA-1234567890abcdef",
        "token rd-abcdefghijklmnop",
        "hf_abcdefghijklmnop",
        "https://user:hunter2hunter2@host/v1",
        '{"api_key": "abcdef123456"}',
        "password=correct-horse",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        "a known one: orange-and-not-like-a-key.",
    ],
)
def test_what_is_or_looks_like_a_key_is_hidden(text: str) -> None:
    secrets = ("abcdefgh12345678", "abcdefgh.12345678", "dXNlcjpwYXNz", "AKIAIOSFODNN7EXAMPLE", "hunter2hunter2")
    secrets += ("AIzaSyA-1234567890abcdef", "abcdefghijklmnop", "abcdef123456", "correct-horse", "eyJzdWIiOiIxIn0")
    told = Redactor(["orange-and-not-like-a-key"]).text(text)

    assert HIDDEN in told
    assert not [secret for secret in (*secrets, "orange") if secret in told]


@pytest.mark.parametrize(
    "text",
    [
        '{"prompt_tokens": 16384, "kv_tokens": 123456789}',
        "max_tokens: 4096",
        "task-force and ask-me-anything-you-like",
        "http://127.0.0.1:8765/v1",
        "the model process was killed by signal 11 (SIGSEGV)",
        '{"api_key": {"file": "key"}}',
    ],
)
def test_what_a_report_needs_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_the_longer_of_two_secrets_is_hidden_whole_and_short_ones_are_no_secrets() -> None:
    assert Redactor(["longsecret", "longsecret-and-more", "a", ""]).text("a longsecret-and-more") == f"a {HIDDEN}"


def test_a_persons_folder_loses_its_name() -> None:
    assert Redactor(home="/Users/ada/").text("/Users/ada/.config/routerd") == "~/.config/routerd"


def test_prompts_and_answers_are_left_out_of_log_lines() -> None:
    line = {"event": "chat.ok", "prompt": "a secret", "answer": "another", "backend": "small"}
    assert Redactor().event(line) == {"event": "chat.ok", "prompt": HIDDEN, "answer": HIDDEN, "backend": "small"}
