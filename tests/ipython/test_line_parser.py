from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.choices import timeout
from kernel_bridge_magic.errors import BadInput, BadOption
from kernel_bridge_magic.ipython.line_parser import HelpWanted, MagicParser, Word, split_words
from kernel_bridge_magic.ipython.options import remote_parser

PIECES = ["-s", "--server", "--timeout", "-q", "--", "-h", "x", "5", "''", "--quiet=1", "-", "--timeout="]


@pytest.fixture
def parser() -> MagicParser:
    return make_parser()


def make_parser() -> MagicParser:
    parser = MagicParser(prog="magic", usage="%%magic [options] MATCH", description="What it does, 100 % of it.")
    parser.add_argument("-s", "--server", metavar="NAME|URL")
    parser.add_argument("--timeout", metavar="SECONDS", type=timeout)
    parser.add_argument("--transport", choices=("auto", "zmq", "ws"), default="auto")
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("--no-raise-error", action="store_true")
    return parser


# -- words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        (" \t ", []),
        ("a b  c", ["a", "b", "c"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        ("'it is \"so\"'", ['it is "so"']),
        ("''", [""]),
        ("Ann's notebook", ["Ann's", "notebook"]),  # a quote opens at a word's head only
        ("'open end", ["'open", "end"]),
        ("'a'b", ["'a'b"]),
        (r"re:^\d{4}\s", [r"re:^\d{4}\s"]),  # backslashes are letters
        ("--server='my lab' x", ["--server=my lab", "x"]),
        ('-s="a b"', ["-s=a b"]),
        ("été 日本.ipynb 🦊", ["été", "日本.ipynb", "🦊"]),
    ],
)
def test_a_line_is_split_at_blanks_and_quotes(line: str, words: list[str]) -> None:
    assert [word.text for word in split_words(line)] == words


def test_words_know_where_they_end_and_whether_they_were_quoted() -> None:
    line = "'a b'  c"
    assert split_words(line) == [Word("a b", 5, True), Word("c", 8, False)]
    assert [line[word.end :] for word in split_words(line)] == ["  c", ""]
    assert split_words("--server='x y'") == [Word("--server=x y", 14, False)]


@given(words=st.lists(st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="'\""), min_size=1)))
def test_words_without_quotes_come_back(words: list[str]) -> None:
    assert [word.text for word in split_words(" ".join(words))] == words


# -- whole lines


def test_options_stand_anywhere_and_the_rest_is_the_match(parser: MagicParser) -> None:
    options, match = parser.parse_line("-s lab My Notebook.ipynb --timeout 5m -q")
    assert (options.server, options.timeout, options.quiet, match) == ("lab", 300.0, True, "My Notebook.ipynb")
    options, match = parser.parse_line("--server=lab --timeout=2 x")
    assert (options.server, options.timeout, match) == ("lab", 2.0, "x")


def test_nothing_is_nothing(parser: MagicParser) -> None:
    options, match = parser.parse_line("")
    assert (match, options.server, options.timeout, options.transport) == ("", None, None, "auto")


def test_two_dashes_end_the_options(parser: MagicParser) -> None:
    options, match = parser.parse_line("-q -- -odd --name.ipynb")
    assert (options.quiet, match) == (True, "-odd --name.ipynb")


def test_what_is_quoted_is_no_option(parser: MagicParser) -> None:
    options, match = parser.parse_line("'-q' \"--server\"")
    assert (options.quiet, match) == (False, "-q --server")
    assert parser.parse_line("-s '-x' y")[0].server == "-x"


def test_a_single_dash_is_a_word(parser: MagicParser) -> None:
    assert parser.parse_line("a - b")[1] == "a - b"


def test_the_last_of_two_wins(parser: MagicParser) -> None:
    assert parser.parse_line("-s one -s two x")[0].server == "two"


# -- one line of code


def test_code_is_kept_verbatim(parser: MagicParser) -> None:
    options, match, code = parser.parse_head("-q 'my nb'  x = 'a  b' -s $no {no} \\d -- ''")
    assert (options.quiet, options.server, match) == (True, None, "my nb")
    assert code == "x = 'a  b' -s $no {no} \\d -- ''"
    assert parser.parse_head("nb f(x)  # c ")[1:] == ("nb", "f(x)  # c")


def test_options_of_a_line_of_code_stand_before_the_match(parser: MagicParser) -> None:
    options, match, code = parser.parse_head("nb -q")
    assert (options.quiet, match, code) == (False, "nb", "-q")
    assert parser.parse_head("-q -- -nb -1")[1:] == ("-nb", "-1")
    for line in ("", "-q", "--", "-q --"):
        assert parser.parse_head(line)[1:] == ("", "")


