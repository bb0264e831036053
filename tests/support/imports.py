"""What a Python file imports, and which files are ours."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

from tests.support.helpers import ROOT


@dataclasses.dataclass(frozen=True)
class Import:
    """``module`` as absolute dotted name; ``lazy`` inside a function; ``typing`` for types only."""

    module: str
    lazy: bool
    typing: bool
    function: str | None

    @property
    def package(self) -> str:
        return self.module.split(".")[0]


def imports_of(path: Path) -> list[Import]:
    found: list[Import] = []
    visit(ast.parse(path.read_text()), found, None, typing=False)
    return found


def visit(node: ast.AST, found: list[Import], function: str | None, typing: bool) -> None:
    """Collect the imports below ``node``; relative ones are not used here and refused."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.module, f"relative import in line {child.lineno}"
            names = [f"{child.module}.{alias.name}" for alias in child.names]
        else:
            inner = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else ""
            only_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            visit(child, found, function or inner or None, typing or only_types)
            continue
        found += [Import(name, function is not None, typing, function) for name in names]


def python_files() -> list[Path]:
    """Ours: `benchmarks/stock_app` is the rival's application, of an environment of its own."""
    folders = [ROOT / name for name in ("src", "examples", "benchmarks")]
    found = [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]
    return [path for path in found if ROOT / "benchmarks" / "stock_app" not in path.parents]
