"""Names of variables that are copied: `a,b`, `NEW=OTHER`, and which of them may be set. Pure."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata

from kernel_bridge_magic.choices import shortened
from kernel_bridge_magic.errors import BadOption
from kernel_bridge_magic.text import cut_end, visible

#: What IPython keeps under a name of the user's.
_RESERVED = frozenset({"In", "Out", "get_ipython", "exit", "quit"})
# A name of R has dots; one that begins with a dot and a digit is a number, and "..." stands for arguments.
_FOREIGN = re.compile(r"(?:[^\W\d_]|\.(?=[^\W\d]))[\w.]*")
#: Words of R, and of other shells, that look like names.
_FOREIGN_WORDS = re.compile(
    "if|else|repeat|while|function|for|in|next|break|TRUE|FALSE|NULL|Inf|NaN|NA|NA_integer_|NA_real_|NA_complex_"
    "|NA_character_|do|done|then|fi|case|esac|elif|until|select|time"
)
_LONGEST_SHOWN = 60


def check(name: str, option: str, *, foreign: bool = False, is_read: bool = False, side: str = "there") -> str:
    """Return a variable's name as Python writes it (NFKC).

    Refused is what is no name, keywords, built-in names, and names that IPython uses (T20): both to be set, and,
    with `is_read`, to be read. With `foreign` the name is one of another language, which may have dots in it. `option`
    is what it was given to, and `side` where a variable that is read has that name.

    Raises:
        BadOption: it is refused.
    """
    normal = unicodedata.normalize("NFKC", name)
    if foreign:
        usable = _FOREIGN.fullmatch(name) is not None and not _FOREIGN_WORDS.fullmatch(name)
        normal = name
    else:
        reserved = normal in _RESERVED or normal.startswith("_") or hasattr(builtins, normal)
        usable = name.isidentifier() and normal.isidentifier() and not keyword.iskeyword(normal) and not reserved
    if not usable:
        what, remedy = ("copied", f"Give it another name {side}") if is_read else ("set", "Choose another name")
        raise BadOption(f"{f'{option} {shortened(name)}'.lstrip()} is not a variable name that can be {what}. {remedy}")
    return normal


def parse(text: str, option: str, *, foreign: bool = False) -> dict[str, str]:
    """Return where each variable goes and where it comes from: `a,df=frame` is `{"a": "a", "df": "frame"}`.

    It is written as an assignment is: the name where it goes stands on the left. `option` is `-i`, whose names on the
    left are those of the other kernel, or another one, whose names on the right are. With `foreign` that kernel has
    another language.

    Raises:
        BadOption: it cannot be understood, a name cannot be used, or one is set twice.
    """
    is_put = option in ("-i", "put")
    write = f"Write {option} a,b or {option} new=old"
    shown = f"{option} {_shown(text)}"
    if not text:
        raise BadOption(f"{option} names no variable. {write}")
    if any(char.isspace() for char in text):
        raise BadOption(f"{shown} has blanks between its names. {write}")
    found: dict[str, str] = {}
    for part in text.split(","):
        left, equals, right = part.partition("=")
        if not left or (equals and not right):
            raise BadOption(f"{shown} lacks a name. {write}")
        if "=" in right:
            raise BadOption(f"{shown} has more than one = in {_shown(part)}. {write}")
        goes = check(left, option, foreign=foreign and is_put)
        side = "here" if is_put else "there"
        comes = check(right or left, option, foreign=foreign and not is_put, is_read=True, side=side)
        if goes in found:
            raise BadOption(f"{shown} sets {_shown(goes)} twice. Name it once")
        found[goes] = comes
    return found


def _shown(text: str) -> str:
    return f"'{cut_end(visible(text), _LONGEST_SHOWN)}'"
