"""The chart's values, without a cluster.

Every wrong value is refused with its path, every value of values.yaml is in values.schema.json and the other way
round, and what is set comes where it belongs. helm is the one of tests/cluster/build.
"""

import base64
import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import promql_parser

CHECKOUT = Path(__file__).resolve().parents[2]
CHART = CHECKOUT / "charts" / "windlass"
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
PROGRAMS = subprocess.run([CHECKOUT / "tests/cluster/build"], check=True, stdout=subprocess.PIPE, text=True)
HELM = os.path.join(PROGRAMS.stdout.strip(), "helm")

# What is set, and where the refusal says that it is wrong. An unknown value is named beside the path of its parent.
WRONG = [
    ('{"gatway": {}}', "''.*gatway"),
    ('{"image": "windlass:1"}', "/image"),
    ('{"image": {"name": "windlass"}}', "/image'.*name"),
    ('{"image": {"repository": "Windlass"}}', "/image/repository"),
    ('{"image": {"tag": 1.0}}', "/image/tag"),
    ('{"image": {"tag": "a b"}}', "/image/tag"),
    ('{"image": {"digest": "sha256:12"}}', "/image/digest"),
    ('{"image": {"pullPolicy": "always"}}', "/image/pullPolicy"),
    ('{"imagePullSecrets": ["secret"]}', "/imagePullSecrets/0"),
    ('{"fullnameOverride": "Upper"}', "/fullnameOverride"),
    ('{"fullnameOverride": "' + 50 * "a" + '"}', "/fullnameOverride"),
    ('{"nameOverride": "a/b"}', "/nameOverride"),
    ('{"revisionHistoryLimit": "10"}', "/revisionHistoryLimit"),
    ('{"clusterDomain": ""}', "/clusterDomain"),
    ('{"gateway": {"replicas": -1}}', "/gateway/replicas"),
    ('{"gateway": {"replicas": 1.5}}', "/gateway/replicas"),
    ('{"gateway": {"port": 70000}}', "/gateway/port"),
    ('{"gateway": {"port": "7070"}}', "/gateway/port"),
    ('{"gateway": {"tls": {"secretname": "tls"}}}', "/gateway/tls'.*secretname"),
    ('{"gateway": {"tls": {"secretName": true}}}', "/gateway/tls/secretName"),
    ('{"gateway": {"ingress": {"enabled": "yes"}}}', "/gateway/ingress/enabled"),
    ('{"gateway": {"ingress": {"host": "https://a.example"}}}', "/gateway/ingress/host"),
    ('{"gateway": {"ingress": {"hosts": ["a.example"]}}}', "/gateway/ingress'.*hosts"),
    ('{"gateway": {"httpRoute": {"parentRefs": [{"namespace": "a"}]}}}', "/gateway/httpRoute/parentRefs/0"),
    ('{"gateway": {"tls": {"caKey": "a/b"}}}', "/gateway/tls/caKey"),
    ('{"gateway": {"tls": {"selfSigned": "no"}}}', "/gateway/tls/selfSigned"),
    ('{"gateway": {"tls": {"certManager": {"issuer": "a"}}}}', "/gateway/tls/certManager'.*issuer"),
    ('{"gateway": {"tls": {"dnsNames": ["https://a.example"]}}}', "/gateway/tls/dnsNames/0"),
    ('{"ipFamilyPolicy": "DualStack"}', "/ipFamilyPolicy"),
    ('{"ipFamilies": ["ipv6"]}', "/ipFamilies/0"),
    ('{"aggregateAuthorToAdmin": "true"}', "/aggregateAuthorToAdmin"),
    ('{"metrics": {"podMonitor": {"interval": 30}}}', "/metrics/podMonitor/interval"),
    ('{"metrics": {"serviceMonitor": {}}}', "/metrics'.*serviceMonitor"),
    ('{"metrics": {"alerts": {"labels": {"a": 1}}}}', "/metrics/alerts/labels/a"),
    ('{"networkPolicy": {"callers": [{"podselector": {}}]}}', "/networkPolicy/callers/0'.*podselector"),
    ('{"networkPolicy": {"callers": {}}}', "/networkPolicy/callers"),
    ('{"networkPolicy": {"metricsReaders": [{"ipBlock": {"cidr": "10.0.0.0"}}]}}', "/networkPolicy/metricsReaders/0/ipBlock"),
    ('{"flowSchema": {"matchingPrecedence": 0}}', "/flowSchema/matchingPrecedence"),
    ('{"gateway": {"rateLimit": "100/s"}}', "/gateway/rateLimit"),
    ('{"gateway": {"resources": {"request": {}}}}', "/gateway/resources'.*request"),
    ('{"gateway": {"resources": {"limits": {"memory": "1 GB"}}}}', "/gateway/resources/limits/memory"),
    ('{"gateway": {"resources": {"limits": {"cpus": 1}}}}', "/gateway/resources/limits'.*cpus"),
    ('{"gateway": {"nodeSelector": {"disk": true}}}', "/gateway/nodeSelector/disk"),
    ('{"gateway": {"tolerations": {"key": "a"}}}', "/gateway/tolerations"),
    ('{"gateway": {"tolerations": [{"operator": "exists"}]}}', "/gateway/tolerations/0/operator"),
    ('{"gateway": {"affinity": {"podAffinty": {}}}}', "/gateway/affinity'.*podAffinty"),
    ('{"gateway": {"topologySpreadConstraints": [{"maxSkew": 1}]}}', "/gateway/topologySpreadConstraints/0"),
    ('{"gateway": {"podLabels": {"app.kubernetes.io/name": "a"}}}', "/gateway/podLabels"),
    ('{"gateway": {"podAnnotations": {"a": 1}}}', "/gateway/podAnnotations/a"),
    ('{"gateway": {"serviceAccount": {"name": "a"}}}', "/gateway/serviceAccount'.*name"),
    ('{"gateway": {"extraEnv": {"A": "b"}}}', "/gateway/extraEnv"),
    ('{"gateway": {"extraEnv": [{"name": "A", "value": 1}]}}', "/gateway/extraEnv/0/value"),
    ('{"results": {"url": "http://bucket"}}', "/results/url"),
    ('{"results": {"secretname": "s3"}}', "/results'.*secretname"),
    ('{"results": {"env": {"AWS_ALLOW_HTTP": true}}}', "/results/env/AWS_ALLOW_HTTP"),
    ('{"results": {"claimName": 5}}', "/results/claimName"),
    ('{"results": {"blobQuota": "much"}}', "/results/blobQuota"),
    ('{"results": {"logBytes": 1048577}}', "/results/logBytes"),
    ('{"results": {"logBytes": "1Mi"}}', "/results/logBytes"),
    ('{"results": {"namespaceBlobQuota": 50000000000}}', "/results/namespaceBlobQuota"),
    ('{"controller": {"deletedNodesAreFenced": "no"}}', "/controller/deletedNodesAreFenced"),
    ('{"controller": {"requireQueue": "false"}}', "/controller/requireQueue"),
    ('{"controller": {"unschedulableTimeoutSeconds": "10s"}}', "/controller/unschedulableTimeoutSeconds"),
    ('{"controller": {"standbys": "false"}}', "/controller/standbys"),
    ('{"controller": {"manageJobs": "yes"}}', "/controller/manageJobs"),
    ('{"controller": {"operationsPort": 0}}', "/controller/operationsPort"),
    ('{"controller": {"priorityClassName": ["high"]}}', "/controller/priorityClassName"),
    ('{"worker": {"injection": "sidecar"}}', "/worker/injection"),
    ('{"worker": {"imagePullSecrets": [{"name": "a"}]}}', "/worker/imagePullSecrets/0"),
    ('{"traces": {"endpoint": "collector:4318"}}', "/traces/endpoint"),
    ('{"watchNamespace": "a,b"}', "/watchNamespace"),
    ('{"watchNamespace": ["a"]}', "/watchNamespace"),
    ('{"watchNamespaces": "a,b"}', "/watchNamespaces"),
    ('{"watchNamespaces": ["a", ""]}', "/watchNamespaces/1"),
    ('{"builtinFunctions": "no"}', "/builtinFunctions"),
    ('{"aggregateRoles": 0}', "/aggregateRoles"),
]

