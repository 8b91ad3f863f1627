"""The node's metrics in a real Prometheus: it scrapes the node, loads the alert rules, answers each query of the dashboard.

Without Debian's `prometheus` here the tests that need it say skipped.
"""
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
from certificates import Authority
from harness import SOURCE, Node, Pacs, free_port, send, small_image, wait_until
from pynetdicom import AE

MONITORING = SOURCE / "config/monitoring"
needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason="Debian's prometheus is not installed")


def samples(text):
    """{'name{labels}': value} of an exposition."""
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and line[0] != "#"}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A node that has analysed and delivered something, and refused something."""
    authority = Authority(tmp_path_factory.mktemp("ca"))
    secure = {**authority.settings("node.tls", authority.issue("skelex", days=100)), "node.tls.port": free_port()}
    with Pacs() as pacs, Node(tmp_path_factory.mktemp("metrics"), secure, pacs.port) as node:
        send(node, [small_image("KNEE", seed=1)])
        send(node, [small_image("CHEST", seed=2)])
        stranger = AE(ae_title="STRANGER")
        stranger.add_requested_context("1.2.840.10008.1.1")
        assert not stranger.associate("127.0.0.1", node.port, ae_title="SKELEX").is_established
        wait_until(lambda: node.at_rest() and pacs.reports(), "the study is reported and delivered")
        yield node


def test_each_stage_is_counted(node):
    status, text = node.get("/metrics")
    assert status == 200
    found = samples(text)
    assert found["skelex_ready"] == found["skelex_config_last_reload_successful"] == 1
    assert found['skelex_stores_refused_total{status="A700"}'] == 0, "so that the first is an increase"
    assert found["skelex_oldest_waiting_seconds"] == 0
    assert found["skelex_instances_received_total"] == 2
    assert found["skelex_instances_not_analysed_total"] == 1
    assert found['skelex_instances_ended_total{outcome="analysed"}'] == 1
    assert found['skelex_associations_rejected_total{reason="calling_ae_title"}'] > 0
    assert found['skelex_deliveries_total{destination="pacs",outcome="delivered"}'] == 2, "overlay and report"
    assert found["skelex_delivered_result_seconds_count"] == 2
    assert found["skelex_delivered_result_seconds_sum"] > 1, "the quiet period of one second comes first"
    assert found["skelex_store_seconds_count"] == 2
    assert found["skelex_inference_batch_rows_count"] >= 1
    assert found["skelex_inference_batch_rows_sum"] >= 4, "three heads and a map"
    assert found['skelex_inference_batch_rows_bucket{le="+Inf"}'] == found["skelex_inference_batch_rows_count"]
    assert 0 < found['skelex_device_memory_free_bytes{device="cpu"}'] < found['skelex_device_memory_total_bytes{device="cpu"}']
    assert found["skelex_disk_free_bytes"] > found["skelex_disk_reserve_bytes"] == 16 * 2**20
    assert found["process_resident_memory_bytes"] > 2**20
    assert found["process_start_time_seconds"] == pytest.approx(time.time(), abs=3600)
    assert found['skelex_tls_certificate_left_seconds{certificate="node.tls.certificate_file"}'] == pytest.approx(100 * 86400, abs=86400)
    histogram = [value for name, value in found.items() if name.startswith("skelex_delivered_result_seconds_bucket")]
    assert histogram == sorted(histogram) and histogram[-1] == 2, "cumulative, and the last range has no end"


def test_nothing_of_a_patient_or_a_study_is_a_label(node):
    labels = set(re.findall(r'[{,](\w+)=', node.get("/metrics")[1]))
    assert labels == {"version", "reason", "kind", "outcome", "le", "model", "device", "precision", "digest", "of",
                      "destination", "certificate"} | ({"status"} & labels)


@needs_prometheus
def test_prometheus_finds_no_fault_in_names_and_rules(node):
    text = node.get("/metrics")[1]
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert lint.returncode == 0 and not lint.stderr, lint.stderr
    rules = subprocess.run(["promtool", "check", "rules", MONITORING / "alerts.yaml"], capture_output=True, text=True)
    assert rules.returncode == 0, rules.stdout + rules.stderr


@pytest.fixture(scope="module")
def prometheus(node, tmp_path_factory):
    """Asks a server that scrapes the node every second: prometheus("/api/v1/...")."""
    directory, port = tmp_path_factory.mktemp("prometheus"), free_port()
    shutil.copy(MONITORING / "alerts.yaml", directory)
    (directory / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yaml]\n"
        f"scrape_configs: [{{job_name: skelex, static_configs: [{{targets: ['127.0.0.1:{node.page}']}}]}}]\n")
    server = subprocess.Popen(["prometheus", f"--config.file={directory}/prometheus.yml",
                               f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"],
                              stdout=subprocess.DEVNULL, stderr=open(directory / "log", "wb"))

    def ask(path, **query):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(query)}") as answer:
                return json.load(answer)["data"]
        except OSError as error:
            if getattr(error, "code", 503) != 503:  # A query that it does not take; 503: not ready yet.
                raise AssertionError(f"{query}: {error.read().decode()}") from error
            return None

    def values(expression):
        return [float(each["value"][1]) for each in (ask("/api/v1/query", query=expression) or {"result": []})["result"]]

    try:
        wait_until(lambda: values("count_over_time(skelex_ready[1m])") > [2], "three scrapes", 60)
        ask.values = values
        yield ask
    finally:
        server.terminate()
        server.wait()


@needs_prometheus
def test_each_query_of_the_dashboard_has_an_answer(prometheus):
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    assert len(dashboard["panels"]) >= 15
    for panel in dashboard["panels"]:
        answered = 0
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            answered += len(prometheus("/api/v1/query", query=expression)["result"])
        assert answered, f"{panel['title']}: {[target['expr'] for target in panel['targets']]} find nothing"


def names_in(expression):
    return set(re.findall(r"\b(?:skelex|process)_\w+", expression))


@needs_prometheus
def test_rules_name_what_the_node_shows_and_are_quiet_while_all_is_well(node, prometheus):
    groups = wait_until(lambda: (g := prometheus("/api/v1/rules")["groups"]) and all(
        rule["health"] == "ok" for group in g for rule in group["rules"]) and g, "every rule was evaluated", 30)
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) >= 10
    shown = {name.split("{")[0] for name in samples(node.get("/metrics")[1])}
    for rule in rules:
        assert names_in(rule["query"]) <= shown, rule["name"]
        assert rule["annotations"]["action"], rule["name"]
    loud = {rule["name"] for rule in rules if rule["state"] == "firing"}
    assert loud <= {"SkelexUnknownPeers"}, "the stranger is one; else nothing is wrong here"


@needs_prometheus
def test_a_full_disk_and_a_parked_delivery_raise_their_alerts(tmp_path, prometheus):
    for expression, name in (("skelex_disk_free_bytes < skelex_disk_reserve_bytes", "SkelexDiskFull"),
                             ("skelex_deliveries_parked > 0", "SkelexDeliveriesParked")):
        rules = [rule for group in prometheus("/api/v1/rules")["groups"] for rule in group["rules"]]
        assert next(rule for rule in rules if rule["name"] == name)["query"].replace(" ", "") == expression.replace(" ", "")
    # promtool runs the rules over made series: what they say, and after how long.
    (tmp_path / "test.yaml").write_text(f"""
