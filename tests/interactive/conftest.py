import pytest

from .chromium import Browser, find_chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One browser for all pages: to start one takes longer than to look at a page."""
    if find_chromium() is None:
        pytest.skip("no chromium, chromium-browser or google-chrome is installed")
    started = Browser(tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()


@pytest.fixture
def opened(browser):
    """Opens pages and, at the end, requires that nothing failed in them and closes them."""
    pages = []

    def open_page(address, **options):
        page = browser.open(address, **options)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert [failure for page in pages for failure in page.failures] == []
