"""`tests/F/test_X.py` tests `kernel_bridge_magic/F/X.py`: each module has its file, and each file its module."""

from __future__ import annotations

from pathlib import Path

import kernel_bridge_magic

PACKAGE = Path(kernel_bridge_magic.__file__).parent
TESTS = Path(__file__).parent
#: Modules without a test file of their name, and why.
UNTESTED = {
    "__main__.py": "three lines for a process: every test of the command line goes through them",
    "protocol/events.py": "dataclasses without a method",
    "remote_code/r_nodes.py": "`remote_code/test_languages.py` has its values, with the requests that carry them",
}
#: Test files in a folder of the package that test more than one module of it, and what they test.
FOLDER_WIDE = {
    "cli/test_get_put.py": "`variables` and `files`, as processes that somebody starts",
    "connection/test_drawing.py": "`subshells`, and the guard over there, beside a cell that draws",
    "remote_code/test_there.py": "what `remote_code/there` has, as the other kernel runs it",
    "transfer/test_environments.py": "the codec, between two environments with other versions of every library",
}
#: Folders of tests that go through the whole package, from one end to the other.
WHOLE = {"benchmarks", "browser", "faults", "real", "security", "support"}


def modules_of(path: Path) -> list[Path]:
    """What a test file may test: the module of its name, or what stands there for the other kernel."""
    module = PACKAGE / path.with_name(path.name[5:])
    return [module, module.parent / "there" / module.name]


def mirrored() -> set[str]:
    """The modules that are to have a test file, by their path in the package."""
    modules = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {path.as_posix() for path in modules if "there" not in path.parts} - set(UNTESTED)


def test_each_module_has_a_test_file_of_its_name() -> None:
    assert not [it for it in sorted(mirrored()) if not (TESTS / it).with_name(f"test_{Path(it).name}").exists()]


def test_each_test_file_in_a_folder_of_the_package_has_its_module() -> None:
    files = {path.relative_to(TESTS) for path in TESTS.glob("*/**/test_*.py")}
    mirrors = [path for path in sorted(files) if path.parts[0] not in WHOLE and path.as_posix() not in FOLDER_WIDE]
    assert not [str(path) for path in mirrors if not any(map(Path.exists, modules_of(path)))]


def test_no_exception_outlives_its_reason() -> None:
    for name in UNTESTED:
        assert (PACKAGE / name).exists()
        assert not (TESTS / name).with_name(f"test_{Path(name).name}").exists()
    assert all((TESTS / name).exists() for name in FOLDER_WIDE)
