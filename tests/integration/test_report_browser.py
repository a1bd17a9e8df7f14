"""The pages in a real browser: they load without a word, and their charts zoom, tell values and follow the reader."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page

from flts.report.pages import evaluation_page, forecast_page, preprocess_page, run_page, training_page, training_plots
from tests.support.reports import (
    evaluation_report,
    forecast_report,
    preprocess_report,
    run_summary,
    times,
    training_report,
)

pytestmark = pytest.mark.xdist_group("browser")
PAGES = {
    "preprocess": lambda: preprocess_page(preprocess_report(rows=20_000)),
    "training": lambda: training_page(training_report(targets=("down", "up"))),
    "plots": lambda: training_plots(training_report())["loss.html"],
    "evaluation": lambda: evaluation_page(evaluation_report()),
    "forecast": lambda: forecast_page(forecast_report()),
    "run": lambda: run_page(run_summary(), {}),
}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@dataclass
class Open:
    """A page in the browser, what it complained about, and what it asked of the network."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def chart(self, number: int = 0) -> Locator:
        return self.page.locator(".chart").nth(number)

    def readout(self, number: int = 0) -> str:
        return re.sub(r"[ \n]+", " ", self.chart(number).locator(".readout").inner_text())

    def hover(self, share: float, number: int = 0) -> str:
        """Point at a share of the plot's width, and return what the readout says."""
        self.page.mouse.move(*self.place(share, number))
        return self.readout(number)

    def drag(self, start: float, stop: float, number: int = 0) -> None:
        self.page.mouse.move(*self.place(start, number))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(stop, number), steps=3)
        self.page.mouse.up()

    def place(self, share: float, number: int = 0) -> tuple[float, float]:
        plot = self.chart(number).locator(".u-over")
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        return box["x"] + share * box["width"], box["y"] + box["height"] / 2

    def until(self, condition: str) -> None:
        """Wait for a condition in the page; Playwright's own way of waiting is what the page's policy forbids: eval."""
        for _ in range(250):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"after 5 s still not so: {condition}")

    def zoomed(self) -> list[bool]:
        return [reset.is_visible() for reset in self.page.locator(".chart .reset").all()]


@pytest.fixture(scope="module")
def desktop(browser: Browser) -> BrowserContext:
    return browser.new_context()


@pytest.fixture
def show(browser: Browser, desktop: BrowserContext, tmp_path: Path) -> Callable[..., Open]:
    def show(text: str, **options: object) -> Open:
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(**options) if options else desktop
        opened = Open(context.new_page())
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.goto(path.as_uri())
        assert opened.requests == [path.as_uri()]
        return opened

    return show


@pytest.fixture(scope="module")
def charts_page(desktop: BrowserContext, tmp_path_factory: pytest.TempPathFactory) -> Open:
    path = tmp_path_factory.mktemp("charts") / "report.html"
    path.write_text(PAGES["plots"](), encoding="utf-8")
    opened = Open(desktop.new_page())
    opened.page.goto(path.as_uri())
    return opened


def forecast_at(readout: str) -> float:
    return float(readout.split("rolling forecast ")[1].replace("\u202f", ""))


@pytest.mark.parametrize("page", PAGES)
def test_pages_load_without_complaint_or_request_and_fit_a_phone(page, show):
    opened = show(PAGES[page]())
    assert opened.page.locator("canvas").count() == opened.page.locator(".chart").count()
    for width in (1280, 390):
        opened.page.set_viewport_size({"width": width, "height": 844})
        opened.until("document.documentElement.scrollWidth <= innerWidth")
    opened.page.emulate_media(color_scheme="dark")
    assert opened.complaints == []
    assert opened.requests == opened.requests[:1]


def test_dragging_zooms_until_single_steps_can_be_read_and_a_double_click_shows_everything(show):
    opened = show(forecast_page(forecast_report(steps=4000, rolling=4000, rows=4000)))
    assert forecast_at(opened.hover(0.5)) == pytest.approx(50 + 2000, abs=5)  # its values are 50, 51, 52, ..
    opened.drag(0.5, 0.51)
    values = [forecast_at(opened.hover(0.5 + percent / 100)) for percent in range(0, 24, 2)]
    assert values == sorted(values)
    assert set(values) == set(range(int(values[0]), int(values[-1]) + 1))
    opened.page.mouse.dblclick(*opened.place(0.5))
    assert not opened.zoomed()[0]


