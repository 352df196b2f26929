"""Regular expressions from users that cannot run for ever (T33). Pure.

`re` cannot be stopped once it runs, and holds the interpreter lock. So a pattern is first read by `re`'s own parser,
and refused where the number of ways to match a name could explode.
"""

from __future__ import annotations

import importlib
import math
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kernel_bridge_magic.errors import BadMatch

LONGEST = 200  # characters in a pattern
_MOST_STEPS = 50_000_000  # about a second of `re` for the worst possible name
_OPEN = 8  # a repeat of more than this counts as one of "any number"

_parser: Any = importlib.import_module("re._parser")  # typeshed does not know it; `sre_parse` is deprecated
_REPEATS = {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}


class _Nested(Exception):
    """Raised for a repeat inside a repeat."""


class _Ways(NamedTuple):
    """The number of ways in which a pattern can match: a product, of which `opens` factors are as long as the name."""

    number: int
    opens: int


def search_all(pattern: str, texts: Iterable[str]) -> Iterator[bool]:
    """Yield for each of `texts` whether `pattern` is found in it.

    Raises:
        BadMatch: the pattern is too long, broken (with position and reason), or could take for ever.
    """
    if len(pattern) > LONGEST:
        raise BadMatch(f"the regular expression has {len(pattern)} characters. Use {LONGEST} at most")
    all_texts = list(texts)
    compiled = _compile(pattern, max(map(len, all_texts), default=1))
    return (compiled.search(text) is not None for text in all_texts)


def _compile(pattern: str, longest: int) -> re.Pattern[str]:
    try:
        # `[[` and the like warn of what a later Python may make of them, which is of no use here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = _parser.parse(pattern)
            ways = _count(tree, max(longest, 1))
            compiled = re.compile(pattern)
    except re.error as error:
        where = "" if error.pos is None else f" at position {error.pos}"
        raise BadMatch(f"bad regular expression {_quote(pattern)}: {error.msg}{where}") from None
    except (OverflowError, RecursionError) as error:
        raise BadMatch(f"bad regular expression {_quote(pattern)}: {error}") from None
    except _Nested:
        reason = "a repeat inside a repeat, such as (a+)+, could take for ever"
        raise BadMatch(f"regular expression {_quote(pattern)} refused: {reason}") from None
    anchored = bool(tree) and str(tree[0][0]) == "AT" and str(tree[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING")
    opens = ways.opens + (not anchored)
    # n places to start and k repeats side by side: n over k+1 ways to divide the name between them.
    if ways.number * (1 if anchored else longest) // math.factorial(opens) > _MOST_STEPS:
        reason = f"so many repeats could take for ever on a name of {longest} characters; use fewer, or begin with ^"
        raise BadMatch(f"regular expression {_quote(pattern)} refused: {reason}")
    return compiled


def _quote(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else pattern[:59] + "…")


def _count(tree: Any, longest: int) -> _Ways:
    """Return in how many ways the parts of `tree`, one after another, can match `longest` characters.

    Raises:
        _Nested: something that can match in several ways is itself repeated.
    """
    number, opens = 1, 0
    for operation, argument in tree:
        if str(operation) in _REPEATS:
            least, most, body = argument
            ways = _count_repeat(least, most, body, longest)
        elif str(operation) == "BRANCH":
            ways = _count_branch(argument[1], longest)
        else:
            ways = _join([_count(part, longest) for part in _parts(argument)])
        number, opens = number * ways.number, opens + ways.opens
    return _Ways(number, opens)


def _count_repeat(least: Any, most: Any, body: Any, longest: int) -> _Ways:
    inside = _count(body, longest)
    if int(most) > 1 and inside.number > 1:
        raise _Nested
    span = max(min(int(most), longest) - int(least), 0) + 1
    return _join([inside, _Ways(span, int(int(most) - int(least) > _OPEN))])


def _count_branch(arms: list[Any], longest: int) -> _Ways:
    ways = [_count(arm, longest) for arm in arms]
    opens = max(way.opens for way in ways)
    # Alternatives that begin with different letters (`foo|bar`) leave no choice: at most one can go on.
    first = [chr(arm[0][1]).casefold() if arm and str(arm[0][0]) == "LITERAL" else "" for arm in arms]
    if all(first) and len(set(first)) == len(first):
        return _Ways(max(way.number for way in ways), opens)
    return _Ways(sum(way.number for way in ways), opens)


def _join(ways: list[_Ways]) -> _Ways:
    return _Ways(math.prod(way.number for way in ways), sum(way.opens for way in ways))


def _parts(argument: Any) -> Iterator[Any]:
    """Yield the patterns inside an operation's argument: groups, look-arounds and conditions contain some."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for item in argument:
            yield from _parts(item)