# Of both components, and what the pod has then.
PLACED = {
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    "priorityClassName": "high",
}

# What has a switch, switched on.
EVERYTHING = {
    "gateway": {
        "ingress": {"enabled": True, "host": "windlass.example", "tlsSecretName": "tls", "className": "nginx"},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["windlass.example"]},
    },
    "metrics": {"podMonitor": {"enabled": True}, "alerts": {"enabled": True}, "dashboard": {"enabled": True}},
    "networkPolicy": {"enabled": True, "callers": [{"namespaceSelector": {}}]},
    "flowSchema": {"enabled": True},
}


def helm(*arguments: str, values: str = "{}") -> subprocess.CompletedProcess:
    command = [HELM, *arguments, "--values", "-"]
    return subprocess.run(command, input=values, capture_output=True, text=True, timeout=60, check=False)


def release(name: str = "windlass", namespace: str = "windlass", **values) -> list[dict]:
    """The objects of a release, each as its kind, its namespace, its name and its text."""
    done = helm("template", name, str(CHART), "--namespace", namespace, values=json.dumps(values))
    assert done.returncode == 0, done.stderr
    documents = [text for text in re.split(r"^---$", done.stdout, flags=re.MULTILINE) if "kind:" in text]
    return [
        {
            "kind": re.search(r"^kind: (\S+)", text, re.MULTILINE)[1],
            "name": re.search(r"^  name: (\S+)", text, re.MULTILINE)[1],
            "namespace": (re.search(r'^  namespace: "?([^\s"]+)', text, re.MULTILINE) or [None, None])[1],
            "text": text,
        }
        for text in documents
    ]