# -- comments


@pytest.mark.parametrize(
    ("line", "quiet", "match"),
    [
        ("# every kernel in reach", False, ""),
        ("#", False, ""),
        ("analysis  # the teacher's -q", False, "analysis"),
        ("-q analysis #", True, "analysis"),
        ("analysis\t#\tx", False, "analysis"),
        ("-- analysis # x", False, "analysis"),
        ("#2", False, "#2"),
        ("#2 # the second", False, "#2"),
        ("a#b #c d# e", False, "a#b #c d# e"),
        ("'# x' y # z", False, "# x y"),
        ("'#' # z", False, "#"),
        ('"a # b" -q', True, "a # b"),
    ],
)
def test_a_lone_sharp_begins_a_comment(parser: MagicParser, line: str, quiet: bool, match: str) -> None:
    options, rest = parser.parse_line(line)
    assert (options.quiet, rest) == (quiet, match)


@pytest.mark.parametrize(
    ("line", "match", "code"),
    [
        ("nb x = 1 # comment", "nb", "x = 1 # comment"),
        ("nb # comment", "nb", "# comment"),
        ("-q nb print('#  ') # '", "nb", "print('#  ') # '"),
        ("# nb x", "", ""),
        ("-q # nb x", "", ""),
        ("'# nb' x", "# nb", "x"),
        ("#2 x # y", "#2", "x # y"),
    ],
)
def test_a_comment_stands_before_the_code_and_never_in_it(
    parser: MagicParser, line: str, match: str, code: str
) -> None:
    assert parser.parse_head(line)[1:] == (match, code)


def test_a_comment_is_no_value(parser: MagicParser) -> None:
    with pytest.raises(BadOption, match="--server needs a value"):
        parser.parse_line("nb --server # lab")
    assert parser.parse_line("nb --server '#'")[0].server == "#"


# -- what is expanded


def test_words_that_were_not_quoted_are_expanded(parser: MagicParser) -> None:
    options, match = parser.parse_line("-s $a $b '$c' -- $d", str.upper)
    assert (options.server, match) == ("$A", "$B $c $D")
    assert parser.parse_line("-s '$a' x", str.upper)[0].server == "$a"
    assert parser.parse_head("$b $code", str.upper)[1:] == ("$B", "$code")
    assert parser.parse_head("'$b' $code", str.upper)[1:] == ("$b", "$code")


# -- what is wrong


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--sever lab x", "unknown option --sever; did you mean --server ?"),
        ("--timeot 3 x", "did you mean --timeout ?"),
        ("--tranport=ws x", "did you mean --transport ?"),
        ("--no-raise x", "did you mean --no-raise-error ?"),
        ("--zzz x", "%magic -h"),
        ("-z x", "unknown option -z (%magic -h lists the options)"),
        ("x -s", "-s needs a value: -s NAME|URL"),
        ("--server --quiet x", "--server needs a value"),
        ("--transport", "--transport needs a value: --transport TRANSPORT"),
        ("--transport pigeon x", "--transport takes auto, zmq or ws, not 'pigeon' (%magic -h lists the options)"),
        ("--quiet=yes x", "-q/--quiet takes no value (%magic -h lists the options)"),
        ("--timeout abc x", "'abc' is not a duration: use seconds (30), 5m or 2h, or leave --timeout out (%magic -h"),
    ],
)
def test_a_bad_option_is_one_line_that_says_what_to_do(parser: MagicParser, line: str, says: str) -> None:
    for parse in (parser.parse_line, parser.parse_head):
        if parse == parser.parse_head and line.startswith("x"):
            continue
        with pytest.raises(BadOption) as raised:
            parse(line)
        assert says in str(raised.value)
        assert "\n" not in str(raised.value)


def test_no_option_is_guessed_from_its_beginning(parser: MagicParser) -> None:
    with pytest.raises(BadOption, match="did you mean --server"):
        parser.parse_line("--serve lab x")


def test_help_is_given_when_wanted(parser: MagicParser) -> None:
    for line in ("-h", "--help", "x -h", "-q --help"):
        with pytest.raises(HelpWanted, match="%%magic \\[options\\] MATCH") as raised:
            parser.parse_line(line)
        assert "100 % of it" in str(raised.value)
    assert "-s NAME|URL" in str(raised.value)
    # help wins over what is missing
    with pytest.raises(HelpWanted):
        parser.parse_head("-h")


