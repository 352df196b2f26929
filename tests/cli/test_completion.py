"""Tab behind `kernel-bridge`, in a real bash and a real zsh."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from kernel_bridge_magic.cli.completion import script
from kernel_bridge_magic.cli.main import main
from kernel_bridge_magic.cli.parser import parser_and_commands
from tests.support.hostile import HostileServer
from tests.support.planted import info, plant
from tests.support.servers import private_env, wait_for

LEFT = "\x02"
CANARY = "canary-71c3"
PROGRAM = [sys.executable, "-m", "kernel_bridge_magic"]
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], "bind 'set enable-bracketed-paste off'"),
    "zsh": (["-f", "-i"], "bindkey -e; unset zle_bracketed_paste"),
}
FILES = ("job one.py", "job2.py", "a:b.txt", "$x.py", "evil\x1b[31m.py", "sub/deep.py")


class Prompt:
    """A shell at a terminal, in which Tab is pressed."""

    def __init__(self, shell: str, folder: Path, setup: str, env: dict[str, str]) -> None:
        arguments, quiet = SHELLS[shell]
        more = {"HOME": str(folder), "INPUTRC": "/dev/null", "TERM": "dumb", "LC_ALL": "C.UTF-8", "HISTFILE": ""}
        self.child = pexpect.spawn(
            shell, arguments, env={**env, **more}, cwd=str(folder), dimensions=(50, 400), encoding="utf-8", timeout=30
        )
        self.child.delaybeforesend = None
        words = folder / "words"
        # What the shell makes of a line is written to a file: the screen has the echo of the line as well.
        show = f"words() {{ printf '%s\\0' \"$@\" >{words}; echo DONE$((1 + 1)); }}"
        (folder / "script").write_text(setup, "utf-8")
        (folder / "setup").write_text(f'{quiet}\neval "$(cat {folder}/script)"\n{show}\n', "utf-8")
        self.home, self._words = folder, words
        self.child.send(f". {folder}/setup; words\r")
        self.child.expect("DONE2")

    def type(self, keys: str) -> list[str]:
        """Type a line, and give the words behind the command that the shell makes of it."""
        self._press(f"{keys}\x01words \x05\r")
        return self._words.read_text("utf-8").split("\0")[1:-1]

    def tab(self, line: str) -> list[str]:
        """Type a line and Tab, and give those words."""
        return self.type(f"{line}\t")

    def listed(self, line: str) -> str:
        """Type a line, have what may stand there listed, and give the screen."""
        self._press(f"{line}\t\t\x01words \x05\r")
        return str(self.child.before)

    def _press(self, keys: str) -> None:
        self.child.send(keys)
        self.child.expect("DONE2")


def there(shell: str) -> str:
    if shutil.which(shell) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{shell} is not installed")
    return shell


@contextlib.contextmanager
def prompt_of(shell: str, folder: Path, setup: str, env: dict[str, str]) -> Iterator[Prompt]:
    prompt = Prompt(there(shell), folder, setup, env)
    try:
        yield prompt
    finally:
        prompt.child.close(force=True)


class Told:
    """A shell with our script, whose questions for names a program of the test answers; it keeps what it was asked."""

    def __init__(self, prompt: Prompt, folder: Path) -> None:
        self.type, self.tab, self.listed = prompt.type, prompt.tab, prompt.listed
        self.home = prompt.home
        self._folder = folder

    def names(self, *names: str) -> None:
        (self._folder / "names").write_text("".join(f"{name}\n" for name in names), "utf-8")
        (self._folder / "asked").write_text("")

    @property
    def asked(self) -> list[str]:
        return (self._folder / "asked").read_text("utf-8").splitlines()


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell_at_work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder, beside = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("beside it")
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    program = beside / "it's python"
    # It complains, and reads what it can: neither may be noticed.
    answers = f'#!/bin/sh\necho "$*" >>"{beside}/asked"; echo oops >&2; cat >/dev/null; cat "{beside}/names"\n'
    program.write_text(answers)
    program.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(program))
        setup = script(request.param)
    with prompt_of(request.param, folder, setup, dict(os.environ)) as prompt:
        yield Told(prompt, beside)


@pytest.fixture
def told(shell_at_work: Told) -> Told:
    shell_at_work.names()
    return shell_at_work


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kernel-bridge ex", ["exec"]),
        ("kernel-bridge compl", ["completion"]),
        ("kernel-bridge --ver", ["--version"]),
        ("jupyter-kernel-bridge serv", ["servers"]),
        ("/usr/bin/kernel-bridge serv", ["servers"]),
        ("kernel-bridge exec --tr", ["exec", "--transport"]),
        ("kernel-bridge exec --transport w", ["exec", "--transport", "ws"]),
        ("kernel-bridge exec north --if-busy f", ["exec", "north", "--if-busy", "fail"]),
        ("kernel-bridge exec -c 'a = b:c' --if-b", ["exec", "-c", "a = b:c", "--if-busy"]),
        ("kernel-bridge completion z", ["completion", "zsh"]),
        ("kernel-bridge completion --k", ["completion", "--k"]),  # for the script only
        ("kernel-bridge nonsense --j", ["nonsense", "--j"]),
    ],
)
def test_commands_options_and_choices_need_no_python(told: Told, line: str, words: list[str]) -> None:
    assert told.tab(line) == words
    assert told.asked == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kernel-bridge exec -f job2", ["exec", "-f", "job2.py"]),
        ("kernel-bridge exec -f 'job o", ["exec", "-f", "job one.py"]),
        ('kernel-bridge exec -f "job o', ["exec", "-f", "job one.py"]),
        ("kernel-bridge exec -f job\\ ", ["exec", "-f", "job one.py"]),
        ("kernel-bridge exec north -f a:", ["exec", "north", "-f", "a:b.txt"]),
        ("kernel-bridge exec -f \\$", ["exec", "-f", "$x.py"]),
        ("kernel-bridge exec -f ~/job2", ["exec", "-f", "HOME/job2.py"]),
        ("kernel-bridge put a:b x sub/d", ["put", "a:b", "x", "sub/deep.py"]),
        ("kernel-bridge get a x -o job2", ["get", "a", "x", "-o", "job2.py"]),
        ("kernel-bridge exec --ca-file sub/d", ["exec", "--ca-file", "sub/deep.py"]),
        ("kernel-bridge exec -f ev", ["exec", "-f", "ev"]),  # its name has an escape
        ("kernel-bridge exec -f zz", ["exec", "-f", "zz"]),
        ("kernel-bridge get a jo", ["get", "a", "jo"]),  # a variable
    ],
)
def test_files(told: Told, line: str, words: list[str]) -> None:
    assert [word.replace(str(told.home), "HOME") for word in told.tab(line)] == words
    assert told.asked == []


@pytest.mark.parametrize(
    ("line", "offered", "words"),
    [
        ("exec no", "north", ["exec", "north"]),
        ("exec my", "my notebook", ["exec", "my notebook"]),
        ("exec MY", "my notebook", ["exec", "my notebook"]),
        ("exec my\\ n", "my notebook", ["exec", "my notebook"]),
        ("exec 'my n", "my notebook", ["exec", "my notebook"]),
        ('exec "my n', "my notebook", ["exec", "my notebook"]),
        ("exec it", "it's", ["exec", "it's"]),
        ('exec "it', "it's", ["exec", "it's"]),
        ("exec 'it", "it's a day", ["exec", "it's a day"]),
        ("exec x", "$(touch x);`y`&z", ["exec", "$(touch x);`y`&z"]),
        ("exec x", "~root", ["exec", "~root"]),
        ("exec x", "a*?[b]", ["exec", "a*?[b]"]),
        ("exec gr", "Größe 日本", ["exec", "Größe 日本"]),
        ("exec é --kernel-match no", "north", ["exec", "é", "--kernel-match", "north"]),
        ("exec a=", "a=b:c", ["exec", "a=b:c"]),
        ("exec a=b:", "a=b:c d", ["exec", "a=b:c d"]),
        ("exec u@", "u@h", ["exec", "u@h"]),
        ("exec lab::no", "lab::north west", ["exec", "lab::north west"]),
        ('exec "lab::no', "lab::north west", ["exec", "lab::north west"]),
        ("exec la", "lab::", ["exec", "lab::"]),
        ("exec no -c 1" + 5 * LEFT, "north", ["exec", "north", "-c", "1"]),
        ("exec  -c 1" + 5 * LEFT, "north", ["exec", "north", "-c", "1"]),
        ("exec -j 4 --all st", "students", ["exec", "-j", "4", "--all", "students"]),
        ("list no", "north", ["list", "north"]),
        ("interrupt no", "north", ["interrupt", "north"]),
        ("get no", "north", ["get", "north"]),
        ("servers --check la", "lab", ["servers", "--check", "lab"]),
        ("servers --remove la", "my lab", ["servers", "--remove", "my lab"]),
    ],
)
def test_a_name_survives_whole(told: Told, line: str, offered: str, words: list[str]) -> None:
    told.names(offered)
    assert told.tab(f"kernel-bridge {line}") == words
    assert "oops" not in told.listed("kernel-bridge list zz")


def test_a_server_s_name_waits_for_the_rest(told: Told) -> None:
    told.names("lab::")
    assert told.type("kernel-bridge exec la\tx") == ["exec", "lab::x"]


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        ("exec 'my n", "kernels=my n"),
        ("exec my\\ n", "kernels=my n"),
        ("exec lab::no", "kernels=lab::no"),
        ("exec ", "kernels="),
        ("servers --check la", "servers=la"),
    ],
)
def test_what_is_asked(told: Told, line: str, asks: str) -> None:
    told.names("a name")
    told.tab(f"kernel-bridge {line}")
    assert set(told.asked) == {f"-P -m kernel_bridge_magic completion --{asks}"}


def test_several_names_are_listed_and_what_they_share_is_put(told: Told) -> None:
    told.names("north east", "north west", "norway")
    assert told.tab("kernel-bridge exec n") == ["exec", "nor"]
    assert "norway" in told.listed("kernel-bridge exec nor")


@pytest.mark.parametrize("line", ["exec --base-url http://h/ --token env:T no", "exec --base-url=http://h/ no"])
def test_a_server_that_is_named_by_its_url_is_not_asked(told: Told, line: str) -> None:
    told.names("north")
    assert told.tab(f"kernel-bridge {line}")[-1] == "no"
    assert told.asked == []


@pytest.mark.parametrize(
    ("line", "offered", "words"),
    [
        ("exec --transport=w", "", ["exec", "--transport=ws"]),
        ("exec --transport=ws --if-b", "", ["exec", "--transport=ws", "--if-busy"]),
        ("exec --code-file=su", "", ["exec", "--code-file=sub/"]),
        ("exec --kernel-match=no", "north west", ["exec", "--kernel-match=north west"]),
        ("exec --kernel-match=lab::no", "lab::north west", ["exec", "--kernel-match=lab::north west"]),
        ("exec -j4 no", "north", ["exec", "-j4", "north"]),
    ],
)
@pytest.mark.parametrize("shell_at_work", ["bash"], indirect=True)  # shtab's script for zsh does not
def test_bash_completes_values_behind_an_equals_sign(told: Told, line: str, offered: str, words: list[str]) -> None:
    told.names(*filter(None, [offered]))
    assert told.tab(f"kernel-bridge {line}") == words


def test_no_control_character_behind_a_redirection(tmp_path: Path) -> None:
    (tmp_path / "evil\x1b[31m").touch()
    (tmp_path / "every").touch()
    line = "kernel-bridge list > ev"
    given = f"COMP_WORDS=({line.replace('>', chr(39) + '>' + chr(39))}) COMP_CWORD=3 COMP_LINE='{line}' COMP_POINT=23"
    code = f"{script('bash')}\n{given}; _kernel_bridge; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "every\n"


# -- the names themselves, with Python


KERNELS = (
    "work/north.ipynb",
    "my notebook.ipynb",
    "it's.ipynb",
    "pay$day.ipynb",
    "evil\x1b]0;x\x07.ipynb",
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a user whose server has these notebooks open."""
    env = private_env(tmp_path)
    with HostileServer() as server:
        server.kernels = [
            {"id": f"{number}f9c1c0e-{CANARY[-4:]}", "name": "python3", "execution_state": "idle", "connections": 1}
            for number in range(len(KERNELS))
        ]
        server.sessions = [
            {"id": str(number), "path": path, "name": path, "type": "notebook", "kernel": kernel}
            for number, (path, kernel) in enumerate(zip(KERNELS, server.kernels, strict=True))
        ]
        plant(Path(env["JUPYTER_RUNTIME_DIR"]), info(server.port, token=CANARY))
        yield env


