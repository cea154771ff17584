"""What a caption claims: which objects it names, what it says happens, and in which order.

Any English caption can be read, also one from another system: the patterns know more words and forms than the grammar of
the references uses. Two things are found in the text, events first; their words are then hidden, so that the "circle" in
"moves in a circle" is not taken for an object.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stap.corpora.scenes.lexicon import inflect

__all__ = ["Claim", "NounPhrase", "Reading", "read_caption"]


@dataclass(frozen=True)
class NounPhrase:
    """An object that a caption names; None for what it does not say."""

    colour: str | None
    shape: str | None
    start: int


@dataclass(frozen=True)
class Claim:
    """An event that a caption tells. `reversed_roles`: whoever acts is named last ("is followed by")."""

    event: str
    start: int
    end: int
    reversed_roles: bool = False


@dataclass(frozen=True)
class Reading:
    """Objects and events in the order of the text, and whether the second event is told to happen later (None: unsaid)."""

    nouns: tuple[NounPhrase, ...]
    claims: tuple[Claim, ...]
    told_in_order: bool | None


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

# In this order: what an earlier pattern has read, a later one no longer sees. An empty name reads words that claim nothing.
PATTERNS: Sequence[tuple[str, str]] = (
    ("", r"(?:on|over|against|in front of|with|across) (?:a|an|the|some) (?:\w+ ){0,3}(?:background|backdrop|surface|wall|floor)"),
    ("", r"(?:on|at|in|near) the (?:\w+ )?(?:left|right|top|bottom|middle|cent(?:er|re))(?: side)?(?: of the \w+)?"),
    ("", r"to the (?:left|right) of|(?:speed|slow|light|end|pick)\w* (?:up|down)|left (?:behind|alone|over)"),
    ("zigzag", rf"{MANNER}(?:{_verbs('follow make')} )?(?:in |along |on )?(?:an? )?(?:zigzag\w*|side to side)(?: (?:path|pattern|lines?|motion|way|movement))?(?: {SIDEWAYS})?"),
    ("zigzag", _verbs("weave swerve meander")),
    ("circle", rf"{MANNER}(?:{_verbs('follow make')} )?(?:in |along |on )?(?:an? )?circular(?: (?:path|pattern|motion|way|movement|route))?"),
    ("follow", rf"{_verbs('follow chase pursue trail shadow')}(?: along)?(?: behind| after)?{ARTICLE}"),
    ("follow-reversed", rf"(?:followed|chased|pursued|trailed|shadowed) by{ARTICLE}|{_verbs('lead')}{ARTICLE}"),
    ("follow", rf"{MOVE} after{ARTICLE}"),
    ("", r"followed by"),
    ("follow", rf"{_verbs('follow chase pursue trail')}"),
    ("behind", rf"(?:{MOVE}|{_verbs('pass disappear vanish hide sneak cross')}) ?(?:{SIDEWAYS} )?behind|behind|(?:hidden|covered) by"),
    ("behind-reversed", r"in front of"),
    ("collide", rf"{_verbs('collide bump crash smash')}(?: (?:with|into|against|together|each other))*"),
    ("collide", rf"(?:{MOVE}|{_verbs('bounce')}) (?:into|against)|{_verbs('hit strike knock touch meet')}(?: each other)?"),
    ("collide", rf"{_verbs('bounce')} (?:off|from)(?: of)?(?: each other| one another|{ARTICLE}{SURROUNDINGS})"),
    ("spin", rf"{AFTER}{_verbs('spin rotate turn twirl')} {AROUND}"),
    ("circle", rf"{AFTER}{MOVE} {AROUND}(?={ARTICLE})"),
    ("circle", rf"{MANNER}(?:{AROUND} )*in (?:a |an )?(?:(?:big|large|small|wide|full|tight|complete) )?circles?"),
    ("orbit-reversed", r"(?:circled|orbited|encircled) by"),
    ("orbit", rf"(?:{MOVE}|{_verbs('circle revolve rotate turn spin loop')}) {AROUND}{ARTICLE}{SURROUNDINGS}|{_verbs('orbit encircle')}"),
    ("orbit", rf"circl(?:es|ing|ed){ARTICLE}{SURROUNDINGS}"),
    ("spin", rf"{_verbs('spin rotate twirl pivot')}(?: {AROUND})?(?: in (?:a )?circles?)?(?: in place| on the spot)?|somersault\w*"),
    ("circle", rf"{_verbs('make draw complete trace')} (?:a |an )?(?:\w+ )?(?:circle|loop|circles|loops)"),
    ("circle", rf"{_verbs('loop')}(?: {AROUND})?|round and round|circl(?:ing|ed)(?: {AROUND})?|circle {AROUND}"),
    ("circle", rf"{MOVE} {AROUND}(?! (?:the|on|in|across|all|randomly)\b)"),
    ("bounce", rf"{_verbs('bounce hop jump')}(?: up and down| {SIDEWAYS})?|(?:{MOVE} )?up and down|down and up"),
    ("flash", rf"{_verbs('appear show pop come')}(?: up| into view)? (?:only |just )?(?:briefly|for (?:only |just )?(?:a|an|one) (?:\w+ )?(?:moment|instant|second|while|time))"),
    ("flash", rf"{_verbs('appear pop')}(?: up)? (?:and )?(?:then )?(?:quickly )?(?:{_verbs('disappear vanish')})"),
    ("flash", rf"(?:briefly )?{_verbs('flash blink flicker')}|briefly {_verbs('appear show')}|{_verbs('appear')}(?! to\b)|visible (?:only )?(?:briefly|for an? \w+)"),
    ("spin", rf"{_verbs('turn')} (?:{AROUND}|in place|on the spot|over)|{_verbs('turn')}(?! (?:into|to|left|right|up|down|\w*er)\b)"),
    ("shrink", rf"(?:{_verbs('get become grow turn')} )(?:\w+ )?smaller(?: and smaller)?|{_verbs('shrink contract dwindle')}(?: in size)?|decreas\w+ in size"),
    ("grow", rf"(?:{_verbs('get become grow turn')} )(?:\w+ )?(?:bigger|larger)(?: and (?:bigger|larger))?|{_verbs('grow expand enlarge swell inflate')}(?: in size)?|increas\w+ in size"),
    ("left", rf"(?:{MOVE} )?from (?:the )?right (?:side )?to (?:the )?left(?: side)?"),
    ("right", rf"(?:{MOVE} )?from (?:the )?left (?:side )?to (?:the )?right(?: side)?"),
    ("right", r"from the left(?: side)?(?! to)"),
    ("left", r"from the right(?: side)?(?! to)"),
    ("left", rf"(?:{MOVE} )?{TO_LEFT}"),
    ("right", rf"(?:{MOVE} )?{TO_RIGHT}"),
    ("down", rf"(?:{MOVE} )?(?:down(?:wards?)?|(?:to|towards) the bottom)|{_verbs('fall sink descend')}(?: down(?:wards?)?)?|{_verbs('drop')}"),
    ("up", rf"(?:{MOVE} |{_verbs('rise')} )?(?:up(?:wards?)?|(?:to|towards) the top)|{_verbs('rise ascend climb')}"),
)  # fmt: skip
COMPILED = [(name, re.compile(rf"\b(?:{pattern})(?!\w)")) for name, pattern in PATTERNS]

NOUNS = sorted([*SHAPE_OF, *THINGS.split()], key=len, reverse=True)
ADJECTIVES = [*COLOUR_OF, *OTHER_ADJECTIVES.split()]
NOUN_PHRASE = re.compile(
    rf"\b(?:(?P<article>a|an|the|another|one|this|that) )?(?P<adjectives>(?:(?:{'|'.join(ADJECTIVES)}) )*)"
    rf"(?P<noun>{'|'.join(NOUNS)})(?: sign)?(?: (?:shaped )?(?:shape|object|thing|figure))?\b"
    rf"(?: (?:that |which )?(?:is|was|are|were) (?:\w+ )?(?P<later>{'|'.join(COLOUR_OF)})\b)?"
)
VERB_CIRCLES = re.compile(rf"\b(?:{'|'.join(NOUNS)}|it|that|which|then|sign) (circles)\b(?: {AROUND})?")
FILLER = "."


def read_caption(caption: str) -> Reading:
    """Read one caption, in any case and with any punctuation."""
    text = _normalised(caption)
    claims, rest = _claims(text)
    return Reading(_noun_phrases(rest), tuple(claims), _told_in_order(text, claims))


def _normalised(caption: str) -> str:
    text = re.sub(r"zig[ -]?zag", "zigzag", caption.lower())
    return " ".join(re.sub(r"[^a-z]+", " ", text).split())


def _claims(text: str) -> tuple[list[Claim], str]:
    """The events told, and the text with their words hidden."""
    found: list[Claim] = []
    rest = text
    for name, pattern in COMPILED:
        for match in list(pattern.finditer(rest)):
            event, _, role = name.partition("-")
            if event:
                found.append(Claim(event, match.start(), match.end(), role == "reversed"))
            rest = _hidden(rest, match.start(), match.end())
        if name == "orbit":  # "a star circles": a verb where a noun goes before; "two red circles" is none
            for match in list(VERB_CIRCLES.finditer(rest)):
                found.append(Claim("circle", match.start(1), match.end()))
                rest = _hidden(rest, match.start(1), match.end())
    found.sort(key=lambda claim: claim.start)
    return [
        claim for before, claim in zip([None, *found], found, strict=False) if not before or before.event != claim.event
    ], rest


def _hidden(text: str, start: int, end: int) -> str:
    return text[:start] + FILLER * (end - start) + text[end:]


def _noun_phrases(text: str) -> tuple[NounPhrase, ...]:
    nouns: list[NounPhrase] = []
    for match in NOUN_PHRASE.finditer(text):
        colours = [COLOUR_OF[word] for word in match["adjectives"].split() if word in COLOUR_OF]
        colour = colours[-1] if colours else COLOUR_OF.get(match["later"] or "")
        noun = NounPhrase(colour, SHAPE_OF.get(match["noun"]), match.start())
        if not any(_same_again(before, noun, match["article"]) for before in nouns):
            nouns.append(noun)
    return tuple(nouns)


def _same_again(before: NounPhrase, noun: NounPhrase, article: str | None) -> bool:
    """Whether a noun phrase only takes up an earlier one: "a red ball ..., then the ball ..."."""
    if (before.colour, before.shape) == (noun.colour, noun.shape):
        return True
    fits = noun.colour in (None, before.colour) and noun.shape in (None, before.shape)
    return fits and article in ("the", "this", "that")


def _told_in_order(text: str, claims: Sequence[Claim]) -> bool | None:
    """Whether the first two events happen in the order in which they are told; None if they are told to happen together."""
    if len(claims) < 2:
        return None
    before, between = text[: claims[0].start], text[claims[0].end : claims[1].start]
    if re.search(r"\b(?:while|whilst|as it|at the same time)\b", f"{before} {between}"):
        return None
    if re.search(r"\b(?:after(?! (?:that|this|which|wards))|once|having)\b", between):
        return False
    return not re.search(r"\b(?:before|until)\b", before)
