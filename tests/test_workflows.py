"""The workflows are valid YAML, pin what they run, ask for few rights, and call what exists."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".github" / "workflows"
if not FOLDER.is_dir():
    pytest.skip("the workflows are not here", allow_module_level=True)

WORKFLOWS = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def load(path: Path) -> dict[Any, Any]:
    document = yaml.safe_load(path.read_text())
    assert isinstance(document, dict)
    return document


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
class TestEveryWorkflow:
    def test_actions_are_pinned_by_commit_and_say_their_version(self, path: Path) -> None:
        used = re.findall(r"uses: (.+)", path.read_text())
        assert len(used) == sum("uses" in step for step in steps(load(path)))
        assert [action for action in used if not PINNED.fullmatch(action)] == []

    def test_tools_are_pinned(self, path: Path) -> None:
        installed = re.findall(r"pip install (.+)", path.read_text())
        assert [what for what in installed if not re.fullmatch(r"[\w-]+==[\d.]+", what)] == []

    def test_jobs_can_only_read_and_end(self, path: Path) -> None:
        workflow = load(path)
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            assert job["timeout-minutes"] <= 90
            assert job.get("permissions", {}) == ({"id-token": "write"} if name == "publish" else {})

    def test_make_targets_exist(self, path: Path) -> None:
        makefile = (ROOT / "Makefile").read_text()
        commands = [step["run"] for step in steps(load(path)) if step.get("run", "").startswith("make ")]
        for command in commands:
            for target in (word for word in command.split()[1:] if "=" not in word):
                assert f"\n{target}:" in makefile

    def test_needs_name_jobs(self, path: Path) -> None:
        jobs = load(path)["jobs"]
        for job in jobs.values():
            assert set(job.get("needs", [])) <= set(jobs)


def test_publishing_waits_for_a_tag_and_for_all_builds() -> None:
    publish = load(FOLDER / "wheels.yml")["jobs"]["publish"]
    assert publish["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert publish["needs"] == ["sdist", "wheels"]


def test_wheels_are_built_for_every_version_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = {
        classifier.rpartition(" ")[2].replace(".", "")
        for classifier in project["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", classifier)
    }
    built = set(project["tool"]["cibuildwheel"]["build"])
    assert {f"cp{version}-*" for version in declared} <= built
    assert built - {f"cp{version}-*" for version in declared} == {"cp314t-*"}
