"""The patterns by which captions are read: words for colours and shapes, and regular expressions for events.

They know more words and forms than the grammar of the references uses, since captions come from any system.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from stap.scenes.lexicon import inflect

__all__ = ["COLOUR_OF", "EVENTS", "NOUN_PHRASE", "SHAPE_OF"]

COLOURS = {
    "red": "red crimson scarlet",
    "orange": "orange",
    "yellow": "yellow golden gold",
    "green": "green lime",
    "blue": "blue navy",
    "purple": "purple violet",
    "white": "white",
    "black": "black",
}
SHAPES = {
    "circle": "circle circles ball balls disc discs disk disks dot dots sphere spheres",
    "square": "square squares box boxes block blocks cube cubes",
    "triangle": "triangle triangles pyramid",
    "star": "star stars",
    "cross": "cross crosses plus",
    "heart": "heart hearts",
    "ring": "ring rings hoop hoops donut donuts doughnut doughnuts",
}
THINGS = "object objects shape shapes thing things figure figures item items one ones form"
OTHER_ADJECTIVES = (
    "small little tiny large big huge medium sized bright dark light pale deep coloured colored solid shiny very and"
)

COLOUR_OF = {word: colour for colour, words in COLOURS.items() for word in words.split()}
SHAPE_OF = {word: shape for shape, words in SHAPES.items() for word in words.split()}

IRREGULAR = {
    "go": "went gone",
    "slide": "slid",
    "fly": "flies flew flown",
    "run": "ran",
    "spin": "spun",
    "grow": "grew grown",
    "shrink": "shrank shrunk",
    "get": "got gotten",
    "become": "became",
    "rise": "rose risen",
    "fall": "fell fallen",
    "sink": "sank sunk",
    "come": "came",
    "hit": "hit",
    "strike": "struck",
    "meet": "met",
    "weave": "wove",
    "make": "made",
    "draw": "drew",
    "hide": "hid hidden",
    "carry": "carries carried",
}


def _verbs(bases: str) -> str:
    """A pattern of all forms of the verbs."""
    words = {form for base in bases.split() for form in _forms(base)}
    return f"(?:{'|'.join(sorted(words, key=lambda word: (-len(word), word)))})"


def _forms(base: str) -> set[str]:
    gerund = inflect(f"{base}~", "gerund")
    past = IRREGULAR.get(base, f"{gerund[:-3]}ed")
    return {base, inflect(f"{base}~", "third"), gerund, *past.split()}


MOVE = _verbs("move slide go glide travel drift float fly shift head run roll come swim climb drop")
ARTICLE = r"(?= (?:a|an|the|another|one)\b)"  # an object follows
SURROUNDINGS = (
    r"(?! (?:a|the) (?:\w+ )?(?:screen|frame|picture|image|video|scene|background|wall|edge|floor|ground|side|room)\b)"
)
AFTER = r"(?:(?<=after )|(?<=after quickly ))"  # what follows acts next: "after turning around a red star goes up"
TO_LEFT = r"(?:from (?:the )?right (?:side )?to (?:the )?left|(?:(?:to|towards?) (?:the )?)?left(?:wards?)?)(?: side)?"
TO_RIGHT = r"(?:from (?:the )?left (?:side )?to (?:the )?right|(?:(?:to|towards?) (?:the )?)?right(?:wards?)?)(?: side)?"
SIDEWAYS = rf"(?:{TO_LEFT}|{TO_RIGHT}|up(?:wards?)?|down(?:wards?)?|along|across)"
MANNER = rf"(?:{MOVE} )?(?:{SIDEWAYS} )?"
AROUND = r"(?:around|round|about)"

NOUNS = "|".join(sorted([*SHAPE_OF, *THINGS.split()], key=len, reverse=True))
ADJECTIVES = "|".join([*COLOUR_OF, *OTHER_ADJECTIVES.split()])

FOR_A_MOMENT = r"(?:only |just )?(?:briefly|for (?:only |just )?(?:a|an|one) (?:\w+ )?(?:moment|instant|second|while|time))"
PATH = r"(?: (?:path|pattern|lines?|motion|way|movement|route))?"
ALONG = rf"{MANNER}(?:{_verbs('follow make')} )?(?:in |along |on )?(?:an? )?"

# (event, pattern), in this order: what an earlier pattern has read, a later one no longer sees. An empty name is for words that
# claim nothing; "-reversed" for whom it happens to being named first; a group `words` is the part that is read.
PATTERNS: Sequence[tuple[str, str]] = (
    ("", r"(?:on|over|against|in front of) (?:a|an|the|some) (?:\w+ ){0,3}(?:background|backdrop|surface|wall|floor)"),
    ("", r"(?:on|at|in|near) the (?:\w+ )?(?:left|right|top|bottom|middle|cent(?:er|re))(?: side)?(?: of the \w+)?"),
    ("", r"to the (?:left|right) of|(?:speed|slow|light|end|pick)\w* (?:up|down)|left (?:behind|alone|over)"),
    ("zigzag", rf"{ALONG}(?:zigzag\w*|side to side){PATH}(?: {SIDEWAYS})?"),
    ("zigzag", _verbs("weave swerve meander")),
    ("circle", rf"{ALONG}circular{PATH}"),
    ("follow", rf"{_verbs('follow chase pursue trail shadow')}(?: along)?(?: behind| after)?{ARTICLE}"),
    ("follow", rf"{MOVE} after{ARTICLE}"),
    ("follow-reversed", rf"(?:followed|chased|pursued|trailed|shadowed) by{ARTICLE}|{_verbs('lead')}{ARTICLE}"),
    ("", r"followed by"),
    ("follow", _verbs("follow chase pursue trail")),
    ("behind", rf"(?:{MOVE}|{_verbs('pass disappear vanish hide sneak cross')}) (?:{SIDEWAYS} )?behind"),
    ("behind", r"behind|(?:hidden|covered) by"),
    ("behind-reversed", r"in front of"),
    ("collide", rf"{_verbs('collide bump crash smash')}(?: (?:with|into|against|together|each other))*"),
    ("collide", rf"{_verbs('hit strike knock touch meet')}(?: each other)?"),
    ("collide", rf"(?:{MOVE}|{_verbs('bounce')}) (?:into|against)"),
    ("collide", rf"{_verbs('bounce')} (?:off|from)(?: of)?(?: each other| one another|{ARTICLE}{SURROUNDINGS})"),
    ("spin", rf"{AFTER}{_verbs('spin rotate turn twirl')} {AROUND}"),
    ("circle", rf"{AFTER}{MOVE} {AROUND}{ARTICLE}"),
    ("circle", rf"{MANNER}(?:{AROUND} )*in (?:a |an )?(?:(?:big|large|small|wide|full|tight|complete) )?circles?"),
    ("orbit-reversed", r"(?:circled|orbited|encircled) by"),
    ("orbit", rf"(?:{MOVE}|{_verbs('circle revolve rotate turn spin loop')}) {AROUND}{ARTICLE}{SURROUNDINGS}"),
    ("orbit", rf"{_verbs('orbit encircle')}|circl(?:es|ing|ed){ARTICLE}{SURROUNDINGS}"),
    ("circle", rf"(?:{NOUNS}|sign|it|that|which|then) (?P<words>circles(?: {AROUND})?)"),  # "two red circles" is no verb
    ("circle", rf"{_verbs('make draw complete trace')} (?:a |an )?(?:\w+ )?(?:circles?|loops?)"),
    ("circle", rf"{_verbs('loop')}(?: {AROUND})?|round and round|circl(?:ing|ed)(?: {AROUND})?|circle {AROUND}"),
    ("spin", rf"{_verbs('spin rotate twirl pivot')}(?: {AROUND})?(?: in (?:a )?circles?)?(?: in place| on the spot)?"),
    ("spin", rf"somersault\w*|{_verbs('turn')} (?:{AROUND}|in place|on the spot|over)"),
    ("circle", rf"{MOVE} {AROUND}(?! (?:the|on|in|across|all|randomly)\b)"),
    ("bounce", rf"{_verbs('bounce hop jump')}(?: up and down| {SIDEWAYS})?|(?:{MOVE} )?up and down|down and up"),
    ("flash", rf"{_verbs('appear show pop come')}(?: up| into view)? {FOR_A_MOMENT}"),
    ("flash", rf"{_verbs('appear pop')}(?: up)? (?:and )?(?:then )?(?:quickly )?(?:{_verbs('disappear vanish')})"),
    ("flash", rf"(?:briefly )?{_verbs('flash blink flicker')}|briefly {_verbs('appear show')}"),
    ("flash", rf"{_verbs('appear')}(?! to\b)|visible {FOR_A_MOMENT}"),
    ("shrink", rf"{_verbs('get become grow turn')} (?:\w+ )?smaller(?: and smaller)?|decreas\w+ in size"),
    ("shrink", rf"{_verbs('shrink contract dwindle')}(?: in size)?"),
    ("grow", rf"{_verbs('get become grow turn')} (?:\w+ )?(?:bigger|larger)(?: and (?:bigger|larger))?|increas\w+ in size"),
    ("grow", rf"{_verbs('grow expand enlarge swell inflate')}(?: in size)?"),
    ("spin", rf"{_verbs('turn')}(?! (?:into|to|left|right|up|down)\b)"),
    ("left", rf"(?:{MOVE} )?from (?:the )?right (?:side )?to (?:the )?left(?: side)?"),
    ("right", rf"(?:{MOVE} )?from (?:the )?left (?:side )?to (?:the )?right(?: side)?"),
    ("right", r"from the left(?: side)?"),
    ("left", r"from the right(?: side)?"),
    ("left", rf"(?:{MOVE} )?{TO_LEFT}"),
    ("right", rf"(?:{MOVE} )?{TO_RIGHT}"),
    ("down", rf"(?:{MOVE} )?(?:down(?:wards?)?|(?:to|towards) the bottom)"),
    ("down", rf"{_verbs('fall sink descend')}(?: down(?:wards?)?)?|{_verbs('drop')}"),
    ("up", rf"(?:{MOVE} |{_verbs('rise')} )?(?:up(?:wards?)?|(?:to|towards) the top)|{_verbs('rise ascend climb')}"),
)
EVENTS = tuple((name, re.compile(rf"\b(?:{pattern})(?!\w)")) for name, pattern in PATTERNS)

NOUN_PHRASE = re.compile(
    rf"\b(?:(?P<article>a|an|the|another|one|this|that) )?(?P<adjectives>(?:(?:{ADJECTIVES}) )*)"
    rf"(?P<noun>{NOUNS})(?: sign)?(?: (?:shaped )?(?:shape|object|thing|figure))?\b"
    rf"(?: (?:that |which )?(?:is|was|are|were) (?:\w+ )?(?P<later>{'|'.join(COLOUR_OF)})\b)?"
)