@given(line=st.text() | st.text(alphabet="-=qs '\"$x\\h{}%-"))
def test_no_line_raises_anything_but_bad_input(line: str) -> None:
    parser = make_parser()
    for parse in (parser.parse_line, parser.parse_head):
        try:
            parse(line)
        except BadInput as problem:
            assert isinstance(problem, HelpWanted) or "\n" not in str(problem)


@given(words=st.lists(st.sampled_from(PIECES)))
def test_no_mixture_of_options_raises_anything_but_bad_input(words: list[str]) -> None:
    parser = make_parser()
    for parse in (parser.parse_line, parser.parse_head):
        with contextlib.suppress(BadInput):
            parse(" ".join(words))


# -- times


@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "1e99", "abc"])
def test_a_bad_time_in_a_line_is_a_bad_option(parser: MagicParser, text: str) -> None:
    with pytest.raises(BadOption) as raised:
        parser.parse_line(f"--timeout={text} x")
    assert "\n" not in str(raised.value)
    assert repr(text) in str(raised.value)


def test_a_negative_time_is_explained_as_a_time(parser: MagicParser) -> None:
    with pytest.raises(BadOption, match=r"is not a duration|needs a value"):
        parser.parse_line("--timeout -1 x")


# -- what the cursor stands in


def slot(marked: str, *, only_head: bool = False) -> tuple[str, str, str] | None:
    """Return the kind, what is typed, and what would be replaced, for a cursor that is written as ‸."""
    line, cursor = marked.replace("‸", ""), marked.index("‸")
    found = remote_parser().slot_at(line, cursor, only_head=only_head)
    return None if found is None else (found.kind, found.typed, line[found.start : cursor])


@pytest.mark.parametrize(
    ("marked", "found"),
    [
        ("‸", ("match", "", "")),
        (" ‸", ("match", "", "")),
        (" no‸", ("match", "no", "no")),
        (" n‸orth", ("match", "n", "n")),
        (" my no‸", ("match", "my no", "my no")),
        (' "my no‸', ("match", "my no", '"my no')),
        (" 'my no'‸", ("match", "my no", "'my no'")),
        (" north, so‸", ("match", "north, so", "north, so")),
        (" -‸", ("option", "-", "-")),
        (" --ti‸", ("option", "--ti", "--ti")),
        (" north ‸", ("option", "", "")),
        (" north --q‸", ("option", "--q", "--q")),
        (" -s ‸", ("value", "", "")),
        (" -s la‸ x", ("value", "la", "la")),
        (' -s "la‸', ("value", "la", '"la')),
        (" --if-busy=fa‸", ("value", "fa", "fa")),
        (" -s lab no‸", ("match", "no", "no")),
        (" -q -- -odd‸", ("match", "-odd", "-odd")),
        (" --nosuch x ‸", None),
        (" north # no‸", None),
        (" -q ‸", ("match", "", "")),
    ],
)
def test_what_the_cursor_stands_in(marked: str, found: tuple[str, str, str] | None) -> None:
    assert slot(marked) == found


def test_behind_the_first_word_of_a_line_with_code_nothing_is_offered() -> None:
    assert slot(" no‸ df", only_head=True) == ("match", "no", "no")
    assert slot(" north df.‸", only_head=True) is None and slot(" north ‸", only_head=True) is None


@given(st.text(alphabet=" \"'-=a#,s\t", max_size=20), st.integers(0, 20), st.booleans())
def test_what_it_stands_in_ends_at_the_cursor(line: str, cursor: int, only_head: bool) -> None:
    cursor = min(cursor, len(line))
    found = remote_parser().slot_at(line, cursor, only_head=only_head)
    assert found is None or (0 <= found.start <= cursor and found.typed.strip("\"'") in line)


def test_options_that_begin_so() -> None:
    parser = remote_parser()
    assert parser.options_from("--ti") == ["--timeout"] and parser.options_from("--nosuch") == []
    every = parser.options_from("-")
    assert every[0].startswith("--") and every[-1] == "-s" and len(every) == len(set(every))


@pytest.mark.parametrize(
    ("line", "head"),
    [(" -q north df", " -q north"), (" 'a b' c", " 'a b'"), (" -s lab", None), (" --nosuch x y", None), ("", None)],
)
def test_where_the_head_of_a_line_with_code_ends(line: str, head: str | None) -> None:
    end = remote_parser().head_of(line)
    assert (None if end is None else line[:end]) == head