rule_files: ["{MONITORING}/alerts.yaml"]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'skelex_disk_free_bytes{{instance="a"}}', values: '5x20'}}
      - {{series: 'skelex_disk_reserve_bytes{{instance="a"}}', values: '9x20'}}
      - {{series: 'skelex_deliveries_parked{{instance="a"}}', values: '0 0 3x20'}}
      - {{series: 'skelex_ready{{instance="a"}}', values: '0x20'}}
      - {{series: 'skelex_tls_certificate_left_seconds{{instance="a",certificate="node.tls.certificate_file"}}', values: '40000x20'}}
      - {{series: 'up{{job="skelex",instance="a"}}', values: '0x20'}}
      - {{series: 'skelex_instances_waiting{{instance="a"}}', values: '7x40'}}
      - {{series: 'skelex_instances_ended_total{{instance="a",outcome="analysed"}}', values: '3x40'}}
    promql_expr_test:
      - expr: count by (alertname) (ALERTS{{alertstate="firing"}})
        eval_time: 10m
        exp_samples:
          - {{labels: '{{alertname="SkelexDown"}}', value: 1}}
          - {{labels: '{{alertname="SkelexNotReady"}}', value: 1}}
          - {{labels: '{{alertname="SkelexDiskFull"}}', value: 1}}
          - {{labels: '{{alertname="SkelexDeliveriesParked"}}', value: 1}}
          - {{labels: '{{alertname="SkelexCertificateEnds"}}', value: 1}}
          - {{labels: '{{alertname="SkelexCertificateEnded"}}', value: 1}}
