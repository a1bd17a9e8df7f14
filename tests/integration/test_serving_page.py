"""The page of the forecast server in a real browser: what it shows, forecasts, refuses, and how it looks."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.serving import IDENTIFIER, Place, Server, history, make_place, serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
SLOW = 20_000


@dataclass
class Open:
    """The page, what it complained about, and what it asked of the network."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def drop(self, text: str, name: str = "rows.csv") -> None:
        """Drop a file on its place, as a hand does."""
        self.page.evaluate(
            """([text, name]) => {
                const data = new DataTransfer();
                data.items.add(new File([text], name, {type: "text/csv"}));
                for (const kind of ["dragenter", "dragover", "drop"])
                    document.getElementById("drop").dispatchEvent(
                        new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
            }""",
            [text, name],
        )

    def rows(self) -> list[list[str]]:
        """The table of steps."""
        return [row.locator("th, td").all_inner_texts() for row in self.page.locator("#steps tbody tr").all()]

    def says(self, place: str, words: str) -> None:
        expect(self.page.locator(place)).to_contain_text(re.compile(words), timeout=SLOW)


def open_page(browser: Browser, url: str, **options: Any) -> Open:
    context = browser.new_context(accept_downloads=True, **options)
    context.set_default_timeout(SLOW)
    opened = Open(context.new_page())
    opened.page.on("console", lambda message: opened.complaints.append(message.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.goto(url)
    return opened


def text_of(columns: dict[str, list[Any]], separator: str = ",") -> str:
    rows = zip(*columns.values(), strict=True)
    return "".join(separator.join(map(str, row)) + "\n" for row in [list(columns), *rows])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = make_place(tmp_path_factory.mktemp("page") / "place")
    place.promote("GRU")
    return place


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Server]:
    with serving(place.url) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def shown(browser: Browser, server: Server) -> Iterator[Open]:
    opened = open_page(browser, server.url)
    expect(opened.page.locator("#charts canvas")).to_have_count(1, timeout=SLOW)
    yield opened
    assert opened.complaints == []
    assert {httpx.URL(url).host for url in opened.requests if not url.startswith("blob:")} == {"127.0.0.1"}
    opened.page.context.close()


def predicted(server: Server, **question: Any) -> list[dict[str, Any]]:
    answer = httpx.post(f"{server.url}/predict", json=question, timeout=30)
    assert answer.status_code == 200, answer.text
    steps: list[dict[str, Any]] = answer.json()["predictions"]
    return steps


def test_it_shows_the_model_its_forecast_and_how_it_came_to_be_served(shown: Open, server: Server) -> None:
    page = shown.page
    assert page.title() == "station: live forecasts"
    shown.says("h1", "^station: down$")
    shown.says("#lead", r"^GRU, promoted \d{4}-\d\d-\d\d \d\d:\d\d UTC for identifier run-001\.$")
    shown.says("#facts", "uses 10 rows of history, one every 10 minutes")
    shown.says("#facts", "90 %")
    shown.says("#source", "^From the end of the stored data; the last row is from 2018-02-06 21:30 UTC")
    shown.says("#promotions tbody tr.chosen", "GRU.*served now")
    assert len(shown.rows()) == 48
    page.locator("#charts .chart").focus()
    page.keyboard.press("End")
    shown.says("#charts .readout", r"^2018-02-07 05:30\s*interval .* to .*forecast ")


def test_the_length_is_chosen_by_slider_number_and_keyboard(shown: Open, server: Server) -> None:
    page = shown.page
    page.locator("#slider").fill("7")
    expect(page.locator("#steps tbody tr")).to_have_count(7, timeout=SLOW)
    shown.says("#span", "^70 minutes$")
    page.locator("#length").fill("600")
    expect(page.locator("#steps tbody tr")).to_have_count(600, timeout=SLOW)
    page.locator("#slider").focus()
    page.keyboard.press("Home")
    expect(page.locator("#steps tbody tr")).to_have_count(1, timeout=SLOW)
    page.locator("#length").fill("0")
    shown.says("#forecast-error", "^The number of steps must be a whole number from 1 to 10000\\.$")
    page.locator("#length").fill("2")
    expect(page.locator("#forecast-error")).to_be_hidden(timeout=SLOW)


def test_quantiles_are_drawn_as_a_fan_and_listed(shown: Open, server: Server) -> None:
    page = shown.page
    page.locator("#quantiles").fill("0.05, 0.25, 0.5, 0.75, 0.95")
    shown.says("#charts .legend", "0.05 to 0.95.*0.25 to 0.75")
    shown.says("#steps thead", "down, q0.05.*down, q0.95")
    page.locator("#charts .chart").focus()
    page.keyboard.press("End")
    shown.says("#charts .readout", r"^2018-02-07 05:30\s*0.05 to 0.95 .* to .*0.25 to 0.75 .*forecast ")
    page.locator("#quantiles").fill("2")
    shown.says("#forecast-error", r"^Quantiles must be numbers between 0 and 1, separated by commas\.$")
    page.locator("#quantiles").fill("")
    shown.says("#charts .legend", "90 % interval")


@pytest.mark.parametrize(
    ("separator", "change"),
    [
        (",", lambda text: text),
        (";", lambda text: "\ufeff" + text.replace("\n", "\r\n")),
        ("\t", lambda text: text.replace("time", '"Timestamp"', 1)),
        (",", lambda text: text.replace("time,down", "note,time,down", 1).replace("\n2", '\n"a, ""b""\nc",2')),
    ],
)
def test_a_dropped_file_is_forecast_from(shown: Open, server: Server, separator: str, change: Any) -> None:
    rows = history(60)
    shown.drop(change(text_of(rows, separator)))
    shown.says("#source", "^From the end of your 60 rows")
    wanted = predicted(server, inference_length=48, data=rows)
    with shown.page.expect_download() as downloading:
        shown.page.locator("#download").click()
    assert downloading.value.suggested_filename == "forecast-station-20180206T214000Z.csv"
    with Path(downloading.value.path()).open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [list(row) for row in found] == [list(step) for step in wanted]
    assert [{k: json.loads(v) for k, v in row.items() if k.startswith("down")} for row in found] == [
        {k: v for k, v in step.items() if k.startswith("down")} for step in wanted
    ]
    shown.page.locator("#stored").click()
    shown.says("#source", "^From the end of the stored data")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "^There is no data"),
        ("time,up\n2018-02-05,1\n", "^There is no column 'down': the model needs 'time', 'down', 'up'"),
        ("when,down,up\n", "^There is no column 'time'"),
        ("time,down,up\n2018-02-05,1,2\n", "^There is 1 row of values; the model needs at least 10"),
        (
            "time,down,up\n" + "2018-02-05,1,2\n" * 11 + "2018-02-06,,1\n",
            "^Row 13 has no number in column 'down': it is empty",
        ),
        (
            "time;down;up\n" + "2018-02-05;1,5;2\n" * 10,
            "^Row 2 has no number in column 'down': it says '1,5'; use a point",
        ),
        ("time,down,up\n" + "05.02.2018,1,2\n" * 10, "^Row 2 has no time in column 'time': '05.02.2018'"),
        ("time,down,up\n" + "2018-02-05,1,2\n" * 10, "^Row 1 of the history is not later than the row before it"),
        ('time,down,up\n"2018-02-05,1,2\n', "^The quotation mark that opens in row 2 is never closed"),
        ("time,down,down\n" + "2018-02-05,1,2\n" * 10, "^There is no column 'up'"),
        ("time,down,up,down\n" + "2018-02-05,1,2,3\n" * 10, "^Two columns are called 'down'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_beside_it(server: Server, browser: Browser, text: str, words: str) -> None:
    opened = open_page(browser, server.url)
    expect(opened.page.locator("#charts canvas")).to_have_count(1, timeout=SLOW)
    opened.drop(text)
    opened.says("#own-error", words)
    opened.says("#source", "^From the end of the stored data")
    assert len(opened.rows()) == 48
    opened.page.context.close()


def test_rows_are_pasted_by_keyboard_alone(shown: Open) -> None:
    page = shown.page
    page.locator("#paste summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.insert_text(text_of(history(40)))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    shown.says("#source", "^From the end of your 40 rows")


def test_names_from_data_are_text_and_no_markup(place: Place, browser: Browser, tmp_path: Path) -> None:
    shutil.copytree(place.folder, tmp_path / "place")
    other = Place(tmp_path / "place", place.config_hash)
    other.promote("PROPHET", reason="<img src=x onerror=alert(1)>", status="HELD")
    with serving(other.url) as running:
        running.wait_until_ready()
        opened = open_page(browser, running.url)
        opened.says("#promotions", r"held.*<img src=x onerror=alert\(1\)>")
        assert opened.complaints == []
        opened.page.context.close()


def test_a_promotion_is_followed_and_until_one_is_there_the_page_says_so(
    browser: Browser, place: Place, tmp_path: Path
) -> None:
    other = Place(tmp_path / "place", place.config_hash)
    for name in ("processed-data", "dataset"):
        for info in place.store.list(name):
            other.store.put(name, info.key, place.store.get(name, info.key)[0])
    with serving(other.url) as running:
        opened = open_page(browser, running.url)
        opened.says("h1", "^No model yet$")
        opened.says(
            "#lead", "^No model is promoted for any identifier yet; the first one will be served within seconds"
        )
        other.promote("GRU", folder=place.bundle("GRU"))
        opened.says("h1", "^station: down$")
        opened.says("#notice", "^No identifier is set, so this server serves the latest promotion of any identifier; ")
        expect(opened.page.locator("#charts canvas")).to_have_count(1, timeout=SLOW)
        opened.page.context.close()


def test_where_one_identifier_is_followed_the_page_says_nothing_of_others(browser: Browser, place: Place) -> None:
    with serving(place.url, "--identifier", IDENTIFIER) as running:
        running.wait_until_ready()
        opened = open_page(browser, running.url)
        opened.says("h1", "^station: down$")
        expect(opened.page.locator("#notice")).to_be_hidden()
        opened.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Browser, server: Server, scheme: Any) -> None:
    opened = open_page(browser, server.url, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    expect(opened.page.locator("#charts canvas")).to_have_count(1, timeout=SLOW)
    opened.drop("nothing of use " * 40)
    opened.says("#own-error", "There is no column")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    colours = {opened.page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor")}
    assert colours == (
        {"rgb(23, 27, 34)", "rgb(244, 246, 248)"} if scheme == "light" else {"rgb(233, 236, 241)", "rgb(16, 19, 24)"}
    )
    opened.page.context.close()


def test_its_files_are_sent_once_and_forbid_what_it_does_not_need(server: Server) -> None:
    first = httpx.get(server.url)
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'; script-src 'self'" in first.headers["content-security-policy"]
    assert "<script>" not in first.text
    for path in ["/", *re.findall(r'(?:href|src)="(static/[^"]+)"', first.text)]:
        answer = httpx.get(f"{server.url}/{path.lstrip('/')}")
        assert answer.status_code == 200
        again = httpx.get(answer.request.url, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