def deployments(**values) -> dict[str, str]:
    return {one["name"]: one["text"] for one in release(**values) if one["kind"] == "Deployment"}


def keys(value, at: str = "") -> set[str]:
    """The paths of all values."""
    below = value.items() if isinstance(value, dict) else ()
    return {at}.union(*(keys(inner, f"{at}/{name}") for name, inner in below))


def schema_keys(schema: dict, at: str = "") -> set[str]:
    """The paths of all values that the schema names."""
    if schema is False:  # refused by its name
        return set()
    while "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    below = schema.get("properties", {}).items()
    return {at}.union(*(schema_keys(inner, f"{at}/{name}") for name, inner in below))


class Values(unittest.TestCase):
    def test_a_wrong_value_is_refused_with_its_path(self):
        self.assertGreaterEqual(len(WRONG), 40)
        for values, path in WRONG:
            with self.subTest(values):
                done = helm("template", "windlass", str(CHART), values=values)
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr, f"at '{path}" if path.startswith("/") else f"at {path}")

    def test_every_value_is_in_the_schema_and_every_one_of_the_schema_is_a_value(self):
        done = helm("install", "windlass", str(CHART), "--dry-run=client", "--output", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        values = keys(json.loads(done.stdout)["chart"]["values"])
        known = schema_keys(SCHEMA)
        # Helm's own, and what only those have who set it; a resource is named by Kubernetes.
        free = re.compile("/global|/.*/(affinity|resources)/.*|/metrics/.*/labels/.*|/.*/issuerRef/group")
        self.assertEqual({path for path in values - known if not free.fullmatch(path)}, set())
        self.assertEqual({path for path in known - values if not free.fullmatch(path)}, set())

    def test_every_object_of_the_schema_is_closed(self):
        def check(schema, at):
            if schema is False:
                return
            if "properties" in schema and at != "/podLabels":
                self.assertIs(schema.get("additionalProperties"), False, at)
            for part in ("properties", "definitions"):
                for name, inner in schema.get(part, {}).items():
                    check(inner, f"{at}/{name}")

        check(SCHEMA, "")

    def test_the_charts_page_is_that_of_its_values_and_says_what_each_is(self):
        page = subprocess.run([CHECKOUT / "tests/chart/readme"], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.assertEqual((CHART / "README.md").read_text(encoding="utf-8"), page, "tests/chart/readme writes it")
        self.assertEqual(re.findall(r"^\| (\S+) \|.*\|\s*\|$", page, re.MULTILINE), [])

    def test_lint_has_nothing_to_say(self):
        done = helm("lint", "--strict", str(CHART))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Rendered(unittest.TestCase):
    def test_pods_are_placed_and_named_as_the_values_say(self):
        own = {
            **PLACED,
            "podLabels": {"team": "red"},
            "podAnnotations": {"note": "two words"},
            "extraEnv": [{"name": "WINDLASS_LOG", "value": "debug"}],
            "serviceAccount": {"annotations": {"role": "reader"}},
        }
        for part in ("gateway", "controller"):
            objects = release(**{part: own}, revisionHistoryLimit=3)
            (text,) = [
                one["text"] for one in objects if (one["kind"], one["name"]) == ("Deployment", f"windlass-{part}")
            ]
            for line in [
                "nodeSelector:\n        disk: fast",
                "tolerations:\n        - effect: NoSchedule\n          key: a\n          operator: Exists",
                "affinity:\n        nodeAffinity:",
                "topologySpreadConstraints:\n        - maxSkew: 1\n          topologyKey: zone",
                "priorityClassName: high",
                "        team: red",
                "annotations:\n        note: two words",
                "            - name: WINDLASS_LOG\n              value: debug",
                "revisionHistoryLimit: 3",
            ]:
                self.assertIn(line, text, part)
            (account,) = [one["text"] for one in objects if one["kind"] == "ServiceAccount" and part in one["name"]]
            self.assertIn("annotations:\n    role: reader", account)

    def test_replicas_are_spread_unless_told_otherwise(self):
        spread = "topologyKey: kubernetes.io/hostname"
        for replicas, number in ((1, 0), (2, 1)):
            text = deployments(gateway={"replicas": replicas})["windlass-gateway"]
            self.assertEqual(text.count(spread), number)
        own = PLACED["topologySpreadConstraints"]
        text = deployments(gateway={"replicas": 2, "topologySpreadConstraints": own})["windlass-gateway"]
        self.assertEqual(text.count(spread), 0)

    def test_a_switch_of_the_controller_is_off_unless_it_is_on(self):
        switches = {
            "deletedNodesAreFenced": "WINDLASS_DELETED_NODES_ARE_FENCED",
            "requireQueue": "WINDLASS_REQUIRE_QUEUE",
            "standbys": "WINDLASS_STANDBYS",
        }
        for value, variable in switches.items():
            setting = f'- name: {variable}\n              value: "true"'
            for is_on in (False, True):
                text = deployments(controller={value: is_on})["windlass-controller"]
                self.assertEqual(setting in text, is_on, value)
            self.assertNotIn(variable, deployments()["windlass-controller"])

    def test_cpus_of_unschedulable_pods_are_given_back_unless_told_otherwise(self):
        for values, seconds in (({}, 10), ({"unschedulableTimeoutSeconds": 0}, 0)):
            text = deployments(controller=values)["windlass-controller"]
            setting = f'- name: WINDLASS_UNSCHEDULABLE_TIMEOUT_SECONDS\n              value: "{seconds}"'
            self.assertIn(setting, text)

    def test_logs_are_kept_where_there_is_a_store(self):
        line = "- name: WINDLASS_KEEP_LOG_BYTES\n              value: "
        store = {"url": "s3://bucket"}
        for results, expected in ((store, '"1048576"\n'), ({**store, "logBytes": 0}, '"0"\n'), ({"logBytes": 7}, None)):
            text = deployments(results=results)["windlass-controller"]
            self.assertEqual(line + expected in text if expected else line not in text, True, results)

    def test_gateways_are_told_the_quotas_of_blobs(self):
        quotas = {"namespaceBlobQuota": "50Gi", "blobQuota": "1000000000000"}
        told = [*release(results={"url": "s3://bucket", **quotas}), *release(results=quotas)]
        gateways = [each["text"] for each in told if each["kind"] == "Deployment" and "gateway" in each["name"]]
        for name, value in [("NAMESPACE_BLOB_QUOTA", "50Gi"), ("BLOB_QUOTA", "1000000000000")]:
            line = f'- name: WINDLASS_{name}\n              value: "{value}"\n'
            self.assertEqual([line in gateway for gateway in gateways], [True, False], name)

    def test_a_digest_goes_before_a_tag(self):
        digest = "sha256:" + 64 * "a"
        for text in deployments(image={"repository": "r.example/w", "tag": "1", "digest": digest}).values():
            self.assertIn(f"image: r.example/w@{digest}", text)
            self.assertNotIn("r.example/w:1", text)

    def test_names_fit_however_long_the_releases_is(self):
        long = [53 * "a", 52 * "a" + "b"]
        names = [{one["name"] for one in release(name)} for name in long]
        for one in release(long[0]):
            self.assertLessEqual(len(one["name"]), 63 if one["kind"] == "Service" else 253)
        shared = {one["name"] for one in release() if not one["name"].startswith("windlass")}
        self.assertEqual((names[0] & names[1]) - shared, set())
        named = release(fullnameOverride="other", nameOverride="label")
        self.assertIn("other-gateway-peers", {one["name"] for one in named})
        self.assertNotIn("app.kubernetes.io/name: windlass", "".join(one["text"] for one in named))

    def test_two_releases_have_no_object_in_common(self):
        def objects(name, values):
            all_of_it = release(name, name, **values, watchNamespace=f"{name}-jobs")
            return {(one["kind"], one["namespace"], one["name"]) for one in all_of_it}

        for values in ({}, EVERYTHING):
            self.assertEqual(objects("red", values) & objects("blue", values), set())

    def test_the_built_in_functions_are_where_jobs_are_served(self):
        for values, namespaces in (
            ({}, ["windlass"]),
            ({"watchNamespace": "research"}, ["research"]),
            ({"watchNamespaces": ["red", "blue"]}, ["red", "blue"]),
        ):
            functions = [one for one in release(**values) if one["kind"] == "ComputeFunction"]
            names = ("echo", "price", "render")
            self.assertEqual(
                sorted((one["namespace"], one["name"]) for one in functions),
                sorted((namespace, name) for namespace in namespaces for name in names),
            )

    def test_a_release_has_its_rights_where_it_serves_and_says_so_to_both_components(self):
        # Named twice is named once.
        objects = release(watchNamespaces=["red", "blue"], watchNamespace="red")
        roles = [(one["kind"], one["namespace"], one["name"]) for one in objects if one["name"].endswith("-jobs")]
        expected = [
            (kind, namespace, f"windlass-{part}-jobs")
            for kind in ("Role", "RoleBinding")
            for namespace in ("red", "blue")
            for part in ("controller", "gateway")
        ]
        self.assertEqual(sorted(roles), sorted(expected))
        everywhere = [one["text"] for one in objects if one["kind"] == "ClusterRole" and "author" not in one["name"]]
        self.assertNotIn("resources: [computejobs]\n    verbs: [get, list, watch, ", "".join(everywhere))
        for text in deployments(watchNamespaces=["red", "blue"], watchNamespace="red").values():
            self.assertIn("- name: WINDLASS_NAMESPACE\n              value: \"red,blue\"\n", text)

    def test_values_of_a_release_that_knew_no_list_are_taken(self):
        # As by `helm upgrade --reuse-values`.
        roles = [one for one in release(watchNamespaces=None, watchNamespace="1") if one["kind"] == "Role"]
        self.assertEqual({one["namespace"] for one in roles if one["name"].endswith("-jobs")}, {"1"})
        self.assertTrue(all('namespace: "1"' in one["text"] for one in roles if one["name"].endswith("-jobs")))

    def test_the_notes_name_a_namespace_that_is_served(self):
        for namespaces, expected in (([], "windlass"), (["red", "blue"], "red"), (["red", "windlass"], "windlass")):
            values = json.dumps({"watchNamespaces": namespaces})
            shown = ("--dry-run=client", "--namespace", "windlass", "--output", "json")
            done = helm("install", "windlass", str(CHART), *shown, values=values)
            notes = json.loads(done.stdout)["info"]["notes"]
            self.assertIn(f"kubectl apply -n {expected} -f", notes)

    def test_what_is_for_some_clusters_is_left_out_by_default(self):
        kinds = {one["kind"] for one in release()}
        some = {"Ingress", "HTTPRoute", "NetworkPolicy", "FlowSchema", "PodMonitor", "PrometheusRule", "ConfigMap", "Secret"}
        self.assertEqual(kinds & some, set())
        self.assertEqual({one["kind"] for one in release(**EVERYTHING)} & some, some)

    def test_a_way_in_that_leads_nowhere_is_refused(self):
        for kind, missing in (("ingress", "host"), ("httpRoute", "parentRefs")):
            values = json.dumps({"gateway": {kind: {"enabled": True}}})
            done = helm("template", "windlass", str(CHART), values=values)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(f"gateway.{kind}.{missing}", done.stderr)

    def test_calls_and_probes_have_two_ports(self):
        done = helm("template", "windlass", str(CHART), values=json.dumps({"gateway": {"port": 9090}}))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("gateway.operationsPort", done.stderr)

    def test_an_ingress_may_be_for_all_names_below_one(self):
        host = {"enabled": True, "host": "*.windlass.example", "tlsSecretName": "tls"}
        (ingress,) = [one["text"] for one in release(gateway={"ingress": host}) if one["kind"] == "Ingress"]
        self.assertIn('- host: "*.windlass.example"', ingress)
        self.assertIn('- hosts: ["*.windlass.example"]', ingress)

    def test_the_pod_of_helm_test_trusts_the_authority_that_the_values_name(self):
        for tls, item in (({"secretName": "a"}, "ca.crt"), ({"secretName": "a", "caKey": "tls.crt"}, "tls.crt")):
            (pod,) = [one["text"] for one in release(gateway={"tls": tls}) if one["kind"] == "Pod"]
            self.assertIn(f"items: [{{ key: {item}, path: ca.crt }}]", pod)
            self.assertIn("value: https://windlass-gateway", pod)

    def test_the_chart_makes_a_certificate_for_all_names_by_which_the_gateway_is_called(self):
        names = ["windlass-gateway.windlass.svc.cluster.local", "windlass-gateway.windlass.svc", "windlass.example"]
        objects = release(gateway={"tls": {"selfSigned": True, "dnsNames": names[2:]}})
        (secret,) = [one["text"] for one in objects if one["kind"] == "Secret"]
        with tempfile.TemporaryDirectory() as work:
            for name in ("ca.crt", "tls.crt", "tls.key"):
                encoded = re.search(rf"^  {re.escape(name)}: (\S+)$", secret, re.MULTILINE)[1]
                Path(work, name).write_bytes(base64.b64decode(encoded))
            for name in names:
                verify = ["openssl", "verify", "-CAfile", "ca.crt", "-verify_hostname", name, "tls.crt"]
                done = subprocess.run(verify, cwd=work, capture_output=True, text=True, check=False)
                self.assertEqual(done.stdout, "tls.crt: OK\n", done.stderr)
        self.assert_tls(objects, "windlass-gateway-tls")

    def test_cert_manager_makes_the_certificate_where_it_is_told_to(self):
        issuer = {"name": "internal", "kind": "ClusterIssuer"}
        objects = release(gateway={"tls": {"certManager": {"enabled": True, "issuerRef": issuer}}})
        (certificate,) = [one["text"] for one in objects if one["kind"] == "Certificate"]
        for line in (
            "secretName: windlass-gateway-tls",
            "- windlass-gateway.windlass.svc.cluster.local\n    - windlass-gateway.windlass.svc\n",
            "kind: ClusterIssuer\n    name: internal",
        ):
            self.assertIn(line, certificate)
        self.assert_tls(objects, "windlass-gateway-tls")

    def assert_tls(self, objects, secret):
        """Gateway, controller and the pod of `helm test` have this Secret, and speak https."""
        pods = [one["text"] for one in objects if one["kind"] in ("Deployment", "Pod")]
        self.assertEqual(len(pods), 3)
        for text in pods:
            self.assertRegex(text, rf"(secretName|name): {secret}\b")
            self.assertNotIn("http://", text)
            self.assertNotIn("--plain-http", text)

    def test_a_certificate_that_cannot_be_is_refused(self):
        issuer = {"enabled": True, "issuerRef": {"name": "a"}}
        for tls, why in (
            ({"secretName": "a", "selfSigned": True}, "only one of"),
            ({"selfSigned": True, "certManager": issuer}, "only one of"),
            ({"certManager": {"enabled": True}}, "issuerRef.name is needed"),
        ):
            done = helm("template", "windlass", str(CHART), values=json.dumps({"gateway": {"tls": tls}}))
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(why, done.stderr)

    def test_pods_listen_on_all_their_addresses_and_services_have_the_families_that_are_set(self):
        texts = deployments()
        self.assertIn('--listen, "[::]:7070"', texts["windlass-gateway"])
        self.assertIn('value: "[::]:9090"', texts["windlass-controller"])
        for values, lines in (
            ({}, ""),
            ({"ipFamilyPolicy": "PreferDualStack"}, "  ipFamilyPolicy: PreferDualStack\n"),
            (
                {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]},
                '  ipFamilyPolicy: RequireDualStack\n  ipFamilies: ["IPv6","IPv4"]\n',
            ),
        ):
            services = [one["text"] for one in release(**values) if one["kind"] == "Service"]
            self.assertEqual(len(services), 2)
            for text in services:
                self.assertEqual("".join(re.findall(r"^  ipFamil.*\n", text, re.MULTILINE)), lines)

    def test_the_values_for_several_replicas_make_them(self):
        done = helm("template", "windlass", str(CHART), "--values", str(CHART / "values-ha.yaml"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n  replicas: 2\n"), 2)
        self.assertEqual(done.stdout.count("kind: PodDisruptionBudget"), 2)

    def test_authors_may_write_functions_and_queues_and_admins_only_where_they_are_let(self):
        label = 'rbac.authorization.k8s.io/aggregate-to-admin: "true"'
        for let in (False, True):
            objects = release(aggregateAuthorToAdmin=let)
            (role,) = [one["text"] for one in objects if one["name"] == "windlass-author"]
            self.assertEqual(label in role, let)
            self.assertIn("resources: [computefunctions, computequeues]", role)

    def test_policies_let_in_those_that_windlass_needs(self):
        def policy(component, **values):
            objects = release(networkPolicy={"enabled": True, **values})
            (text,) = [
                one["text"]
                for one in objects
                if (one["kind"], one["name"]) == ("NetworkPolicy", f"windlass-{component}")
            ]
            return text

        self.assertNotIn("from:", policy("gateway"))
        callers = [{"podSelector": {"matchLabels": {"app": "web"}}}]
        text = policy("gateway", callers=callers)
        for needed in ("windlass.dev/job,", "windlass.dev/standby,", "app.kubernetes.io/instance: windlass", "app: web"):
            self.assertIn(needed, text)
        # No rule at all lets in nobody.
        self.assertNotIn("ingress:", policy("controller"))
        self.assertIn("app: web", policy("controller", metricsReaders=callers))
        readers = [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]
        self.assertIn("app: prometheus", policy("gateway", callers=callers, metricsReaders=readers))

    def test_workers_of_every_namespace_that_is_served_may_report(self):
        def text(**values):
            objects = release(networkPolicy={"enabled": True, "callers": [{"podSelector": {}}]}, **values)
            return next(one["text"] for one in objects if one["kind"] == "NetworkPolicy" and "gateway" in one["name"])

        # Nothing after the colon would be the policy's own namespace.
        self.assertEqual(re.findall("namespaceSelector:(.*)", text()), 2 * [" {}"])
        only = " { matchExpressions: [{ key: kubernetes.io/metadata.name, operator: In, values: [%s] }] }"
        for values, names in (({"watchNamespace": "jobs"}, '"jobs"'), ({"watchNamespaces": ["1e3", "2"]}, '"1e3","2"')):
            self.assertEqual(re.findall("namespaceSelector:(.*)", text(**values)), 2 * [only % names])


class Definitions(unittest.TestCase):
    """The chart of the CRDs has those of the other chart."""

    CHART = CHECKOUT / "charts" / "windlass-crds"

    def template(self, *values):
        command = [HELM, "template", "crds", self.CHART, *values]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_they_are_the_committed_ones_and_stay_unless_told_otherwise(self):
        lines = re.compile(r"^# Source:.*\n|^\n|^---\n", flags=re.MULTILINE)
        committed = lines.sub("", (CHART / "crds/crds.yaml").read_text(encoding="utf-8"))
        self.assertEqual(lines.sub("", self.template("--set", "keep=false").stdout), committed)
        kept = lines.sub("", self.template().stdout)
        keep = "  annotations:\n    helm.sh/resource-policy: keep\n"
        self.assertEqual((kept.count(keep), kept.replace(keep, "")), (5, committed))

    def test_a_wrong_value_is_refused(self):
        refused = self.template("--set", "kep=false")
        self.assertRegex(refused.stderr, "''.*kep")
        self.assertRegex(self.template("--set-string", "keep=no").stderr, "/keep")


class Monitoring(unittest.TestCase):
    """Each expression is one that Prometheus reads, of metrics that there are."""

    def check(self, expression: str) -> None:
        # What Grafana puts in place of its variables.
        promql_parser.parse(expression.replace("$__rate_interval", "5m").replace("$namespace", "windlass"))
        names = set(re.findall(r"windlass_\w+", expression))
        self.assertGreater(len(names), 0, expression)
        self.assertEqual(names - exposed_metrics(), set(), expression)

    def test_alerts_are_of_metrics_that_there_are_and_each_has_its_part_of_the_page(self):
        (group,) = json.loads((CHART / "files/alerts.json").read_text(encoding="utf-8"))["groups"]
        page = (CHECKOUT / "docs/alerts.md").read_text(encoding="utf-8")
        sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)
        self.assertEqual(sections, [rule["alert"] for rule in group["rules"]])
        for rule in group["rules"]:
            with self.subTest(rule["alert"]):
                self.check(rule["expr"])
                self.assertEqual(rule["annotations"]["runbook"], f"docs/alerts.md#{rule['alert'].lower()}")
                self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))

    def test_the_page_names_every_metric_and_no_other(self):
        page = (CHECKOUT / "docs/operations.md").read_text(encoding="utf-8")
        section = page.split("\n## Metrics\n")[1].split("\n## ")[0]
        table = [row.split("|")[1] for row in re.findall(r"^\| `.*$", section, re.MULTILINE)]
        (others,) = re.findall(r"Its own metrics are (.*?)\.\n", section, re.DOTALL)
        named = {f"windlass_{name}" for name in re.findall(r"`(\w+)`", " ".join([*table, others]))}
        endings = re.compile("(_total|_bucket|_count|_sum)$")
        registered = {name for name in exposed_metrics() if not endings.search(name)}
        self.assertEqual(named - registered, set())
        self.assertEqual(registered - named, set())

    def test_the_dashboard_is_of_metrics_that_there_are(self):
        dashboard = json.loads((CHART / "files/dashboard.json").read_text(encoding="utf-8"))
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        self.assertGreater(len(expressions), 15)
        for expression in expressions:
            with self.subTest(expression):
                self.check(expression)
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
        self.assertEqual(len(places), len(set(places)))

    def test_alerts_and_dashboards_are_those_of_one_release(self):
        def of(kind, name):
            return next(one["text"] for one in release(name, name, **EVERYTHING) if one["kind"] == kind)

        self.assertIn('windlass_leader{namespace="red"}', of("PrometheusRule", "red"))
        self.assertNotIn("RELEASE_", "".join(of(kind, "red") for kind in ("PrometheusRule", "ConfigMap")))
        uids = {re.search(r'uid\\": \\"(windlass-\w{12})', of("ConfigMap", name))[1] for name in ("red", "blue")}
        self.assertEqual(len(uids), 2)

    def test_templates_of_alerts_reach_the_cluster_as_they_are(self):
        (rule,) = [one["text"] for one in release(**EVERYTHING) if one["kind"] == "PrometheusRule"]
        self.assertIn("{{ $value }} jobs wait in queue {{ $labels.queue }}", rule.replace("\n", " ").replace("          ", ""))


def exposed_metrics() -> set[str]:
    """The names that Prometheus knows, from where the programs register them."""
    names = set()
    for file in CHECKOUT.glob("crates/*/src/**/*.rs"):
        text = file.read_text(encoding="utf-8")
        for call in re.finditer(r'\.register(_with_unit)?\(\s*"(\w+)",([^;]*);', text):
            # The unit is an argument, or a variable that was set before.
            units = re.findall(r"Unit::(\w+)", text[: call.start()]) + re.findall(r"Unit::(\w+)", call[3])
            names.add(f"windlass_{call[2]}" + (f"_{units[-1].lower()}" if call[1] else ""))
    assert len(names) > 20, names
    return names | {f"{name}{ending}" for name in names for ending in ("_total", "_bucket", "_count", "_sum")}


if __name__ == "__main__":
    unittest.main()
