"""Parsing the line of a magic: words, quotes, options. An error is one line, never a SystemExit."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from kernel_bridge_magic.errors import BadInput, BadOption
from kernel_bridge_magic.text import cut_end, visible


class Word(NamedTuple):
    """One word of a line: its text without quotes, where it ends in the line, and whether it was quoted."""

    text: str
    end: int
    quoted: bool


class Slot(NamedTuple):
    """What the cursor stands in, see `MagicParser.slot_at`."""

    #: `option`, `value` or `match`
    kind: str
    #: where it begins in the line, and what is typed of it, without its quotes
    start: int
    typed: str
    #: the option whose value it is
    option: argparse.Action | None = None


# A quote opens only at the head of a word, so that `Ann's notebook` is two words. A backslash is a letter like others,
# since regular expressions are full of them.
_WORD = re.compile(r"""(--?[\w-]+=)?(?:"([^"]*)"|'([^']*)')(?=\s|$)|(\S+)""")


#: What an option whose value may be left out takes for its value.
_NUMBER = re.compile(r"[\d.]")


class HelpWanted(BadInput):
    """Raised for `-h`: its text is the help, to be shown as it is."""

    def __str__(self) -> str:
        return str(self.args[0])


def split_words(line: str) -> list[Word]:
    """Split a line at blanks; a word that begins with a quote ends at the next quote of the same kind."""
    words = []
    for found in _WORD.finditer(line):
        option, double, single, plain = found.groups()
        if plain is not None:
            words.append(Word(plain, found.end(), False))
        else:
            quoted = double if double is not None else single
            words.append(Word((option or "") + quoted, found.end(), option is None))
    return words


#: A word that was quoted, and whose second quote is not typed yet.
_OPEN = re.compile(r"""(?:^|(?<=\s))(["'])([^"']*)$""")


def _words_before(text: str) -> list[tuple[Word, int]]:
    """Return the words of the part of a line before the cursor, and where each begins; the last may be half a word."""
    opened = _OPEN.search(text)
    closed = text if opened is None else text[: opened.start()]
    words = split_words(closed)
    starts = [found.start() for found in _WORD.finditer(closed)]
    found = list(zip(words, starts, strict=True))
    if opened is not None:
        found.append((Word(opened[2], len(text), True), opened.start()))
    return found


def _without_comment(words: list[Word]) -> list[Word]:
    """Return the words before a `#` that stands alone, as a comment behind code does. `#2` is a row."""
    begins = (index for index, word in enumerate(words) if word.text == "#" and not word.quoted)
    return words[: next(begins, len(words))]


