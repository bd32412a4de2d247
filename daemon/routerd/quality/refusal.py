"""Whether an answer refuses: the stop reason first, then what it says, graded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import exp

from msgspec import Struct

from routerd_client.chat import FinishReason

from .hedge import hedging
from .phrases import CUES, HARMLESS, INCAPABLE, LIKELY, MANNERS, MARKERS, PRIOR, YES, word_set
from .text import plain, sentences, unquoted

THRESHOLD = 0.5
"""From this confidence on an answer counts as a refusal."""
HEAD = 600
"""Characters of an answer in which it may refuse; a phrase further on is part of an answer."""
_OPENING_WORDS = 4
_FADING = (1.0, 0.85, 0.7)
"""What a cue weighs in the first, the second and the third sentence. There is no fourth."""

_FILTERED = word_set(
    "content_filter content_filtered refusal safety prohibited_content blocklist spii guardrail_intervened"
)
"""Stop reasons, as the providers spell them, that say the answer was not to be."""

_WRITING = re.compile(
    r"\b(?:write|draft|compose|translate|rewrite|rephrase|paraphrase|proofread|continue|role-?play|pretend|act as"
    r"|you are an?"
    r"|(?:my|our|the|this) (?:\w+ )?(?:story|poem|song|e-?mail|letter|monologue|dialogue|script|scene|speech))\b",
    re.IGNORECASE,
)
"""A prompt that asks for words somebody else will say."""
_OWN_VOICE = re.compile(
    r"\b(?:requests?|advice|suggestions?|content|topics?|guidelines|polic(?:y|ies)|ai|assist\w*|language model"
    r"|information|instructions"
    r"|compose|create|draft|generate|produce|translate|write|(?:with|do) (?:that|this))\b"
)
"""What the model says of its own work, and a character hardly does."""
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)?")


class Verdict(Struct, frozen=True):
    """``kind``: ``policy`` (it declines), ``hedged`` (it lectures or says nothing), ``silent`` (no answer but a stop
    reason, a typed refusal or nothing at all), ``incapable`` (it lacks the means: no refusal), or ``""``.

    ``confidence``: 0..1, that the answer is of its kind; where the kind is ``""``, that it refuses after all.
    """

    refusal: bool
    confidence: float
    kind: str


class _Reading(Struct, frozen=True):
    """``odds``: log-odds of a refusal. ``ended``: no later sentence counts."""

    odds: float
    incapable: bool
    ended: bool


def judge(
    text: str,
    *,
    finish_reason: FinishReason | str | None = None,
    refusal_field: str = "",
    tool_calls: bool = False,
    prompt: str = "",
) -> Verdict:
    """Judge a whole answer.

    ``finish_reason`` may be a provider's own word. ``refusal_field`` is a typed refusal, as some formats have.
    ``prompt`` is what the user asked, where known: it tells words written for somebody else from the model's own.
    """
    reason = finish_reason.value if isinstance(finish_reason, FinishReason) else (finish_reason or "").lower()
    if refusal_field or reason in _FILTERED:
        return Verdict(True, 1.0, "silent")
    if tool_calls:
        return Verdict(False, 0.0, "")
    if not text.strip():  # cut before its first word, it had no chance to refuse
        return Verdict(False, 0.0, "") if reason == "length" else Verdict(True, 0.9, "silent")
    head = plain(text[:HEAD])
    verdict = _opening(head, prompt, whole=True)
    assert verdict is not None
    if verdict.kind:
        return verdict
    empty = hedging(text, head)
    return Verdict(True, empty, "hedged") if empty >= THRESHOLD else verdict


def glance(text: str, *, whole: bool = False, prompt: str = "") -> Verdict | None:
    """Judge the beginning of an answer; None where it is not sure yet.

    A verdict is final: whatever comes after ``text``, `judge` will agree whether the answer declines. What
    only the whole shows (``hedged``) it does not see. With ``whole`` it judges what there is, and is never None.
    """
    if len(text) >= HEAD:
        text, whole = text[:HEAD], True
    if not whole:
        text = text[: max(text.rfind(" "), text.rfind("\n")) + 1]  # its last word may go on
    return _opening(plain(text), prompt, whole=whole)


def _opening(head: str, prompt: str, *, whole: bool) -> Verdict | None:
    marked = _marked(head, whole=whole)
    if marked is None:
        return None
    if not marked:
        return Verdict(False, 0.0, "")
    reading = _read(sentences(unquoted(head), whole=whole), prompt)
    confidence = _logistic(reading.odds)
    if confidence >= THRESHOLD:
        return Verdict(True, confidence, "policy")
    if not (reading.ended or whole):
        return None
    if reading.incapable:
        return Verdict(False, _logistic(reading.odds + LIKELY), "incapable")
    return Verdict(False, confidence, "")


def _marked(head: str, *, whole: bool) -> bool | None:
    """Whether an answer that begins with ``head`` may refuse at all; None where the words are too few to say."""
    words = [word.strip(".,!?:;-\"'()") for word in head.split(None, _OPENING_WORDS)[:_OPENING_WORDS]]
    if words and (words[0] in YES or words[0].startswith("```")):
        return False
    if any(word in MARKERS or word.endswith("ing") for word in words):
        return True
    return False if whole or len(words) == _OPENING_WORDS else None


def _read(said: Sequence[str], prompt: str) -> _Reading:
    """Sum up the cues of the first sentences. A sentence that neither refuses nor is polite ends it."""
    odds, incapable, ended, seen = PRIOR, False, False, set[int]()
    said = said[: len(_FADING)]
    for number, (sentence, fading) in enumerate(zip(said, _FADING, strict=False), 1):
        lacks = INCAPABLE.search(sentence) is not None
        rest = HARMLESS.sub(" ", INCAPABLE.sub(" ", sentence))
        found = _cues(rest)
        odds += sum(CUES[number].weight for number in found - seen) * fading
        seen |= found
        incapable |= lacks
        if not (found or lacks or MANNERS.search(sentence)):
            said, ended = said[:number], True
            break
    if prompt and _WRITING.search(prompt) and not any(map(_OWN_VOICE.search, said)):
        odds = PRIOR
    return _Reading(odds, incapable, ended or len(said) == len(_FADING))


def _cues(sentence: str) -> set[int]:
    words = set(_WORD.findall(sentence))
    return {
        number
        for number, cue in enumerate(CUES)
        if not cue.words.isdisjoint(words) and (cue.pattern is None or cue.pattern.search(sentence))
    }


def _logistic(odds: float) -> float:
    return 1 / (1 + exp(-odds))
