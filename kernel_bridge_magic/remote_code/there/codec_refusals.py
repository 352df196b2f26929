# What is said where a value cannot be copied. It runs behind codec.py, in the same namespace.

from collections import abc

HINTS = {}  # by the first part of a type's module, and its name: what to do with its values
SHOWN = 200  # characters of a path
SPOKEN = ("datetime", "decimal", "numpy", "pandas", "uuid")  # modules whose values say in short what they are


class Refused(Exception):
    """A value that cannot be copied, or a message that no other side of ours has written.

    `what` is the end of a sentence whose subject is the value: "is of the type Foo, which cannot be copied". `remedy`
    is what to do, in which `{}` stands for the value. `path` leads from the variable to the value: "model['a'][3]".
    `is_final` is whether a pickle is no way out.
    """

    def __init__(self, what, remedy="", is_final=False):
        Exception.__init__(self, what)
        self.what = what
        self.remedy = remedy
        self.is_final = is_final
        self.steps = []  # the innermost first

    def within(self, step):
        """Return this error, seen from one container further out."""
        self.steps.append(step)
        return self

    @property
    def path(self):
        """The steps to the value. Of many, the outermost and the innermost: the first is the name of the variable."""
        steps = self.steps[::-1]
        if sum(map(len, steps)) <= SHOWN:
            return "".join(steps)
        first, last = steps[:1], []
        for step in steps[:0:-1]:
            if sum(map(len, last)) + len(step) > SHOWN // 2:
                break
            last.insert(0, step)
        for step in steps[1 : len(steps) - len(last)]:
            if sum(map(len, first)) + len(step) > SHOWN // 2:
                break
            first.append(step)
        return "".join(first + ["…"] + last)


class TooLarge(Refused):
    """More bytes than are allowed: `size` at least."""

    def __init__(self, size, limit):
        Refused.__init__(self, "is larger than %d bytes" % limit, is_final=True)
        self.size = size


class TooLong(Refused):
    """More work than anybody should wait for. The variable as a whole is that, and none of its parts."""

    def __init__(self):
        what = "has so many parts that it takes longer than %d s to copy it" % COPYING_SECONDS
        Refused.__init__(self, what, "copy it as an array or a table, or a part of it", is_final=True)

    def within(self, step):
        self.steps = [step]
        return self


class Cycle(Refused):
    """A container that stands within itself: `container`."""

    def __init__(self, container):
        Refused.__init__(self, "contains itself, and cannot be copied")
        self.container = container


def is_of_library(problem):
    """Return whether an error is one of a library, and not Ctrl-C or the end of the process."""
    # What Rust raises where it did not expect something is no `Exception` in Python.
    return isinstance(problem, Exception) or type(problem).__name__ == "PanicException"


def refused_for(problem, what):
    """Return what an error of a library means for the value that it was given: `what`.

    Its text is not passed on: it may be the other side's. What is no error of the library, such as Ctrl-C, is raised
    again as it is.
    """
    if isinstance(problem, Refused):
        return problem
    if not is_of_library(problem):
        raise problem
    if isinstance(problem, MemoryError):
        return Refused("needs more memory than there is", is_final=True)
    if isinstance(problem, RecursionError):
        return Refused("is nested deeper than %d levels, and cannot be copied" % DEPTH)
    if isinstance(problem, RuntimeError) and "during iteration" in str(problem):
        # Another thread works on a dict or set.
        return Refused("has changed while it was copied", "try again", is_final=True)
    return Refused("%s (%s)" % (what, type(problem).__name__[:60]))


# -- words for values and types


def name_of(kind):
    """Return what users call a type: `torch.Tensor`, `dict`."""
    return kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else "%s.%s" % (
        kind.__module__.partition(".")[0], kind.__qualname__)  # fmt: skip


def short(key, depth=0):
    """Return a key as it stands in an error: as it is written in Python, or `<Own>` where that may be anything."""
    kind = type(key)
    if kind in (str, bytes):
        text = repr(key[:50])
    elif kind is tuple and depth < 3:
        parts = [short(part, depth + 1) for part in key[:10]]
        text = "(%s%s)" % (", ".join(parts), "," if len(key) == 1 else "")
    elif key is None or kind in (float, bool) or (kind is int and key.bit_length() < 100):
        text = repr(key)
    else:
        text = repr(key) if str(kind.__module__).partition(".")[0] in SPOKEN else "<%s>" % name_of(kind)
    return text if len(text) <= 40 else text[:39] + "…"


def remedy_for(kind):
    """Return what to do with a value of a type that has no format."""
    names = [base.__module__.partition(".")[0] + "." + base.__qualname__ for base in kind.__mro__[:-1]]
    for name in names:
        if name in HINTS:
            return HINTS[name]
    for known in (dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, complex):
        if issubclass(kind, known):
            return "copy %s({})" % known.__name__
    if hasattr(kind, "__dataclass_fields__"):
        return "copy dataclasses.asdict({})"
    for method in ("to_pandas", "to_numpy", "numpy", "tolist", "to_dict"):
        if callable(getattr(kind, method, None)):
            return "copy {}.%s()" % method
    if issubclass(kind, abc.Mapping):
        return "copy dict({})"
    # No other iterators: they may have no end.
    if issubclass(kind, (abc.Sequence, abc.Set, abc.ValuesView)) or any(name in FINITE for name in names):
        return "copy list({})"
    return "copy what you need of it, as numbers, texts, lists or arrays"


FINITE = ("builtins.generator", "builtins.map", "builtins.filter", "builtins.zip", "builtins.enumerate",
          "builtins.reversed")  # fmt: skip
HINTS.update({
    "torch.Tensor": "copy {}.numpy(force=True)",
    "xarray.DataArray": "copy {}.to_pandas()",
    "xarray.Dataset": "copy {}.to_pandas()",
    "dask.DataFrame": "copy {}.compute()",
    "dask.Array": "copy {}.compute()",
    "polars.LazyFrame": "copy {}.collect()",
    "enum.Enum": "copy {}.value",
})  # fmt: skip
