"""Only what a person asked last counts, whatever a harness puts around it."""

from __future__ import annotations

import pytest

from routerd.routing.classify.ask import HEAD, TAIL, newest_ask, strip_injected
from routerd_client.chat import Function, ImagePart, ImageURL, Message, Part, TextPart, ToolCall

RULES = "# AGENTS.md instructions for /home/me/project\n\n<INSTRUCTIONS>\nCompare and design.\n</INSTRUCTIONS>"
IDE = "# Context from my IDE setup:\n\n## Open tabs:\n- design.py\n\n## My request for Codex:\nFix the typo."


def user(content: str | list[Part]) -> Message:
    return Message("user", content)


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ("What time is it?", "What time is it?"),
        ("<system-reminder>\nDesign a cache.\n</system-reminder>\nSay OK", "Say OK"),
        ("Say OK\n<system-reminder>a</system-reminder>\n<system-reminder>b</system-reminder>", "Say OK"),
        ("<environment_context>\n  <cwd>/tmp</cwd>\n</environment_context>\n\nhello", "hello"),
        ("<env>\nWorking directory: /tmp\n</env>\nhello", "hello"),
        ("<env><env>inner</env> outer</env>hello", "hello"),
        (f"{RULES}\n\n\nhello", "hello"),
        (IDE, "Fix the typo."),
        ("<command-name>/fix</command-name>\n<command-args>the login</command-args>", "the login"),
        ("<ide_opened_file>The user opened a.py</ide_opened_file>\nexplain it", "explain it"),
        ("<additional_data>x</additional_data>\n<user_query>\nwhy?\n</user_query>", "why?"),
    ],
)
def test_what_a_harness_injects_is_left_out(sent: str, asked: str) -> None:
    assert newest_ask([user(sent)]).text == asked


@pytest.mark.parametrize(
    "text",
    [
        "What does <env> mean in a Makefile?",
        "Is 1 < 2 and 3 > 2?",
        "Render <b>bold</b> text",
        "Explain </context> to me",
    ],
)
def test_a_persons_own_angle_brackets_stay(text: str) -> None:
    assert strip_injected(text) in (text, "Explain  to me")


def test_only_the_newest_ask_counts() -> None:
    turns = [user("Design a distributed database."), Message("assistant", "Done."), user("thanks")]
    assert newest_ask(turns).text == "thanks"


def test_tool_results_are_no_asks() -> None:
    call = Message("assistant", tool_calls=[ToolCall("1", Function("ls"))])
    turns = [user("List the files"), call, Message("tool", "Compare and contrast.", tool_call_id="1")]
    ask = newest_ask([*turns, call, Message("tool", "more", tool_call_id="2")])
    assert (ask.text, ask.tool_results) == ("List the files", 2)


def test_a_turn_of_nothing_but_reminders_is_no_ask() -> None:
    assert newest_ask([user("hello"), user("<system-reminder>todo</system-reminder>")]).text == "hello"


def test_parts_are_read_and_images_pass() -> None:
    parts: list[Part] = [
        TextPart("<system-reminder>x</system-reminder>"),
        ImagePart(ImageURL("data:image/png;base64,AA")),
        TextPart("What is this?"),
    ]
    assert newest_ask([user(parts)]).text == "What is this?"


def test_no_user_message_is_an_empty_ask() -> None:
    assert newest_ask([]).text == ""
    assert newest_ask([Message("system", "You are kind."), user("")]).text == ""


@pytest.mark.parametrize(
    "messages",
    [
        [Message("system", "You are a title generator. You output ONLY a thread title."), user("Design a database")],
        [user("Please write a 5-10 word title for the following conversation:\nUser: prove it")],
        [user("### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.")],
        [Message("system", "Analyze if this message is a new topic: {isNewTopic, title}"), user("Explain async")],
        [user("Your task is to create a detailed summary of the conversation so far.")],
    ],
)
def test_what_a_harness_wants_for_itself_is_housekeeping(messages: list[Message]) -> None:
    assert newest_ask(messages).housekeeping


@pytest.mark.parametrize(
    "text",
    ["Write a title for my blog post", "What is the title of this film?", "Summarize this article", "Explain chat"],
)
def test_a_persons_own_titles_are_not(text: str) -> None:
    assert not newest_ask([user(text)]).housekeeping


def test_an_agents_long_system_message_may_mention_titles() -> None:
    system = Message("system", "You write code. " * 300 + "Generate a title for the conversation when asked.")
    assert not newest_ask([system, user("hello")]).housekeeping


@pytest.mark.parametrize(
    "hostile",
    ["<env>" * 300_000, "</env>" * 300_000, "# AGENTS.md\n" * 100_000, "# Context from my IDE setup:\n" * 50_000],
    ids=["open", "close", "rules", "ide"],
)
def test_a_hostile_text_is_looked_at_in_part(hostile: str) -> None:
    assert len(strip_injected(hostile)) <= HEAD + TAIL + 1


def test_the_ask_behind_a_reminder_longer_than_what_is_looked_at_is_found() -> None:
    assert newest_ask([user(f"<system-reminder>{'x ' * 200_000}</system-reminder>\nSay OK")]).text == "Say OK"
