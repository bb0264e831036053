"""Who may import whom: the contract of pyproject.toml, and what import-linter cannot say.

That is what the root scripts and the tests import, what is loaded when, and which names of
libraries are private.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.helpers import ROOT
from tests.support.imports import Import, imports_of, python_files

# What takes long to import is imported where it is used, not where --help passes by.
HEAVY = {"torch", "wandb", "matplotlib", "optuna", "numpy"}
LIGHT = [
    f"sweepmore.{name}"
    for name in ("compose.cli", "runs.record", "runs.tracking", "errors", "typed")
]
LIGHT += ["nplm.config", "nplm"]
SCRIPTS = ("train", "find_lr", "sample", "evaluate_test")


def third_party(imports: list[Import]) -> set[str]:
    return {i.package for i in imports} - set(sys.stdlib_module_names) - {"sweepmore", "nplm"}


def lint(config: Path = ROOT / "pyproject.toml") -> subprocess.CompletedProcess[str]:
    words = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", str(config)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_contract_is_kept() -> None:
    done = lint()
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_sees_an_import_upwards(tmp_path: Path) -> None:
    """With two rooms in the other order it is broken: it looks at what it says."""
    text = (ROOT / "pyproject.toml").read_text()
    swapped = tmp_path / "pyproject.toml"
    swapped.write_text(
        text.replace('    "report",\n    "confirm",', '    "confirm",\n    "report",')
    )
    done = lint(swapped)
    assert done.returncode == 1
    assert "each imports from those below it BROKEN" in done.stdout


ROOMS = [ROOT / "src" / "nplm" / "app"]
ROOMS += sorted(path.parent for path in (ROOT / "src" / "sweepmore").glob("*/__init__.py"))


def room_name(room: Path) -> str:
    return ".".join(room.relative_to(ROOT / "src").parts)


@pytest.mark.parametrize("room", ROOMS, ids=room_name)
def test_a_room_says_what_happens_there_and_which_modules_are_public(room: Path) -> None:
    tree = ast.parse((room / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    # a room is opened module by module; seal, which applications use, by its names, lazily
    opened = {i.package for i in imports_of(room / "__init__.py") if not i.typing}
    assert opened <= ({"__future__", "importlib", "typing"} if room.name == "seal" else set())
    names = import_module(room_name(room)).__all__
    assert names == sorted(set(names))
    assert public_of(room_name(room)) <= {path.stem for path in room.glob("[!_]*.py")}


def public_of(room: str) -> set[str]:
    """The public modules of a room: those it lists, or those that hold the names it lists."""
    module = import_module(room)
    held = getattr(module, "_OF", None)
    names = module.__all__ if held is None else held.values()
    return {str(name).rpartition(".")[2] for name in names}


@pytest.mark.parametrize("room", ROOMS, ids=room_name)
def test_what_others_import_of_a_room_is_public(room: Path) -> None:
    name = room_name(room)
    outside = [path for path in (ROOT / "src").rglob("*.py") if path.parent != room]
    modules = [i.module for path in (*ROOT.glob("*.py"), *outside) for i in imports_of(path)]
    used = {m.removeprefix(f"{name}.").split(".")[0] for m in modules if m.startswith(f"{name}.")}
    assert used <= public_of(name)


def test_plugin_is_a_door_into_the_framework_and_nothing_else() -> None:
    for path in (ROOT / "src" / "hydra_plugins").rglob("*.py"):
        packages = {i.package for i in imports_of(path)} - set(sys.stdlib_module_names)
        assert packages <= {"sweepmore", "hydra", "omegaconf"}, path


# All that the plugin adds to the start of a Hydra application, beside what Hydra has loaded.
PLUGIN_LOADS = {
    "hydra_plugins",
    "hydra_plugins.sweepmore_sweeper",
    "sweepmore",
    *(f"sweepmore.{name}" for name in ("errors", "importing", "typed")),
    *(f"sweepmore.{name}" for name in ("process", "process.placement")),
    *(f"sweepmore.{name}" for name in ("statistics", "statistics.directions")),
    *(f"sweepmore.{name}" for name in ("compose", "compose.keys", "compose.samplers")),
}


def test_plugin_adds_these_modules_to_a_start_and_no_others() -> None:
    """The set, not the time, which benchmarks/startup.py measures."""
    code = (
        "import sys, hydra._internal.hydra, hydra.core.plugins; before = set(sys.modules)\n"
        "import hydra_plugins.sweepmore_sweeper\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert set(done.stdout.split()) == PLUGIN_LOADS, done.stdout + done.stderr


# Whatever is private in these may move in any of their releases.
LIBRARIES = {"hydra", "omegaconf", "optuna"}
COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}
ADAPTERS = {
    ROOT / "src" / "sweepmore" / name
    for name in ("compose/hydra_internals.py", "storage/optuna_internals.py")
}
# Torch's documents name these: operations on lists of tensors, and a view of each operation.
TORCHS = ("?._foreach_", "torch.utils._python_dispatch")
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
        torchs = used.startswith(TORCHS) and path.parent.name == "nplm"
        assert path in ADAPTERS or torchs, used


def test_only_evaluate_test_may_import_the_test_split() -> None:
    for path in python_files():
        if any("sealed" in i.module.split(".") for i in imports_of(path)):
            assert path == ROOT / "evaluate_test.py"


@pytest.mark.parametrize("name", [name for name in SCRIPTS if (ROOT / f"{name}.py").exists()])
def test_root_script_is_thin(name: str) -> None:
    """It imports our packages and Hydra's types at module level, and nothing heavy."""
    imports = [i for i in imports_of(ROOT / f"{name}.py") if not i.lazy and not i.typing]
    assert third_party(imports) <= {"hydra", "omegaconf"}


def test_no_test_imports_another() -> None:
    """What several need is in tests/support."""
    for path in (ROOT / "tests").rglob("*.py"):
        parts = [part for i in imports_of(path) for part in i.module.split(".")]
        assert not [part for part in parts if part == "conftest" or part.startswith("test_")], path


# Lines: each script is read on a page; train.py and evaluate_test.py tell a story of their own.
LENGTHS = {"train": 120, "evaluate_test": 200}


@pytest.mark.parametrize("name", SCRIPTS)
def test_root_script_is_read_on_a_page(name: str) -> None:
    assert len((ROOT / f"{name}.py").read_text().splitlines()) <= LENGTHS.get(name, 80)


def test_scripts_and_light_modules_load_nothing_heavy_when_imported() -> None:
    """So no ``--help`` does."""
    code = f"import sys, {', '.join((*LIGHT, *SCRIPTS))}; print({HEAVY!r} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "set()\n", done.stdout + done.stderr


def test_what_trains_loads_neither_hydra_nor_optuna_nor_torchs_compiler() -> None:
    """Nor does one of its functions, which import-linter would see, at a module's import. The
    compiler, 1.2 s of a start, would come with the first operation that is recorded."""
    modules = sorted(path.stem for path in (ROOT / "src" / "nplm").glob("[!_]*.py"))
    names = ", ".join(f"nplm.{name}" for name in modules)
    code = (
        f"import sys, torch, {names}\n"
        "with nplm.recording.Recorder([], [torch.ones(3)]): torch.ones(3).exp()\n"
        f"print({LIBRARIES | COMPILER!r} & set(sys.modules))"
    )
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