def test_charts_over_time_zoom_and_point_together_and_others_stay(show):
    opened = show(training_page(training_report(targets=("down", "up"))))
    titles = [opened.chart(number).get_attribute("aria-label").split(".")[0] for number in range(6)]
    over_time = ["last 200 scored rows" in title for title in titles]
    assert over_time.count(True) == 2
    number = over_time.index(True)
    opened.drag(0.3, 0.6, number)
    assert opened.zoomed()[:6] == over_time
    opened.hover(0.5, number)
    readouts = [opened.chart(other).locator(".readout") for other in range(6)]
    assert [readout.is_visible() for readout in readouts] == over_time
    opened.page.mouse.move(0, 0)
    assert not any(readout.is_visible() for readout in readouts)
    opened.chart(over_time.index(True, number + 1)).locator(".reset").click()
    assert not any(opened.zoomed())


def test_values_of_any_size_and_series_of_any_length_are_drawn(show):
    report = preprocess_report(rows=40, columns=1)
    columns = {
        "constant": np.full(40, 3.5),
        "zero": np.zeros(40),
        "huge": np.linspace(-1, 1, 40) * 1e299,
        "tiny": np.linspace(0, 1, 40) * 1e-280,
        "beyond": np.linspace(-1, 1, 40) * 1e308,
        "far": 1e8 + np.linspace(0, 1, 40),
        "alone": np.where(np.arange(40) % 3, np.nan, 2.0),
    }
    series = [replace(report.series[0], name=name, values=values) for name, values in columns.items()]
    opened = show(preprocess_page(replace(report, series=series, targets=[*columns], test_series={})))
    said = [opened.hover(0.999, number).rpartition(" ")[2] for number in range(len(columns))]
    assert said[:4] == ["3.5", "0", "1.000\u00d710²⁹⁹", "1.000\u00d710⁻²⁸⁰"]
    assert said[4:] == ["", "100\u202f000\u202f001", "2"]
    single = preprocess_report(rows=1, columns=1)
    alone = show(preprocess_page(replace(single, test_time=times(0), test_series={})))
    assert "training" in alone.hover(0.5)
    assert opened.complaints == alone.complaints == []


def test_rows_drawn_as_one_point_tell_their_lowest_and_highest_value(show):
    opened = show(preprocess_page(preprocess_report(rows=200_000)))
    assert " to " in opened.hover(0.2)


def test_arrow_keys_read_values_aloud_and_escape_shows_everything(show):
    report = training_report()
    opened = show(training_page(report))
    chart, keyboard = opened.chart(), opened.page.keyboard
    chart.focus()
    said = chart.locator("[aria-live]")
    keyboard.press("ArrowRight")
    assert said.inner_text() == "epoch 1; training 0.4; validation 0.3"
    keyboard.press("ArrowRight")
    assert said.inner_text() == "epoch 2; training 0.03; validation 0.02"
    keyboard.press("End")
    assert said.inner_text().startswith("epoch 4")
    keyboard.press("+")
    assert opened.zoomed()[0]
    keyboard.press("Escape")
    assert not any(opened.zoomed())


def test_colours_follow_the_reader_s_scheme_while_the_page_is_open(show):
    opened = show(PAGES["training"]())
    light = opened.chart().screenshot()
    opened.page.emulate_media(color_scheme="dark")
    dark = opened.chart().screenshot()
    assert dark != light
    opened.page.emulate_media(color_scheme="light")
    assert opened.chart().screenshot() == light


def test_charts_take_the_width_they_are_given(show):
    opened = show(PAGES["training"]())
    for width in (1200, 500):
        opened.page.set_viewport_size({"width": width, "height": 800})
        opened.until(
            "[...document.querySelectorAll('.chart')]"
            ".every(chart => chart.querySelector('.uplot').offsetWidth === chart.clientWidth)"
        )


