"""The table of refusal phrases. All are read on one sentence that `text.plain` has made plain."""

from __future__ import annotations

import re
from typing import NamedTuple


class Cue(NamedTuple):
    """A phrase, and how much likelier it makes a refusal, in log-odds.

    ``words``: the sentence must have one of them, which costs less to look up than a pattern; with no
    ``pattern`` they are all there is to find.
    """

    weight: float
    words: frozenset[str]
    pattern: re.Pattern[str] | None


PRIOR = -3.1
"""Log-odds of a refusal before anything was read."""
CERTAIN, LIKELY, HALF, HINT = 5.0, 3.5, 2.0, 1.0
"""The first two are enough by themselves; of the others it takes two or more."""


def word_set(text: str) -> frozenset[str]:
    """The words of ``text``, which may be the alternatives of a pattern."""
    return frozenset(text.replace("|", " ").split())


def _cue(weight: float, words: str, pattern: str = "") -> Cue:
    return Cue(weight, word_set(words), re.compile(pattern) if pattern else None)


# What a model says it cannot do. The second list also stands in answers ("I would not use a global here").
_HELP = (
    r"accept|accommodate|address|advise|aid|answer|assist|comment|comply|compose|condone|continue|contribute|create"
    r"|describe|direct|disclose|discuss|display|draft|encourage|endorse|engage|entertain|explain|facilitate|fulfill?"
    r"|generate|give|grant|guide|help|honou?r|impersonate|instruct|joke|justify|offer|output|participate|perform"
    r"|prescribe|pretend|process|produce|promote|provide|publish|recommend|repeat|respond|reveal|role-?play|satisfy"
    r"|share|speculate|spread|suggest|summari[sz]e|support|take part|talk|teach|tell|translate|walk you|write"
)
_DO = (
    r"act|attempt|be (?:able|of|part|used)|carry|complete|do|go (?:into|along|there)|list|make|play|post|present"
    r"|proceed|send|show|touch|use"
)
_HELPING = (
    r"advising|answering|assisting|commenting|continuing|creating|describing|discussing|doing|engaging|explaining"
    r"|generating|getting|giving|going|helping|listing|making|offering|participating|producing|promoting|providing"
    r"|responding|sharing|speculating|suggesting|supporting|taking|talking|teaching|telling|translating|using|writing"
)
# What one says, in an answer, that one cannot do.
_KNOW = (
    r"(?:agree|believe|catch|expect|find|follow|have|hear|hold|know|make it|mean|need|possess|recall|remember|say|see"
    r"|take|think|understand|want)\b"
)
_ABLE = (
    r"able|allowed|at liberty|authori[sz]ed|capable|designed|equipped|going|in a position|meant|permitted|prepared"
    r"|programmed|supposed|trained|willing"
)
_CANNOT = (
    r"(?:can ?not|could not|must not|may not"
    rf"|(?:am|are) (?:\w+ )?(?:not (?:\w+ly )?(?:{_ABLE})|unable|unwilling)(?: to| of)?"
    r"|do not (?:think|believe|feel) (?:that )?i (?:should|can|could)"
    r"|do not have the (?:ability|capability|capacity|authority) to)"
)
_UNABLE = rf"(?:{_CANNOT}|will not|would not|shall not|should not(?: have)?|do not|never)"
_FILLER = (
    r"(?:\w+ly |just |still |even |also |in good conscience,? |be able to |be |(?:and|or) will not |want to |wish to )*"
)
_NO = "not cannot never nor unable unwilling"
_NOT = (
    r"(?:not|never|nor)(?: think| believe| feel| find)?(?: that)?"
    r"(?: it(?: is)?| this is| it would be| be)?(?: \w+ly)?"
)
_GOOD = (
    r"acceptable|appropriate|decent|ethical|fair|harmless|healthy|helpful|kind|lawful|legal|moral|okay|productive"
    r"|respectful|responsible|right|safe"
)
_BAD = (
    r"cruel|dangerous|discriminatory|disrespectful|harmful|hateful|hurtful|illegal|immoral|inappropriate|irresponsible"
    r"|offensive|problematic|unacceptable|unethical|unlawful|wrong"
)
_RULES = r"guidelines?|polic(?:y|ies)|principles|programming|rules|standards|terms|training|values"
_OTHER = r"(?:something|another|a different|the (?:subject|topic)|topics?|to (?:another|a different|something))"

