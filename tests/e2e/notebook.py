"""Runs the notebook as Jupyter would, for the tests."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "inspect_report.ipynb"
OF_A_READER = ("MONGODB_URI", "SESSION_REPAIR_SESSION")


def run_notebook(report: Path, folder: Path, **environment: str) -> str:
    """What it prints of a report; a cell that fails raises. The folder takes Jupyter's files."""
    kept = {name: value for name, value in os.environ.items() if name not in OF_A_READER}
    own = {name: str(folder / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**kept, **own, "SESSION_REPAIR_REPORT": str(report), **environment})
    outputs = [it for cell in notebook.cells for it in cell.get("outputs", [])]
    assert [it.text for it in outputs if it.get("name") == "stderr"] == []
    return "".join(it.text for it in outputs if it.get("name") == "stdout")
