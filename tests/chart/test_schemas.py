"""Each object of the chart and of the manifests, against what API servers say of themselves, without a cluster.

kubeconform is the one of tests/cluster/build.
"""

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import schemas
from test_chart import CHART, CHECKOUT, EVERYTHING, PROGRAMS, helm

KUBECONFORM = os.path.join(PROGRAMS.stdout.strip(), "kubeconform")
TLS = {"gateway": {"tls": {"certManager": {"enabled": True, "issuerRef": {"name": "issuer", "kind": "Issuer"}}}}}


def rendered(values: str) -> str:
    done = helm("template", "windlass", str(CHART), "--include-crds", values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def manifests() -> dict[str, str]:
    """What somebody may apply, by where it is from."""
    values = {
        path: (CHECKOUT / path).read_text()
        for path in ("charts/windlass/values-ha.yaml", "tests/in-cluster/values.yaml")
    }
    values |= {"no values": "{}", "every switch": json.dumps(EVERYTHING), "cert-manager": json.dumps(TLS)}
    found = {name: rendered(text) for name, text in values.items()}
    for path in (CHECKOUT / "manifests/install.yaml", *(CHECKOUT / "manifests/samples").iterdir()):
        found[path.name] = path.read_text(encoding="utf-8")
    return found


class Schemas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory()
        work = Path(cls.work.name)
        cls.own = work / "own"
        cls.own.mkdir()
        schemas.write_custom((CHECKOUT / "manifests/crds.yaml").read_text(encoding="utf-8"), cls.own)
        schemas.write_others(cls.own)
        for version in schemas.KUBERNETES:
            (work / version).mkdir()
            schemas.write_kubernetes(version, work / version)

    @classmethod
    def tearDownClass(cls):
        cls.work.cleanup()

    def said(self, version: str, text: str) -> list[dict]:
        """What kubeconform says of each object that is not valid, or whose kind it does not know."""
        command = [KUBECONFORM, "-strict", "-output", "json", "-n", "1"]
        for directory in (self.own.parent / version, self.own):
            command += ["-schema-location", f"{directory}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"]
        done = subprocess.run([*command, "-"], input=text, capture_output=True, text=True, timeout=120, check=False)
        answer = json.loads(done.stdout)
        self.assertEqual(done.returncode != 0, bool(answer["resources"]), done.stderr)
        return answer["resources"]

    def test_every_version_knows_each_object_and_each_of_its_fields(self):
        text = "\n---\n".join(manifests().values())
        for version in schemas.KUBERNETES:
            with self.subTest(version):
                self.assertEqual(self.said(version, text), [])

    def test_a_wrong_field_of_any_object_is_found(self):
        service = "{apiVersion: v1, kind: Service, %s}"
        job = "{apiVersion: windlass.dev/v1alpha1, kind: ComputeJob, %s}"
        certificate = "{apiVersion: cert-manager.io/v1, kind: Certificate, %s}"
        for sample, wrong in (
            (service % "spec: {port: 1}", "at '/spec'.*'port' not allowed"),
            (service % "spec: {ports: [{port: '1'}]}", "at '/spec/ports/0/port': got string"),
            (job % "spec: {function: a, imput: {}}", "at '/spec'.*'imput' not allowed"),
            (job % "spec: {function: a, parallelism: many}", "at '/spec/parallelism': got string"),
            (certificate % "spec: {secret: a}", "at '/spec'.*'secret' not allowed"),
            ("{apiVersion: windlass.dev/v1alpha1, kind: ComputeJobs}", "could not find schema"),
        ):
            with self.subTest(sample):
                (said,) = self.said(schemas.KUBERNETES[0], sample)
                self.assertRegex(said["msg"].replace("\n", " "), wrong)

    def test_the_page_names_the_versions(self):
        page = (CHECKOUT / "docs/cluster.md").read_text(encoding="utf-8")
        (row,) = re.findall(r"^\| ([0-9., ]+) \|.*tests/chart/run", page, re.MULTILINE)
        minors = [version.rsplit(".", 1)[0] for version in schemas.KUBERNETES]
        self.assertEqual(row.split(", "), minors)


if __name__ == "__main__":
    unittest.main()
