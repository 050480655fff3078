"""dvc.yaml against the code: each stage depends on exactly what its script imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from skipw import params
from tests.house.paper_dvc import paper_dvc

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
PIPELINES = {"dvc.yaml": ROOT / "dvc.yaml", "paper/dvc.yaml": ROOT / "paper" / "dvc.yaml"}


def module_file(name: str) -> Path | None:
    """The file of a module of the package, None for names that are no module."""
    base = SRC.joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def direct_imports(file: Path) -> set[str]:
    """Modules of the package that a file imports, also inside functions, but not for type checking alone."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if module_file(name)}
            found |= modules or {node.module}
        pending.extend(ast.iter_child_nodes(node))
    return {name for name in found if name.startswith("skipw.")}


def transitive_imports(script: Path) -> set[Path]:
    """Files of the package that a script runs; a lazy ``__init__.py`` stands for its whole folder."""
    seen: set[Path] = set()
    pending = [script]
    while pending:
        file = pending.pop()
        names = direct_imports(file)
        targets = {name: module_file(name) for name in names}
        assert all(targets.values()), f"{file} imports what does not exist: {targets}"
        found = {target for target in targets.values() if target is not None}
        if file.name == "__init__.py" and "def __getattr__" in file.read_text(encoding="utf-8"):
            found |= set(file.parent.glob("*.py"))
        pending += found - seen
        seen |= found
    return {file for file in seen if file.name != "__init__.py"}


def stages(file: Path) -> dict[str, dict]:
    """Each stage's definition, the body of a foreach taken for the stage."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in content.items()}


CASES = [(name, stage) for name, file in PIPELINES.items() for stage in stages(file)]


@pytest.mark.parametrize(("pipeline", "stage"), CASES)
def test_a_stage_depends_on_what_its_script_imports(pipeline: str, stage: str) -> None:
    definition = stages(PIPELINES[pipeline])[stage]
    script = ROOT / definition["cmd"].split()[1]
    assert str(script.relative_to(ROOT)) in definition["deps"]
    listed = [ROOT / dep for dep in definition["deps"] if dep.startswith("src/")]
    used = transitive_imports(script)

    missing = [str(f.relative_to(ROOT)) for f in used if not any(f == d or d in f.parents for d in listed)]
    unused = [str(d.relative_to(ROOT)) for d in listed if not any(f == d or d in f.parents for f in used)]
    assert not missing, f"{stage} imports these too: {sorted(missing)}"
    assert not unused, f"{stage} lists these in vain: {sorted(unused)}"


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_stage_reads_its_own_section(pipeline: str) -> None:
    sections = {field.name for field in params.Params.__dataclass_fields__.values()}
    for name, stage in stages(PIPELINES[pipeline]).items():
        keys = stage["params"]
        if isinstance(keys[0], dict):
            (keys,) = keys[0].values()
        section = name.removesuffix("-periodic")
        assert {key.split(".")[0] for key in keys} <= sections
        assert any(key.split(".")[0] == section for key in keys), f"{name} does not name params of {section}"


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_data_set_has_every_model(pipeline: str) -> None:
    experiments = params.load(PIPELINES[pipeline].with_name("params.yaml")).train.experiments
    for dataset in params.DATASETS:
        suffixes = {name.removeprefix(f"{dataset}-") for name in experiments if name.startswith(dataset)}
        assert suffixes >= {"skipw", "skipw-sparse", "thrrnn", "skiprnn", "dense", "random"}


def test_the_papers_scale_has_the_same_stages() -> None:
    laptop = PIPELINES["dvc.yaml"].read_text(encoding="utf-8")
    assert PIPELINES["paper/dvc.yaml"].read_text(encoding="utf-8") == paper_dvc(laptop), (
        "paper/dvc.yaml is out of date; run python tests/house/paper_dvc.py"
    )