class MagicParser(argparse.ArgumentParser):
    """An ArgumentParser that raises instead of exiting, and parses whole lines with their quotes.

    Args:
        refused: what to say to options of other magics that somebody may try here.
    """

    def __init__(self, *, usage: str, refused: Mapping[str, str] | None = None, **settings: Any) -> None:
        self._refused = refused or {}
        super().__init__(
            add_help=False,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            usage=usage.replace("%", "%%"),  # argparse formats it
            **settings,
        )
        self.add_argument("-h", "--help", action="store_true", help="show this help")

    def error(self, message: str) -> NoReturn:
        """Raise instead of ending the process."""
        first = message.splitlines()[0] if message else "bad options"
        name, problem = re.fullmatch(r"(?:argument (\S+): )?(.*)", first).groups()  # type: ignore[union-attr]
        if problem.startswith("ignored explicit argument"):
            problem = f"{name} takes no value"
        elif problem.startswith("not allowed with argument"):
            problem = f"{name} is not allowed with {problem.split()[-1]}"
        raise BadOption(f"{problem} (%{self.prog} -h lists the options)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            *most, last = action.choices
            names = "/".join(action.option_strings)
            self.error(f"{names} takes {', '.join(most)} or {last}, not {cut_end(visible(repr(value)), 40)}")

    def parse_line(self, line: str, expand: Callable[[str], str] = str) -> tuple[argparse.Namespace, str]:
        """Parse a whole line; return its options, and its other words joined by one blank.

        A comment may stand at its end. `expand` is applied to every word that was not quoted.

        Raises:
            BadOption: an option does not exist, or has a wrong value.
            HelpWanted: `-h` was among the options.
        """
        options, rest, _ = self._parse(line, expand)
        return options, " ".join(rest)

    def parse_head(self, line: str, expand: Callable[[str], str] = str) -> tuple[argparse.Namespace, str, str]:
        """Parse the options at the head of a line; return them, the first word behind them, and the rest verbatim.

        A comment may stand before that word. The rest is code, whatever it begins with.

        Raises:
            BadOption, HelpWanted: as `parse_line`.
        """
        options, rest, end = self._parse(line, expand, only_head=True)
        return (options, rest[0], line[end:].strip()) if rest else (options, "", "")

    def slot_at(self, line: str, cursor: int, *, only_head: bool = False) -> Slot | None:
        """Return what the cursor stands in: an option, its value, or the MATCH; None where nothing can be offered.

        With `only_head` the line is one of `parse_head`: what comes behind its first word is code.
        """
        before = line[:cursor]
        option: argparse.Action | None = None  # that waits for its value
        begin = None  # where the MATCH begins
        only_rest = False
        for word, start in _words_before(before):
            text, is_last = word.text, word.end == cursor
            if text == "#" and not word.quoted and not is_last:
                return None  # a comment
            if option is not None:
                if is_last:
                    return Slot("value", start, text, option)
                option = None
            elif begin is None and not only_rest and text == "--" and not is_last:
                only_rest = True
            elif not only_rest and (self._is_option(word) or (is_last and text == "-" and not word.quoted)):
                name, equals, value = text.partition("=")
                found = self._option_string_actions.get(name)
                if is_last:
                    is_value = equals and found is not None
                    return Slot("value", cursor - len(value), value, found) if is_value else Slot("option", start, text)
                if found is None:
                    return None
                option = found if not equals and found.nargs is None else None
            elif begin is None or not only_head:
                begin = start if begin is None else begin
                if is_last:
                    return Slot("match", begin, text if begin == start else before[begin:])
            else:
                return None
        if option is not None:
            return Slot("value", cursor, "", option)
        return Slot("match" if begin is None else "option", cursor, "") if begin is None or not only_head else None

    def options_from(self, typed: str) -> list[str]:
        """Return the options that begin with what was typed, the long ones first."""
        found = [name for name in self._option_string_actions if name.startswith(typed)]
        return sorted(found, key=lambda name: (not name.startswith("--"), name))

    def head_of(self, line: str) -> int | None:
        """Return where the options and the word behind them end, for a line of `parse_head`; None if they do not."""
        try:
            _, rest, end = self._parse(line, str, only_head=True)
        except BadInput:
            return None
        return end if rest else None

    def _parse(
        self, line: str, expand: Callable[[str], str], *, only_head: bool = False
    ) -> tuple[argparse.Namespace, list[str], int]:
        """Return the options, the other words (`only_head`: the first of them), and where the last of these ends."""
        options: list[str] = []
        rest: list[str] = []
        words = _without_comment(split_words(line))
        position = end = 0
        only_rest = False
        while position < len(words) and not (only_head and rest):
            word = words[position]
            if only_rest or not self._is_option(word):
                rest.append(word.text if word.quoted else expand(word.text))
                end = word.end
                position += 1
            elif word.text == "--":
                only_rest = True
                position += 1
            else:
                option, position = self._take(words, position, expand)
                options.append(option)
        parsed = self.parse_args(options)
        if parsed.help:
            raise HelpWanted(self.format_help())
        return parsed, rest, end

    def _is_option(self, word: Word) -> bool:
        return not word.quoted and len(word.text) > 1 and word.text.startswith("-")

    def _take(self, words: list[Word], position: int, expand: Callable[[str], str]) -> tuple[str, int]:
        """Return an option and its value, if it needs one, as one word; and the position behind them."""
        text = words[position].text
        name, equals, _ = text.partition("=")
        action = self._option_string_actions.get(name)
        if name in self._refused:
            raise BadOption(self._refused[name])
        if action is None:
            near = difflib.get_close_matches(name, self._option_string_actions, 1)
            hint = f"; did you mean {near[0]} ?" if near else f" (%{self.prog} -h lists the options)"
            raise BadOption(f"unknown option {name}{hint}")
        if equals or action.nargs == 0:
            return text, position + 1
        if action.nargs == "?" and not _NUMBER.match(words[position + 1].text if position + 1 < len(words) else ""):
            return text, position + 1  # the next word is none of its values
        if position + 1 == len(words) or (self._is_option(words[position + 1]) and words[position + 1].text != "-"):
            raise BadOption(f"{name} needs a value: {name} {action.metavar or action.dest.upper()}")
        value = words[position + 1]
        # As one word, since argparse reads a separate value that begins with - as an option.
        return f"{name}={value.text if value.quoted else expand(value.text)}", position + 2