def names(env: dict[str, str], *arguments: str, closed: str = "") -> list[str]:
    line = f'exec "$@" {closed}'
    done = subprocess.run(
        ["bash", "-c", line, "bash", *PROGRAM, "completion", *(arguments or ("--kernels=",))],
        env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr, CANARY in done.stdout) == (0, "", False)
    return done.stdout.splitlines()


def found(env: dict[str, str], *arguments: str, closed: str = "") -> list[str]:
    """Names, asked for until there are some: a machine that is busy may need more than the second that each has."""
    return list(wait_for(lambda: names(env, *arguments, closed=closed), "names", 60))


def test_names_are_the_shortest_and_harmless(served: dict[str, str], tmp_path: Path) -> None:
    def state() -> dict[str, int]:
        return {str(it): it.stat().st_mtime_ns for it in tmp_path.rglob("*") if not stat.S_ISDIR(it.stat().st_mode)}

    before = state()
    ids = [f"{number}f9c1c0e" for number in (3, 4)]  # those names are not for a shell, or a terminal
    assert sorted(found(served)) == sorted(["north", "my notebook", "it's", *ids])
    assert found(served, "--kernels=NOTE", closed="<&-") == ["my notebook"]
    assert names(served, "--kernels=zz") == [] and names(served, "--kernels=o") == []  # in several, at the head of none
    assert state() == before


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_real_shell_asks_for_real_names(shell: str, served: dict[str, str], tmp_path: Path) -> None:
    setup = f'eval "$({sys.executable} -m kernel_bridge_magic completion {shell})"'
    with prompt_of(shell, tmp_path, setup, served) as it:
        wait_for(lambda: it.tab("kernel-bridge exec my") == ["exec", "my notebook"], "the name", 60)


