"""DESIGN.md's two tables of who may import what, held against the source."""

from __future__ import annotations

import ast
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

# In DESIGN.md's order: a module may import what stands above it in its package. Beside each the
# third parties that it may import. Modules that do not exist yet have their place already.
SWEEPMORE: dict[str, set[str]] = {
    "errors": set(),
    "typed": set(),
    "wording": set(),
    "signals": set(),
    "process_state": set(),
    "invocation": set(),
    "hydra_internals": {"hydra", "omegaconf"},
    "composing": {"hydra", "omegaconf", "yaml"},
    "overrides": {"hydra"},
    "cli": {"hydra", "omegaconf"},
    "slurm": set(),
    "owner": {"psutil"},
    "record": {"yaml"},
    "tracking": {"wandb"},
    "values": set(),
    "trial": set(),
    "database": {"omegaconf", "sqlalchemy"},
    "optuna_internals": {"optuna", "sqlalchemy"},
    "patience": {"optuna", "sqlalchemy"},
    "storage": {"optuna", "sqlalchemy"},
    "space": {"optuna", "hydra"},
    "search": {"optuna", "numpy"},
    "settings": {"hydra", "omegaconf", "sqlalchemy"},
    "frozen": {"omegaconf", "hydra"},
    "question": {"optuna", "omegaconf"},
    "studies": {"optuna"},
    "winner": {"numpy", "scipy"},
    "results": {"hydra", "omegaconf"},
    "slots": {"optuna"},
    "folders": {"optuna", "hydra", "omegaconf"},
    "worker": {"optuna", "hydra", "omegaconf"},
    "show": {"optuna", "rich"},
    "note": {"optuna"},
    "keep": set(),
    "join": {"optuna", "hydra"},
    "follow": {"optuna"},
    "crew": {"optuna"},
    "launch": set(),
    "jobs": {"hydra", "omegaconf", "submitit"},
    "versions": {"optuna"},
    "sweep": {"optuna", "hydra", "rich", "omegaconf"},
    "retrain": {"optuna", "yaml"},
    "rounds": {"optuna"},
    "confirmation": {"optuna"},
    "receipts": set(),
    "overlap": set(),
    "machine": set(),
    "ledger": {"sqlalchemy"},
    "importance": {"numpy"},
    "colours": set(),
    "figures": {"matplotlib", "numpy", "optuna"},
    "page": {"jinja2"},
    "report": {"optuna"},
    "sync": {"optuna"},
    "wandb_report": {"wandb", "wandb_workspaces"},
}
NPLM: dict[str, set[str]] = {
    "config": {"omegaconf"},
    "lineage": set(),
    "vocabulary": {"numpy"},
    "data": {"numpy", "torch", "pooch"},  # pooch: the download of names.txt
    "model": {"torch"},
    "kneser_ney": {"numpy", "scipy", "torch"},
    "baselines": {"numpy", "torch"},
    "losses": {"torch"},
    "mixture": {"torch"},
    "drawing": {"torch"},
    "gradients": {"torch"},
    "optim": {"torch"},
    "checkpoint": {"safetensors", "torch"},
    "models": {"torch"},
    "training": {"torch"},
    "sampling": {"torch"},
    "lr_finder": {"torch", "matplotlib"},
    "estimates": {"numpy"},
    "pictures": {"torch", "matplotlib"},
    "console": {"rich", "torch"},
    "insights": {"numpy", "torch"},
    "sealed": {"numpy", "torch"},
}
TABLES = {"sweepmore": SWEEPMORE, "nplm": NPLM}
# What takes long to import is imported where it is used, not where --help passes by.
HEAVY = {"torch", "wandb", "matplotlib", "optuna"}
LIGHT = [f"sweepmore.{name}" for name in ("cli", "record", "tracking", "errors", "typed")]
LIGHT += ["nplm.config", "nplm"]
SCRIPTS = ("train", "find_lr", "confirm", "sample", "report", "wandb_report", "evaluate_test")


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


def files_of(package: str) -> dict[str, Path]:
    """The modules of one of our packages, ``__init__`` apart."""
    paths = (ROOT / "src" / package).rglob("*.py")
    return {path.stem: path for path in paths if path.stem != "__init__"}


def own_module(imported: Import) -> str | None:
    """The module of ours that is meant: ``nplm.data.Splits`` → ``data``."""
    parts = imported.module.split(".")
    return parts[1] if parts[0] in TABLES and len(parts) > 1 else None


def third_party(imports: list[Import]) -> set[str]:
    return {i.package for i in imports} - set(sys.stdlib_module_names) - set(TABLES)


MODULES = [(package, name) for package in TABLES for name in sorted(files_of(package))]


def test_every_module_has_its_place_in_a_table() -> None:
    for package, table in TABLES.items():
        assert set(files_of(package)) <= set(table)


@pytest.mark.parametrize(("package", "name"), MODULES)
def test_module_imports_only_what_stands_above_it(package: str, name: str) -> None:
    order = list(TABLES[package])
    for imported in imports_of(files_of(package)[name]):
        module = own_module(imported)
        if imported.package == package and module is not None:
            assert order.index(module) < order.index(name), imported


