"""A click on a notebook's name in `%kernels` opens that notebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from tests.browser.lab import Lab, Page

OWN = "linked here/own.ipynb"
PATHS = ["linked here/near by.ipynb", "linked/50%20 #1 übung?.ipynb", "linked-above.ipynb"]


@pytest.fixture(scope="module")
def ids(lab: Lab) -> Iterator[dict[str, str]]:
    yield {path: lab.start(path) for path in PATHS}
    lab.end_sessions()


def listed(lab: Lab, app: str) -> Page:
    """The notebook `OWN`, which has listed the kernels."""
    lab.write(OWN, ["%load_ext kernel_bridge_magic", "%kernels"])
    page = lab.open(OWN, app)
    page.run_cells([0, 1])
    page.wait_text(1, PATHS[-1])
    return page


def link(window: Any, path: str) -> Any:
    return window.locator(".kernel-bridge a:visible").filter(has_text=path)


def test_a_click_opens_the_notebook_in_jupyterlab(lab: Lab, ids: dict[str, str]) -> None:
    page = listed(lab, "lab")
    for path in PATHS:
        page.choose(OWN)
        page.do(lambda window, path=path: link(window, path).click())
        page.path = path
        page.wait_for("notebook?.context.isReady && notebook.sessionContext.session?.kernel")
        assert page.js("kernel.id") == ids[path]
    assert page.errors == []


def errors_without_us(lab: Lab, app: str) -> set[str]:
    """The JavaScript errors of a window in which nothing of ours was ever loaded: Notebook 7 has one of its own."""
    lab.write("plain.ipynb", ["1"])
    page = lab.open("plain.ipynb", app)
    page.run_cells([0])
    page.wait_text(0, "1")
    return set(page.errors)


def test_a_click_opens_the_notebook_in_notebook_7(lab: Lab, ids: dict[str, str]) -> None:
    known = errors_without_us(lab, "notebook")
    page = listed(lab, "notebook")

    def click(window: Any, path: str) -> str:
        with window.expect_popup() as popup:
            link(window, path).click()
        opened = popup.value
        opened.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell")
        url = str(opened.url)
        opened.close()
        return url

    for path in PATHS:
        url = page.do(lambda window, path=path: click(window, path))
        assert unquote(url.partition("/notebooks/")[2].partition("?")[0]) == path
    assert set(page.errors) <= known


def test_the_saved_link_is_relative_to_the_notebook_s_folder(lab: Lab, ids: dict[str, str]) -> None:
    (output,) = listed(lab, "lab").outputs(1)
    html = "".join(output["data"]["text/html"])
    assert 'href="near%20by.ipynb"' in html and 'href="../linked-above.ipynb"' in html
    assert lab.url not in html
