"""How demanding an ask is, by five factors: rules only, no model, microseconds.

Each factor is 0 to 3, and the score ``sum(factor * weight) * 10 / 3`` is 0 to 10; from `BOUNDARY` on, the
boundary included, an ask is complex.

=========  ======  =====================================================================
factor     weight  0 to 3
=========  ======  =====================================================================
length     .15     characters: below 100, 100 to 499, 500 to 999, from 1000 on
code       .25     a language, a piece of code, a verb of programming, signs of code: 1 each; a block 3
technical  .20     distinct technical words: none, 1, 2, from 3 on
steps      .20     first ... then, verbs of work in a row, or numbered lines; conditions add 1
question   .20     why, explain 1; compare, design, write 2; explain and compare 3
=========  ======  =====================================================================

Where the table this comes from leaves room, decided here: a length on a border belongs to the higher band. Of
its four examples all tiers hold; two of its scores cannot: with fewer than 100 characters the formula
reaches neither 0.5 ("What time is it?", here 0.0) nor 1.8 ("List Python string methods", here 0.83). The other
two come out at 4.17 ("Explain async vs threads") and 7.17, where the table has 4.2 and 7.8.

An ask in which no factor fires gets no score: it abstains. Plain words can be hard ("Plan the optimal path"),
and rules that see nothing have nothing to say.
"""

from __future__ import annotations

import re

from .score import Score
from .text import bounded

BOUNDARY = 3.0
WEIGHTS = {"length": 0.15, "code": 0.25, "technical": 0.20, "steps": 0.20, "question": 0.20}
LENGTHS = (100, 500, 1000)

_PARTING = b"!\"$%&'()*,-./:;<=>?@[\\]^_`{|}~" + bytes(range(128, 256))
_SPACES = bytes.maketrans(_PARTING, b" " * len(_PARTING))
_NUMBERED = re.compile(rb"\n[ \t]*\d{1,2}[.)] ")


def _words(text: str) -> frozenset[bytes]:
    return frozenset(text.encode().split())


_LANGUAGES = _words(
    "python javascript typescript java rust golang kotlin swift ruby php perl haskell scala sql bash html css "
    "c++ c# async await"
)
_ARTEFACTS = _words("script code program function class method module codebase")
_PROGRAMMING = _words("implement refactor debug compile parse parses rewrite")
_CODE_WORDS = _words("def import return")
_CODE_SIGNS = tuple(b"();|=>|->|!=|==|</|#include|SELECT |{\n".split(b"|"))
_TECHNICAL = _words(
    "api apis rest graphql database databases sql nosql regex schema schemas json yaml xml redis postgres kafka "
    "queue cache caching async asynchronous thread threads threading mutex deadlock concurrency concurrent "
    "parallel latency throughput algorithm algorithms complexity recursion recursive docker kubernetes "
    "container containers cluster microservice microservices server servers network tcp http https websocket "
    "encryption authentication oauth token tokens compiler kernel memory pointer garbage index indexes query "
    "queries transaction transactions replication sharding architecture framework backend frontend deployment "
    "pipeline neural gradient matrix eigenvalue derivative integral theorem proof probability regression tensor "
    "protocol"
)
_SEQUENCE = _words("first firstly then next finally afterwards step steps lastly")
_CONDITIONS = _words("if unless otherwise when whenever else")
_ACTIONS = _words(
    "parse parses validate validates store stores read reads write writes fetch fetches load loads save saves "
    "send sends convert converts sort sorts filter filters compute computes build builds test tests deploy "
    "deploys log logs create creates update updates delete deletes check checks plot plots train trains"
)
_EXPLAIN = _words("why explain describe reason")
_COMPARE = _words("compare comparison contrast versus vs difference differences tradeoff tradeoffs evaluate")
_DESIGN = _words("design architect write build implement prove derive optimize optimise refactor develop")


def complexity(ask: str) -> Score:
    """The score of ``ask``, the newest real user ask. Looks at a bounded head and tail of it."""
    text = bounded(ask).encode("utf-8", "replace")  # bytes: other letters than ASCII would cost three times as much
    known = set(text.lower().translate(_SPACES).split())
    factors = {
        "length": sum(len(ask) >= bound for bound in LENGTHS),
        "code": _code(text, known),
        "technical": _band(len(known & _TECHNICAL), (1, 2, 3)),
        "steps": _steps(text, known),
        "question": _question(known),
    }
    value = sum(factors[name] * weight for name, weight in WEIGHTS.items()) * 10 / 3
    return Score(min(10.0, round(value, 4)), factors, any(factors.values()))


def is_complex(score: Score, boundary: float = BOUNDARY) -> bool:
    """Whether ``score`` reaches ``boundary``; never where it abstains."""
    return score.fired and score.value >= boundary


def _band(count: int, bounds: tuple[int, int, int]) -> int:
    return sum(count >= bound for bound in bounds)


def _code(text: bytes, known: set[bytes]) -> int:
    if b"```" in text:
        return 3
    signs = len(known & _CODE_WORDS) + sum(sign in text for sign in _CODE_SIGNS)
    named = sum(not known.isdisjoint(words) for words in (_LANGUAGES, _ARTEFACTS, _PROGRAMMING))
    return min(3, named + min(signs, 2))


def _steps(text: bytes, known: set[bytes]) -> int:
    sequence = _band(len(known & _SEQUENCE), (2, 3, 5))
    numbered = _band(len(_NUMBERED.findall(b"\n" + text)), (2, 3, 5)) if b"\n" in text else 0
    row = _band(len(known & _ACTIONS), (2, 3, 5))
    most = max(sequence, numbered, row)
    return min(3, most + (not known.isdisjoint(_CONDITIONS))) if most else 0


def _question(known: set[bytes]) -> int:
    explains, compares = bool(known & _EXPLAIN), bool(known & _COMPARE)
    if compares:
        return 3 if explains or known & _DESIGN else 2
    return 2 if known & _DESIGN else int(explains)