def test_fingers_read_zoom_and_reset_and_the_page_still_scrolls(show):
    opened = show(forecast_page(forecast_report(steps=100, rolling=100)), **PHONE)
    session = opened.page.context.new_cdp_session(opened.page)

    def touch(kind: str, *shares: float, down: float = 0) -> None:
        points = [opened.place(share) for share in shares]
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y + down, "id": n} for n, (x, y) in enumerate(points)]},
        )

    touch("touchStart", 0.5)
    touch("touchMove", 0.7)
    assert "rolling forecast" in opened.readout()
    touch("touchEnd")
    touch("touchStart", 0.4, 0.6)
    touch("touchMove", 0.2, 0.8)
    touch("touchEnd")
    assert opened.zoomed()[0]
    for _ in range(2):
        touch("touchStart", 0.5)
        touch("touchEnd")
    assert not opened.zoomed()[0]
    before = opened.page.evaluate("scrollY")
    touch("touchStart", 0.5)
    for distance in (-20, -60, -120):
        touch("touchMove", 0.5, down=distance)
    touch("touchEnd")
    opened.until(f"scrollY > {before}")


def _microseconds(*texts: str) -> list[int]:
    return [int(np.datetime64(text, "us").astype(np.int64)) for text in texts]


@pytest.mark.parametrize(
    ("call", "labels"),
    [
        ("linear(0, 1, 5)", ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ("linear(0, 533e6, 5)", ["0", "200 M", "400 M"]),
        ("linear(0, 1.6e9, 5)", ["0.0", "0.5 G", "1.0 G", "1.5 G"]),
        ("linear(990, 1040, 5)", ["990", "1 000", "1 010", "1 020", "1 030", "1 040"]),
        ("linear(-3, 3, 5)", ["\u22122", "0", "2"]),
        ("linear(0, 2.1e-8, 2)", ["0", "2\u00d710⁻⁸"]),
        ("linear(1, 3, 8, true)", ["1", "2", "3"]),
        ("logarithmic(Math.log10(0.002), Math.log10(0.05), 7)", ["0.002", "0.005", "0.01", "0.02", "0.05"]),
        ("logarithmic(-9, 9, 7)", ["1\u00d710⁻⁹", "1\u00d710⁻⁶", "0.001", "1", "1000", "1\u00d710⁶", "1\u00d710⁹"]),
        (
            "time({}, {}, 6)".format(*_microseconds("2018-02-05T22:10", "2018-02-06T04:00")),
            ["23:00\n5 Feb 2018", "00:00\n6 Feb 2018", "01:00", "02:00", "03:00", "04:00"],
        ),
        (
            "time({}, {}, 5)".format(*_microseconds("2018-02-05", "2018-03-06")),
            ["5 Feb\n2018", "12 Feb", "19 Feb", "26 Feb", "5 Mar"],  # Mondays
        ),
        (
            "time({}, {}, 4)".format(*_microseconds("2019-11-05", "2020-06-01")),
            ["Jan\n2020", "Mar", "May"],
        ),
        (
            "time({}, {}, 6)".format(*_microseconds("1949-01-01", "1961-01-01")),
            ["1950", "1952", "1954", "1956", "1958", "1960"],
        ),
    ],
)
def test_ticks_lie_at_round_numbers_and_times(call, labels, charts_page):
    ticks = charts_page.page.evaluate(f"ticks.{call}")
    assert [label.replace("\u202f", " ") for _, label in ticks] == labels


def test_any_range_has_a_few_ticks_within(charts_page):
    for low, high in ((0.0, 1e-300), (-1e300, 1e300), (1e9, 1e9 + 1), (-5e-7, 3e5)):
        values = [value for value, _ in charts_page.page.evaluate(f"ticks.linear({low}, {high}, 5)")]
        assert 2 <= len(values) <= 6
        assert all(low <= value <= high * (1 + 1e-9) for value in values)
    start = 1_517_874_000_000_000
    for span in (1, 40, 5_000, 10**6, 10**8, 10**11, 10**13, 10**15, 10**17):
        ticks = charts_page.page.evaluate(f"ticks.time({start}, {start + span}, 8)")
        assert len(ticks) <= 10
        assert all(start <= value <= start + span for value, _ in ticks)
