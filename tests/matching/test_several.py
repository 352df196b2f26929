"""From a MATCH to several kernels, and what each is called among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.errors import AmbiguousKernel, BadInput, BadMatch, KernelNotFound, OwnKernel
from kernel_bridge_magic.matching.find import find_one
from kernel_bridge_magic.matching.several import find_several, headings_of, is_list, keys_of
from kernel_bridge_magic.models import Kernel, Server
from tests.support.matches import ALL, ANALYSIS, CAFE, CONSOLE, GPU, LAB, OTHER, OWN, STATS, kernel, listings, queries

BETA = kernel(1, "beta.ipynb")
BETA1, BETA2 = kernel(2, "students/beta1.ipynb"), kernel(3, "students/Beta2.ipynb")
COMMA = kernel(4, "a,b.ipynb")
STAR = kernel(5, "beta[1].ipynb")
CLASS = [BETA, BETA1, BETA2, OWN]


@pytest.mark.parametrize(
    ("query", "kernels", "found"),
    [
        ("beta", CLASS, [BETA]),  # the first level that fits, as everywhere
        ("bet", CLASS, [BETA, BETA1, BETA2]),
        ("students", CLASS, [BETA1, BETA2]),
        ("beta*", CLASS, [BETA, BETA1, BETA2]),
        ("students/*", CLASS, [BETA1, BETA2]),
        ("BETA?", CLASS, [BETA1, BETA2]),
        ("beta[12]", CLASS, [BETA1, BETA2]),
        ("beta[1]", [*CLASS, STAR], [STAR]),  # as it stands it is a name
        ("beta[1]", CLASS, [BETA1]),
        ("beta2,beta", CLASS, [BETA, BETA2]),  # in the order of the listing
        ("beta1, 'beta2'", CLASS, [BETA1, BETA2]),
        ("a,b", [COMMA, ANALYSIS], [COMMA]),
        ("python3", ALL, [ANALYSIS, OTHER, CAFE]),  # this kernel is left out
        ("*", ALL, [ANALYSIS, OTHER, STATS, CAFE, CONSOLE]),
        ("lab::*", ALL, [ANALYSIS, OTHER, STATS]),
        ("re:^work/", ALL, [ANALYSIS, OTHER]),
        ("CAFE*", ALL, [CAFE]),
        ("stats,gpu::*", ALL, [STATS, CAFE]),
    ],
)
def test_all_that_a_match_means(query: str, kernels: list[Kernel], found: list[Kernel]) -> None:
    assert find_several(query, kernels) == found


def test_each_item_of_a_list_means_one_kernel_or_is_a_glob() -> None:
    assert find_several("beta1,beta2", CLASS, every=False) == [BETA1, BETA2]
    assert find_several("beta*,analysis", [*CLASS, ANALYSIS], every=False) == [BETA, BETA1, BETA2, ANALYSIS]
    with pytest.raises(AmbiguousKernel, match=r"^'students' matches 2 kernels, and an item of a list must match one"):
        find_several("beta,students", CLASS, every=False)
    assert find_several("beta,students", CLASS) == [BETA, BETA1, BETA2]


def test_an_item_that_means_nothing_is_named() -> None:
    for every in (True, False):
        with pytest.raises(KernelNotFound, match=r"^no running kernel matches 'gamma'"):
            find_several("beta,gamma", CLASS, every=every)
    with pytest.raises(KernelNotFound, match=r"^no running kernel matches 'gamma\*'"):
        find_several("gamma*", CLASS)
    with pytest.raises(OwnKernel):
        find_several("mine", CLASS)
    with pytest.raises(OwnKernel):
        find_several("beta,mine", CLASS, every=False)
    with pytest.raises(KernelNotFound):
        find_several("*", [OWN])
    for query in ("beta,", ",beta", "beta,,beta1", "beta, ,beta1"):  # as where `north, west` has a blank
        with pytest.raises(BadMatch, match="is a list with an empty item: write it without blanks"):
            find_several(query, CLASS, every=False)
    with pytest.raises(BadMatch, match="too long"):
        find_several("*a" * 101, CLASS)


def test_a_hostile_glob_takes_no_time() -> None:
    assert find_several("*a" * 100, [kernel(1, "a" * 4000), ANALYSIS]) == [kernel(1, "a" * 4000)]
    with pytest.raises(KernelNotFound):
        find_several("*a" * 99 + "*b", [kernel(1, "a" * 4000)])


@pytest.mark.parametrize(
    ("query", "answer"), [("beta", False), ("a,b", False), ("beta,beta1", True), ("x,y", True), ("re:a{1,2}", False)]
)
def test_a_list_is_what_matches_nothing_as_it_stands(query: str, answer: bool) -> None:
    assert is_list(query, [*CLASS, COMMA]) is answer


@given(queries, listings)
def test_one_kernel_is_what_find_one_means(query: str, kernels: list[Kernel]) -> None:
    try:
        found = find_several(query, kernels)
    except BadInput:
        return
    assert found and not any(it.is_this_kernel for it in found)
    assert found == [it for it in kernels if it in found]
    try:
        assert [find_one(query, kernels)] == found
    except AmbiguousKernel:
        assert len(found) > 1
    except KernelNotFound:
        assert set(query) & set("*?[")


def test_a_key_is_a_title_and_tells_apart() -> None:
    there = kernel(9, "work/analysis.ipynb", at=GPU)
    twice = kernel(10, "work/analysis.ipynb", at=GPU)
    assert keys_of([ANALYSIS, OTHER]) == ["work/analysis.ipynb", "work/other.ipynb"]
    assert keys_of([ANALYSIS, there]) == ["lab::work/analysis.ipynb", "gpu::work/analysis.ipynb"]
    assert keys_of([ANALYSIS, there, twice]) == ["lab::work/analysis.ipynb", there.id, twice.id]
    assert keys_of([CONSOLE]) == ["jupyter console"]


def test_a_heading_is_a_stem_where_that_tells_apart() -> None:
    north, south = kernel(1, "a/north.ipynb"), kernel(2, "a/south.ipynb")
    other, upper = kernel(3, "b/north.ipynb"), kernel(4, "b/South.py")
    assert headings_of([north, south]) == ["north", "south"]
    assert headings_of([north, south, other]) == ["a/north", "south", "b/north"]
    assert headings_of([south, upper]) == ["a/south", "b/South.py"]
    assert headings_of([north, kernel(9, "a/north.ipynb", at=GPU)]) == ["lab::a/north", "gpu::a/north"]
    assert headings_of([CONSOLE]) == ["jupyter console"]


def test_a_title_that_looks_like_a_place_or_an_id_is_told_apart() -> None:
    here, there = kernel(1, "x", at=GPU), kernel(2, "x", at=LAB)
    third = kernel(3, "lab::x", at=GPU)
    assert keys_of([here, there, third]) == ["gpu::x", there.id, "gpu::lab::x"]
    assert len(set(headings_of([here, there, third]))) == 3
    twice = kernel(4, "x", at=GPU)
    named = kernel(5, twice.id, at=LAB)
    assert keys_of([here, twice, named]) == [here.id, "gpu::" + twice.id, "lab::" + twice.id]
    same = kernel(1, "x", at=GPU)
    assert len(set(keys_of([here, same]))) == 2


paths = st.sampled_from(
    ["x", "lab::x", "gpu::lab::x", "X", "a/x.ipynb", "x.ipynb", "this machine::x", "1 (1)", "1", "2"]
)
ids = st.sampled_from(["1", "2", "x", "lab::x", "1 (1)", "1 (2)"])


@given(
    st.lists(
        st.tuples(ids, paths | st.text("ab/.,*N:", min_size=1, max_size=6), st.sampled_from([LAB, GPU, None])),
        max_size=8,
    )
)
def test_no_two_kernels_have_one_key_or_heading(known: list[tuple[str, str, Server | None]]) -> None:
    kernels = [kernel(0, path, at=at, id=it) for it, path, at in known]
    for names in (keys_of(kernels), headings_of(kernels)):
        assert len(set(names)) == len(kernels)


@given(listings)
def test_nor_have_any_others(kernels: list[Kernel]) -> None:
    for names in (keys_of(kernels), headings_of(kernels)):
        assert len(set(names)) == len(kernels) and all(names)