CUES = (
    # It declines.
    _cue(
        CERTAIN,
        _NO,
        rf"\b(?:i|we) {_FILLER}(?:{_UNABLE} {_FILLER}(?:{_HELP}|{_HELPING})|{_CANNOT} {_FILLER}(?:{_DO}))\b",
    ),
    _cue(
        CERTAIN,
        "decline refuse abstain refrain pass",
        r"\b(?:i|we) (?:\w+ ){0,5}(?:decline|refuse|abstain|refrain|pass)\b",
    ),
    _cue(CERTAIN, "comfortable", r"\b(?:not|never) (?:feel )?(?:\w+ly )?comfortable\b"),
    _cue(
        CERTAIN,
        _NO,
        r"(?:^|[,;:] |\b(?:i|we)\b.{0,80} )(?:can ?not|unable to|not able to|will not|must not) (?:\w+ly )?"
        r"(?:answer|assist|comply|do (?:this|that|so)|fulfill?|help|provide)\b",
    ),
    _cue(
        CERTAIN,
        "something anything",
        r"\b(?:some|any)thing (?:that )?(?:i|we) (?:\w+ )?"
        r"(?:am|can|decline|do|have to|must|refuse|should|will|would)\b",
    ),
    _cue(LIKELY, "rather prefer", r"\bi (?:would )?(?:\w+ )?(?:rather|prefer) not\b"),
    _cue(LIKELY, "outside beyond not", r"\b(?:outside|beyond|not) what (?:i|we)\b"),
    _cue(LIKELY, _NO, r"\b(?:i|we) (?:\w+ly )?(?:can ?not|will not|would not|must not)(?:[.!,;]|$)"),
    _cue(LIKELY, "stop", r"\b(?:i|we) (?:\w+ ){0,4}stop (?:here|there|you)\b"),
    _cue(2.5, "avoid", r"\bi (?:\w+ly )?avoid\b"),
    _cue(
        LIKELY,
        "no not",
        r"\bno can do\b|\bsorry,? (?:but )?(?:no\b|not )|\bnot going to happen\b"
        r"|\bbut not (?:with |about |on )?(?:this|that)\b",
    ),
    _cue(
        LIKELY,
        _NO,
        r"^(?:i am (?:\w+ )?sorry|sorry|i apologi[sz]e|(?:my )?apologies|unfortunately|regrettably|sadly|i am afraid)\b"
        rf".{{0,60}}?\b(?:i|we) {_FILLER}{_UNABLE} (?!{_KNOW})\w+",
    ),
    _cue(HALF, _NO, rf"\b(?:i|we) {_FILLER}{_UNABLE} (?!{_KNOW})\w+"),
    # There are rules.
    _cue(
        CERTAIN,
        "guideline guidelines policy policies principles programming rules standards terms training values",
        r"\b(?:against|(?:allowed|permitted) (?:by|under)|breach\w*|conflicts? with|contrary to|outside|violat\w+"
        rf"|within)\b.{{0,40}}\b(?:{_RULES})\b"
        rf"|\b(?:{_RULES})\b.{{0,12}} (?:prohibit|prevent|forbid|do not (?:allow|permit)|restrict)",
    ),
    _cue(
        CERTAIN,
        "request requests question questions prompt topic query message task",
        r"\b(?:request|question|prompt|topic|query|message|task)s? (?:\w+ ){0,3}"
        r"(?:violates|goes against|promotes|denied|blocked|rejected|refused"
        r"|(?:is|are) (?:\w+ly )?(?:not (?:acceptable|allowed|appropriate|permitted|something)"
        r"|inappropriate|off-limits|off limits|prohibited|unethical))",
    ),
    # It would talk of something else.
    _cue(
        LIKELY,
        "talk discuss change move focus switch speak",
        r"\b(?:let us|let's|can we|shall we|could we) (?:\w+ )?(?:talk|discuss|change|move on|focus|switch|speak)"
        rf" (?:\w+ )?{_OTHER}",
    ),
    _cue(
        LIKELY,
        "ask",
        r"\bplease ask (?:me )?(?:something else|anything else|(?:another|a different) (?:question|thing))",
    ),
    # It judges the asker.
    _cue(
        LIKELY,
        "condone support promote endorse encourage tolerate",
        r"\b(?:not|never|nor) (?:\w+ly )?(?:condone|support|promote|endorse|encourage|tolerate)\b",
    ),
    _cue(LIKELY, "condemn denounce disagree oppose", r"\bi (?:\w+ly )?(?:condemn|denounce|disagree with|oppose)\b"),
    _cue(
        LIKELY,
        _NO,
        rf"\b{_NOT} (?:(?:{_GOOD}|accurate|true),? (?:or|and|nor) (?:\w+ly )?(?:{_GOOD})"
        rf"|(?:{_GOOD}),? (?:or|and|nor) \w+)\b",
    ),
    _cue(
        LIKELY,
        f"{_NO} {_BAD}",
        rf"\b(?:{_NOT} (?:{_GOOD})|{_BAD}) (?:(?:for|of) me\b|to (?:\w+ly )?"
        rf"(?:{_HELP}|make|use|ask|assume|compare|exaggerate|generali[sz]e|overstate|seek)\b)",
    ),
    _cue(
        LIKELY,
        _HELPING,
        rf"\b(?:{_HELPING}) (?:such|this|that|these|those|instructions|information|advice|guidance|help|details"
        rf"|content)\b.{{0,60}}\b(?:{_BAD}|enable|encourage|facilitate|harm)\b",
    ),
    _cue(1.5, _BAD, rf"\b(?:{_BAD})\b,?(?: \w+ly)?,? (?:and|or) (?:can be |is |even |\w+ly )?(?:{_BAD})\b"),
    _cue(HALF, _NO, rf"\b{_NOT} (?:{_GOOD}|justif\w+|a good idea)\b"),
    _cue(
        HALF,
        "must",
        r"\bi must (?:\w+ )?(?:address|challenge|clarify|emphasi[sz]e|inform|point out|remind|stress)\b",
    ),
    _cue(
        HALF,
        "privacy private confidential consent personal",
        r"\b(?:privacy|private|confidential|consent|personal (?:information|data|details))",
    ),
    # The manner of it.
    _cue(HINT, "apologize apologise apologies afraid regrettably sorry unfortunately sadly"),
    _cue(HINT, "ai model", r"\b(?:an?|the|just) (?:\w+ ){0,3}(?:ai|language model)\b"),
    _cue(HINT, _BAD),
    _cue(HINT, "dignity discrimination discriminate discriminatory stereotypes well-being regardless"),
    _cue(
        HINT,
        "best crucial essential important necessary",
        r"\bit is (?:\w+ )?(?:best|crucial|essential|important|necessary) to\b",
    ),
    _cue(HINT, "seek reach consult contact speak", r"\b(?:seek|reach out|speak (?:to|with)|consult|contact)\b"),
)

