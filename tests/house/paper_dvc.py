"""paper/dvc.yaml is dvc.yaml with other settings and another folder of data, and the stages of paper/stages.yaml; this
writes it.

python tests/house/paper_dvc.py      (after a change of either file; test_dvc_yaml.py compares them)
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# The paper's scale: the stages of ../dvc.yaml with paper/params.yaml, outputs under data/paper/.
# Written from ../dvc.yaml and stages.yaml by tests/house/paper_dvc.py; change those files, then run it again. Metrics
# stand in data/paper/report/metrics.json: dvc metrics show data/paper/report/metrics.json

"""
STAGES = ROOT / "paper" / "stages.yaml"


def paper_dvc(laptop: str) -> str:
    """The text of paper/dvc.yaml, from that of dvc.yaml."""
    body = laptop[laptop.index("stages:") : laptop.index("\nmetrics:")]
    body = re.sub(r"\bdata/(?=[a-z$])", "data/paper/", body)
    options = "--params paper/params.yaml --data data/paper"
    body = re.sub(r"^( *)(cmd: .*)$", rf"\1\2 {options}\n\1wdir: ..", body, flags=re.M)
    body = re.sub(r"params: (\[.*\])$", r"params: [{paper/params.yaml: \1}]", body, flags=re.M)
    # The starting points stand in params.yaml with their folder, and the package is the same for both.
    body = body.replace("src/skipw/data/paper/", "src/skipw/data/")
    own = STAGES.read_text(encoding="utf-8")
    return HEAD + body.rstrip() + "\n\n" + own[own.index("  reproduce:") :]


if __name__ == "__main__":
    laptop = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    (ROOT / "paper" / "dvc.yaml").write_text(paper_dvc(laptop), encoding="utf-8")