""")
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "test.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# Each metric as it looks when its alert is due; n: a node that stands still, m: one whose images all fail.
BAD_SERIES = """
up{job="skelex",instance="n"} 0x120
skelex_ready{job="skelex",instance="n"} 0x120
skelex_data_losses{job="skelex",instance="n"} 1x120
skelex_disk_free_bytes{job="skelex",instance="n"} 5x120
skelex_disk_reserve_bytes{job="skelex",instance="n"} 9x120
skelex_destination_up{job="skelex",instance="n",destination="pacs"} 0x120
skelex_deliveries_parked{job="skelex",instance="n"} 3x120
skelex_instances_waiting{job="skelex",instance="n"} 50x120
skelex_instances_ended_total{job="skelex",instance="n",outcome="analysed"} 100x120
skelex_instances_ended_total{job="skelex",instance="n",outcome="failed"} 7x120
skelex_instances_ended_total{job="skelex",instance="m",outcome="analysed"} 100x120
skelex_instances_ended_total{job="skelex",instance="m",outcome="failed"} 0+1x120
skelex_oldest_waiting_seconds{job="skelex",instance="n"} 0+60x120
skelex_config_last_reload_successful{job="skelex",instance="n"} 0x120
skelex_report_failures_total{job="skelex",instance="n"} 0+1x120
skelex_retention_failures_total{job="skelex",instance="n"} 0+1x120
skelex_delivered_result_seconds_bucket{job="skelex",instance="n",le="600"} 0x120
skelex_delivered_result_seconds_bucket{job="skelex",instance="n",le="1800"} 0+5x120
skelex_delivered_result_seconds_bucket{job="skelex",instance="n",le="+Inf"} 0+5x120
skelex_inference_halved_batches_total{job="skelex",instance="n"} 0+1x120
skelex_device_memory_free_bytes{job="skelex",instance="n",device="cuda:0"} 1x120
skelex_device_memory_total_bytes{job="skelex",instance="n",device="cuda:0"} 100x120
skelex_associations_rejected_total{job="skelex",instance="n",reason="tls"} 0+1x120
skelex_associations_rejected_total{job="skelex",instance="n",reason="limit"} 0+1x120
skelex_http_refused_total{job="skelex",instance="n",reason="token"} 0+5x120
skelex_tls_certificate_left_seconds{job="skelex",instance="n",certificate="node.tls.certificate_file"} 100x120
"""


@needs_prometheus
def test_every_alert_can_fire_and_none_does_while_all_is_well(tmp_path):
    alerts = re.findall(r"^ +- alert: (\w+)$", (MONITORING / "alerts.yaml").read_text(), re.M)
    assert len(alerts) == len(set(alerts)) > 15
    series = [line.rsplit(" ", 1) for line in BAD_SERIES.strip().splitlines()]
    well = {"up": "1", "skelex_ready": "1", "skelex_disk_free_bytes": "90", "skelex_destination_up": "1", "skelex_device_memory_free_bytes": "50",
            "skelex_tls_certificate_left_seconds": "9000000", "skelex_disk_reserve_bytes": "9", "skelex_device_memory_total_bytes": "100",
            "skelex_instances_waiting": "50", "skelex_config_last_reload_successful": "1"}

    def case(values, firing):
        lines = "\n".join(f"      - {{series: '{name}', values: '{value}'}}" for name, value in values)
        samples = "\n".join(f"          - {{labels: '{{alertname=\"{name}\"}}', value: 1}}" for name in firing)
        return (f"  - interval: 1m\n    input_series:\n{lines}\n    promql_expr_test:\n"
                "      - expr: count by (alertname) (count by (alertname, instance) (ALERTS{alertstate=\"firing\"})) / count by (alertname) "
                "(count by (alertname, instance) (ALERTS{alertstate=\"firing\"}))\n"
                f"        eval_time: 100m\n        exp_samples:{chr(10) + samples if firing else ' []'}\n")
    good = [(name, well.get(name.split("{")[0], "0") + ("+1x120" if 'outcome="analysed"' in name else "x120")) for name, _ in series]
    (tmp_path / "test.yaml").write_text(f"rule_files: ['{MONITORING}/alerts.yaml']\nevaluation_interval: 1m\ntests:\n" + case(series, alerts) + case(good, []))
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "test.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