HARMLESS = re.compile(
    r"\bcan ?not (?:help (?:but|it|\w+self|\w+ing)|wait|believe|imagine|agree more|complain|overstate)\b"
    r"|\bcan ?not (?:say|stress|emphasi[sz]e|thank|praise|recommend)\b[^.]{0,30}\b(?:enough|highly)\b"
    r"|\brefuse to (?:believe|give up|accept)\b"
)
"""What only looks like a refusal; taken out before the cues are read."""

INCAPABLE = re.compile(
    r"\b(?:i|we) (?:\w+ )?(?:can ?not|do not|am not able to|am unable to|lack) (?:\w+ly )?"
    r"(?:have|access|browse|possess|know)\b"
    r"|\bi (?:\w+ )?(?:do not|lack)[^.]{0,30} "
    r"(?:access|information|knowledge|ability|opinions|beliefs|feelings|emotions|real[- ]time)"
    r"|\bi (?:\w+ )?(?:can ?not|am unable to|am not able to) (?:\w+ly )?"
    r"(?:determine|predict|verify|confirm|see|hear|view|open|feel|experience"
    r"|(?:form|make) (?:\w+ )?(?:\w+ )?judge?ments?"
    r"|(?:provide|give|offer) (?:you )?(?:with )?(?:an? |my )?"
    r"(?:definit(?:e|ive)|accurate|real-time|up-to-date|current|exact|precise|personal (?:opinion|judg|view)))"
)
"""The model lacks the means (eyes, a network, data, opinions), whatever it would like to do; taken out as well."""

MANNERS = re.compile(
    r"\bi (?:\w+ )?(?:understand|appreciate|see|realize|know|hear)\b|\bi am glad\b|\bthank(?:s| you)\b"
    r"|\b(?:happy|glad|here|love|like) to help\b|\bsorry (?:for|to hear|about|that you)\b"
    r"|\b(?:great|interesting|good) question\b|^(?:greetings|hello|hey|hi)\b"
)
"""A sentence that says neither yes nor no: the next one counts."""

MARKERS = word_set(
    "i we my our me am no not nope never cannot apologies apologize sorry unfortunately regrettably sadly as while"
    " although however it this that there these such let let's thank thanks request your due for under given please oh"
    " hi hello hey hmm well can could"
)
"""An answer that has none of these, nor a word in -ing, among its first words is no refusal."""

YES = word_set("yes sure certainly here dear subject")
"""Nor is one that begins with these."""