@pytest.mark.parametrize(("package", "name"), MODULES)
def test_module_imports_only_its_third_parties(package: str, name: str) -> None:
    allowed = TABLES[package][name]
    assert third_party(imports_of(files_of(package)[name])) <= allowed


@pytest.mark.parametrize("name", sorted(files_of("sweepmore")))
def test_framework_knows_no_model_and_no_torch(name: str) -> None:
    packages = {i.package for i in imports_of(files_of("sweepmore")[name])}
    assert not packages & {"nplm", "torch", "hydra_plugins"}


@pytest.mark.parametrize("name", sorted(files_of("nplm")))
def test_application_knows_no_optuna_and_no_hydra(name: str) -> None:
    """But for register_defaults, which hands Hydra the defaults when a root script calls it."""
    for imported in imports_of(files_of("nplm")[name]):
        assert imported.package not in ("optuna", "hydra", "hydra_plugins"), imported
        if imported.module.startswith("sweepmore.hydra_internals"):
            assert (name, imported.function) == ("config", "register_defaults")


def test_plugin_is_a_door_into_the_framework_and_nothing_else() -> None:
    for path in (ROOT / "src" / "hydra_plugins").rglob("*.py"):
        packages = {i.package for i in imports_of(path)} - set(sys.stdlib_module_names)
        assert packages <= {"sweepmore", "hydra", "omegaconf"}, path


def python_files() -> list[Path]:
    """Ours: `benchmarks/stock_app` is the rival's application, of an environment of its own."""
    folders = [ROOT / name for name in ("src", "examples", "benchmarks")]
    found = [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]
    return [path for path in found if ROOT / "benchmarks" / "stock_app" not in path.parents]


# Whatever is private in these may move in any of their releases.
LIBRARIES = {"hydra", "omegaconf", "optuna"}
ADAPTERS = {ROOT / "src" / "sweepmore" / f"{name}_internals.py" for name in ("hydra", "optuna")}
OWN = {"self", "cls"}


def private_names(path: Path) -> list[str]:
    """What a file uses of others although its name begins with one underscore (and ends with none,
    as ``_target_``): modules, attributes of anything but ``self``, ``"hydra._internal…"`` as a
    text."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in OWN:
            found.append(f"?.{node.attr}")
        elif isinstance(node, ast.Constant) and str(node.value).split(".")[0] in LIBRARIES:
            found += str(node.value).split()[:1]
    return [name for name in found if re.search(r"(^|\.)_(?!_)\w*(?<!_)(\.|$)", name)]


@pytest.mark.parametrize(
    "name", [str(p.relative_to(ROOT)) for p in (*ROOT.glob("*.py"), *(ROOT / "src").rglob("*.py"))]
)
def test_what_is_private_in_hydra_and_optuna_stays_in_two_modules(name: str) -> None:
    path = ROOT / name
    for used in private_names(path):
        torchs = used.startswith("?._foreach_") and path.parent.name == "nplm"
        wandbs = used == "?._to_model" and path.stem == "wandb_report"
        assert path in ADAPTERS or torchs or wandbs, used


def test_only_evaluate_test_may_import_the_test_split() -> None:
    for path in python_files():
        if any("sealed" in i.module.split(".") for i in imports_of(path)):
            assert path == ROOT / "evaluate_test.py"


def test_only_tracking_and_its_report_know_wandb() -> None:
    for path in python_files():
        packages = {i.package for i in imports_of(path)}
        if {"wandb", "wandb_workspaces"} & packages:
            assert path.parent == ROOT / "src" / "sweepmore"
            assert path.stem in ("tracking", "wandb_report")


@pytest.mark.parametrize("name", [name for name in SCRIPTS if (ROOT / f"{name}.py").exists()])
def test_root_script_is_thin(name: str) -> None:
    """It imports our packages and Hydra's types at module level, and nothing heavy."""
    imports = [i for i in imports_of(ROOT / f"{name}.py") if not i.lazy and not i.typing]
    assert third_party(imports) <= {"hydra", "omegaconf"}


@pytest.mark.parametrize("module", LIGHT)
def test_light_module_names_nothing_heavy_at_module_level(module: str) -> None:
    package, _, name = module.partition(".")
    path = ROOT / "src" / package / f"{name or '__init__'}.py"
    direct = {i.package for i in imports_of(path) if not i.lazy and not i.typing}
    assert not direct & HEAVY


def test_light_modules_load_nothing_heavy_when_imported() -> None:
    code = f"import sys, {', '.join(LIGHT)}; print({HEAVY!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stdout + done.stderr


def test_notebook_surface() -> None:
    import nplm
    from nplm import Config, fit, load_splits, sample

    assert {Config, fit, load_splits, sample}
    for name in nplm.__all__:
        assert getattr(nplm, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = nplm.nothing


def test_the_search_for_imports_sees_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\n"
        "def f():\n    def g():\n        import h\n"
    )
    assert imports_of(path) == [
        Import("a.b", False, False, None),
        Import("c.d", False, False, None),
        Import("e", False, True, None),
        Import("h", True, False, "f"),
    ]
