"""Alert rules, dashboard and docs/operations.md: they agree with each other; tests/integration asks the services."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.support.metrics import documented

OBSERVABILITY = Path(__file__).parents[3] / "deploy" / "observability"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((OBSERVABILITY / "grafana" / "dashboards" / "flts.json").read_text())
# Of Prometheus itself, and the parts of a histogram.
GIVEN = {"up"}
PART = re.compile(r"_(bucket|sum|count)$")


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    yield from (annotation["expr"] for annotation in DASHBOARD["annotations"]["list"])


def metrics(expression: str) -> set[str]:
    """Parse an expression, and return the metrics that it reads."""
    parsed = promql_parser.parse(expression.replace("$__rate_interval", "1m"))
    return {
        match for match in re.findall(r"[a-zA-Z_]\w*", parsed.prettify()) if re.match(r"(flts_|SeaweedFS_|up$)", match)
    }


@pytest.mark.parametrize("expression", list(expressions()))
def test_every_expression_reads_metrics_that_the_docs_explain(expression: str) -> None:
    read = metrics(expression)

    assert read
    assert {PART.sub("", name) for name in read} - GIVEN <= set().union(*documented().values())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_the_docs_what_to_do(root: Path, rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"].endswith(".")
    assert f"\n### {rule['alert']}\n" in (root / "docs" / "operations.md").read_text()


def test_the_docs_explain_no_alert_that_is_gone(root: Path) -> None:
    headings = re.findall(r"^### (\w+)$", (root / "docs" / "operations.md").read_text(), re.MULTILINE)

    assert headings == [rule["alert"] for rule in RULES]


def test_panels_have_their_own_places_and_the_provisioned_source() -> None:
    (source,) = yaml.safe_load((OBSERVABILITY / "grafana/provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}


def test_prometheus_asks_every_service_that_the_docs_have_metrics_of() -> None:
    config = yaml.safe_load((OBSERVABILITY / "prometheus.yaml").read_text())

    assert {job["job_name"] for job in config["scrape_configs"]} == {*documented(), "prometheus"}
    assert config["rule_files"] == ["alerts.yaml"]