def test_without_servers_there_are_no_names(tmp_path: Path) -> None:
    env = private_env(tmp_path)
    assert names(env) == names(env, "--servers=") == []


def test_what_hangs_or_wants_a_secret_gives_no_names_and_no_text(tmp_path: Path) -> None:
    env = private_env(tmp_path)
    file = Path(env["JUPYTER_CONFIG_DIR"], "kernel_bridge.json")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        file.write_text(json.dumps({"servers": {"lab": {"url": url}, "asks": {"url": url + "x/", "token": "ask"}}}))
        file.chmod(0o600)
        line = [*PROGRAM, "completion", "--kernels=n"]
        child = pexpect.spawn(line[0], line[1:], env=env, encoding="utf-8", timeout=60)  # it could ask: a terminal
        child.expect(pexpect.EOF)
        child.close()
        assert (child.before, child.exitstatus) == ("", 0)


def test_whatever_hangs_has_an_end(tmp_path: Path) -> None:
    code = """if True:
        import threading
        from kernel_bridge_magic.bridge.search import Search
        from kernel_bridge_magic.cli.main import main
        Search.look = lambda *_, **__: threading.Event().wait()
        main(["completion", "--kernels=n"])
    """
    line, env = [sys.executable, "-c", code], private_env(tmp_path)
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_file_of_servers_that_is_broken_says_nothing_at_a_tab(tmp_path: Path) -> None:
    env = private_env(tmp_path)
    Path(env["JUPYTER_CONFIG_DIR"], "kernel_bridge.json").write_text(f'{{"{CANARY}')
    assert names(env) == []


# -- the command


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["fish"], "kernel-bridge completion takes bash or zsh, not 'fish'"),
        ([], "which shell? Write kernel-bridge completion bash, or kernel-bridge completion zsh"),
        (["bash", "zsh"], "unexpected argument 'zsh' (kernel-bridge completion --help)"),
    ],
)
def test_other_shells_are_one_line(line: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", *line]) == 2
    assert capsys.readouterr() == ("", f"kernel-bridge: {says}\n")


def test_help_says_how_to_install_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "--help"])
    text = capsys.readouterr().out
    assert all(f'eval "$(kernel-bridge completion {shell})"' in text for shell in ("bash", "zsh"))
    assert "~/.bashrc" in text and "~/.zshrc" in text and "--kernels" not in text


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_every_command_and_option_is_in_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for name, command in parser_and_commands()[1].items():
        assert f"_shtab_kernel_bridge_{name}_option" in text
        assert all(option in text for option in re.findall(r"--[a-z-]+[a-z]", command.format_help()))


def test_only_this_command_imports_shtab() -> None:
    code = "import sys; from kernel_bridge_magic.cli.main import main; main(['list']); print('shtab' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "False"
