"""What SECURITY.md says: no pickle, no code out of data, no secret in a file, names that stay."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sqlalchemy.engine import URL

import train
from nplm import checkpoint
from nplm.building import empty_model, restored
from nplm.checkpoint import LAST, Checkpoint
from nplm.config import model_from
from sweepmore.command import serving
from sweepmore.compose.samplers import PRUNERS, SAMPLERS, build_pruner, build_sampler
from sweepmore.compose.settings import check_name
from sweepmore.compose.space_syntax import parse_space
from sweepmore.errors import ConfigError, RunError
from sweepmore.runs.finding import find_trial
from sweepmore.runs.names import safe_name
from sweepmore.seal.ledger import Ledger
from sweepmore.storage.opening import open_storage
from tests.support.helpers import ROOT, TrainHere, wandb_records
from tests.support.imports import imports_of, python_files
from tests.support.secrets_of import files_below, pickles, traces
from tests.support.sweep_apps import App

CANARY = "canary0" * 5 + "12345"  # 40 characters, as W&B's keys have

# Modules that make objects, or run code, out of what a file holds.
LOADERS = {"pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "joblib", "jsonpickle"}
# Calls that do: of any object, by the last part of their name.
CALLS = {"eval", "exec", "compile", "unsafe_load", "full_load", "read_pickle", "instantiate"}
# What is harmless on one object and not on another.
DOTTED = {"torch.load", "torch.save", "yaml.load", "yaml.Loader", "yaml.UnsafeLoader", "os.system",
          "hydra.utils.call", "numpy.load", "np.load"}  # fmt: skip
# The recorder of a training step runs the calls that it saw, under names of its own: no text of a
# file, or of a user, is in them.
ALLOWED = {str(ROOT / "src" / "nplm" / "recording.py"): ["exec"]}


def dangers(path: Path) -> Iterator[str]:
    """Imports, calls and flags of a source file that would run or build what data say."""
    yield from (i.module for i in imports_of(path) if i.package in LOADERS)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            last = name.rpartition(".")[2]
            if name in DOTTED or (last in CALLS and not name.startswith("re.")):
                yield name
            for word in node.keywords:
                if word.arg in ("shell", "allow_pickle") and ast.unparse(word.value) != "False":
                    yield f"{word.arg}={ast.unparse(word.value)}"
                if word.arg == "weights_only" and ast.unparse(word.value) != "True":
                    yield f"weights_only={ast.unparse(word.value)}"


class TestSource:
    def test_nothing_of_ours_unpickles_or_evaluates(self) -> None:
        files = python_files()
        assert len(files) > 80
        assert {str(p): list(dangers(p)) for p in files if list(dangers(p))} == ALLOWED

    def test_the_search_sees_each_danger(self, tmp_path: Path) -> None:
        path = tmp_path / "x.py"
        path.write_text(
            "import pickle\nfrom cloudpickle import dumps\ntorch.load(p, weights_only=False)\n"
            "yaml.load(f)\nsubprocess.run(w, shell=True)\neval('1')\nre.compile('x')\n"
            "hydra.utils.instantiate(c)\n"
        )
        assert list(dangers(path)) == [
            "pickle", "cloudpickle.dumps", "torch.load", "weights_only=False", "yaml.load",
            "shell=True", "eval", "hydra.utils.instantiate",
        ]  # fmt: skip

    def test_a_pickle_is_known_in_any_file(self, tmp_path: Path) -> None:
        torch.save({"w": torch.zeros(2)}, tmp_path / "weights")
        (tmp_path / "plain").write_bytes(pickle.dumps([1]))
        (tmp_path / "text").write_text("no")
        (tmp_path / "high").write_bytes(b"\x80\x81")
        assert [path.name for path in pickles(tmp_path)] == ["plain", "weights"]


class TestCanary:
    """A key of W&B's in the environment of a run; of a sweep, also by submitit:
    sweepmore/sweep/test_search.py; with the password of a server: servers/test_postgres.py."""

    @pytest.mark.system
    def test_a_run_writes_no_secret_and_no_pickle_and_listens_to_this_machine_alone(
        self, here: TrainHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        monkeypatch.setenv("WANDB_API_KEY", CANARY)
        folder = here(tmp_path / "run", "wandb.mode=offline")
        assert len(list(wandb_records(folder))) > 10  # it was searched
        assert traces(tmp_path, CANARY) == []
        assert pickles(tmp_path) == []
        out, err = capfd.readouterr()
        assert "dev loss" in out
        assert CANARY not in out + err
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        open_ports = [c for p in processes for c in p.net_connections() if c.status == "LISTEN"]
        assert {c.laddr.ip for c in open_ports} <= {"127.0.0.1", "::1"}

    def test_the_search_finds_a_secret_in_wandbs_log(self, here: TrainHere, tmp_path: Path) -> None:
        folder = here(tmp_path / "run", "wandb.mode=offline", f"wandb.notes={CANARY}")
        assert any(".wandb: run" in trace for trace in traces(folder, CANARY))


class TestDataIsNoCode:
    """``_target_`` and the like in files that a user did not write."""

    @pytest.fixture
    def trap(self, tmp_path: Path) -> dict[str, str]:
        """A node that would make a file if anybody built it."""
        return {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "sprung")}

    @pytest.fixture(autouse=True)
    def nothing_sprung(self, tmp_path: Path) -> Iterator[None]:
        yield
        assert not (tmp_path / "sprung").exists()

    def test_in_a_data_file(self, here: TrainHere, tmp_path: Path, trap: dict[str, str]) -> None:
        data = tmp_path / "data.txt"
        node = yaml.safe_dump(trap).strip()
        lines = [node, "${oc:env}", "!!python/object:x", "{{7*7}}", "<script>"]
        data.write_text("\n".join(line.replace(".", "-") for line in lines * 9))
        folder = here(tmp_path / "run", f"data.path={data}")
        assert json.loads((folder / "result.json").read_text())["status"] == "ok"

    @pytest.mark.parametrize("at", ["", "model", "optim", "data", "wandb"])
    def test_in_the_config_of_a_run_that_is_resumed(
        self, here: TrainHere, finished: Path, tmp_path: Path, trap: dict[str, str], at: str,
        capfd: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        folder = tmp_path / "received"
        shutil.copytree(finished, folder)
        (folder / "result.json").unlink()
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (config[at] if at else config).update(trap)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        with pytest.raises(SystemExit) as left:
            resumed(here, folder)
        assert left.value.code == 2
        assert "_target_" in capfd.readouterr().err

    def test_in_a_checkpoint(self, finished: Path, tmp_path: Path, trap: dict[str, str]) -> None:
        known = checkpoint.load(finished / LAST)
        about = {**known.about, "model": {**known.about["model"], **trap}}
        with pytest.raises(ConfigError, match="_target_"):
            restored(Checkpoint(known.tensors, about))

    @pytest.mark.parametrize(
        "place", ["outputs/runs/one", "outputs/runs", "outputs/studies/s/0001"]
    )
    def test_a_checkpoints_own_class_among_runs_is_not_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
    ) -> None:
        """Such folders need no __init__.py: what somebody sent could be imported from them."""
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')")
        monkeypatch.syspath_prepend(str(tmp_path))
        target = f"{place.replace('/', '.')}.model.Model"
        with pytest.raises(ConfigError, match="lies among runs"):
            empty_model(model_from({"name": "own", "target": target, "block_size": 3}), 27)

    def test_a_received_folder_beside_ones_own_code_is_one_of_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "received" / "code").mkdir(parents=True)
        (tmp_path / "received" / "provenance.json").write_text("{}")
        (tmp_path / "received" / "code" / "model.py").write_text("raise SystemExit('imported')")
        monkeypatch.syspath_prepend(str(tmp_path))
        node = {"name": "own", "target": "received.code.model.Model", "block_size": 3}
        with pytest.raises(ConfigError, match="lies among runs"):
            empty_model(model_from(node), 27)

    def test_a_sampler_is_built_of_parts_of_samplers(self, trap: dict[str, str]) -> None:
        space = parse_space(["x=interval(0,1)"], {}, lambda group: [])

        def build(node: object) -> None:
            build_sampler(node, space, worker=0, trials_so_far=0, base_seed=0)  # type: ignore[arg-type]

        for target in ("subprocess.Popen", "pathlib.Path"):
            with pytest.raises(ConfigError, match="is not a subclass of BaseSampler"):
                build({"_target_": target})
            inside = {"_target_": target, "args": ["touch", trap["self"]]}
            with pytest.raises(ConfigError, match="is not a subclass of BaseSampler or BasePruner"):
                build({**SAMPLERS["nsgaii"], "crossover": inside})
            with pytest.raises(ConfigError, match="is not a subclass of BaseSampler or BasePruner"):
                build_pruner({**PRUNERS["patient"], "wrapped_pruner": inside})


def resumed(here: TrainHere, folder: Path) -> None:
    """``train.py resume=FOLDER`` takes no other settings."""
    from nplm.app import for_hydra
    from sweepmore.compose import cli

    sys.argv[:] = [str(ROOT / "train.py"), f"resume={folder}", "hydra.run.dir=."]
    for_hydra.register()
    cli.hydra_app(train.main)


class TestNames:
    BAD = ("../x", "../../x", "/x", "a/b", "a\\b", ".", "..", ".hidden", "-x", "", "x" * 65, "x y",
           "é", "X", "$(x)", "x;y", "con\tx", "x.confirm/..")  # fmt: skip

    def test_of_a_study_s_folder_stays_a_name(self) -> None:
        """As far as the database takes a study's name, its folder has one of its own."""
        folders = {safe_name(name) for name in self.BAD}
        assert len(folders) == len(self.BAD)
        for folder in folders:
            assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", folder)

    @pytest.mark.parametrize("name", ["", "x" * 481, "x\n", "a\0b", "\udcff"])
    def test_of_a_study_that_no_database_holds(self, name: str) -> None:
        with pytest.raises(ConfigError, match="is not a valid name"):
            check_name(name)

    @pytest.mark.parametrize("name", ["../../elsewhere", "..", ".", "/", "s/../../elsewhere", ".s"])
    def test_of_a_study_that_is_looked_up_stays_among_the_studies(
        self, tmp_path: Path, name: str
    ) -> None:
        outputs = tmp_path / "outputs"
        for folder in (
            tmp_path / "elsewhere",
            outputs / "studies" / "s",
            outputs / "studies" / ".s",
        ):
            (folder / "0000").mkdir(parents=True)
            (folder / "0000" / "config.yaml").write_text("{}")
        assert find_trial("s", 0, outputs).name == "0000"
        with pytest.raises(RunError, match="There is no study"):
            find_trial(name, 0, outputs)

    @pytest.mark.system
    def test_a_link_in_the_place_of_a_studys_folder_is_not_followed(self, tmp_path: Path) -> None:
        """Neither one to a folder nor one to nowhere; each study goes beside it."""
        app = App.copied(tmp_path)
        studies, elsewhere = app.folder / "outputs" / "studies", tmp_path / "elsewhere"
        studies.mkdir(parents=True)
        elsewhere.mkdir()
        (studies / "a").symlink_to(elsewhere)
        (studies / "b").symlink_to(tmp_path / "nowhere")
        lines = [("x=1", f":study_name={name}") for name in "ab"]
        for done in app.each(*lines).values():
            assert done.returncode == 0, done.stderr
        assert list(elsewhere.iterdir()) == []
        assert not (tmp_path / "nowhere").exists()
        folders = [p for p in studies.iterdir() if not p.is_symlink() and p.is_dir()]
        assert sorted(p.name[:2] for p in folders) == ["a-", "b-"]

    def test_a_link_in_the_place_of_a_file_is_replaced(self, tmp_path: Path) -> None:
        from sweepmore.runs.files import write_atomic

        (tmp_path / "precious").write_text("kept")
        (tmp_path / "result.json").symlink_to(tmp_path / "precious")
        write_atomic(tmp_path / "result.json", "new")
        assert (tmp_path / "precious").read_text() == "kept"


class TestAccess:
    def test_the_ledger_is_its_owners_alone(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            url = URL.create("sqlite", database=str(tmp_path / "studies.db"))
            book = Ledger(url, tmp_path / "looks")
            look = book.claim("f" * 32, "a" * 64, {})
            modes = [mode_of(path) for path in files_below(tmp_path)]
            book.finish(look, {"loss": 1.0})
        finally:
            os.umask(before)
        assert modes == [mode_of(path) for path in files_below(tmp_path)] == ["0o600", "0o600"]

    def test_so_is_a_database_that_the_studies_made_first(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            open_storage(URL.create("sqlite", database=str(tmp_path / "studies.db")))
        finally:
            os.umask(before)
        assert mode_of(tmp_path / "studies.db") == "0o600"

    def test_the_dashboard_listens_to_this_machine_alone(self) -> None:
        assert serving.HOST == "127.0.0.1"
        (starts,) = (path for path in python_files() if "run_server(" in path.read_text())
        assert "run_server(shown, HOST, port," in starts.read_text()

    def test_no_other_server_is_ours(self) -> None:
        servers = {"http", "socketserver", "flask", "aiohttp", "uvicorn", "asyncio"}
        for path in python_files():
            found = {i.package for i in imports_of(path)} & servers
            assert not found, path
            assert not re.search(r"0\.0\.0\.0|\.bind\(|\.listen\(|create_server", path.read_text())


class TestDependencies:
    LOCK = (ROOT / "requirements.lock").read_text().splitlines()
    RAYS = (ROOT / "requirements-ray.lock").read_text().splitlines()  # of an environment beside

    def test_each_is_pinned_to_one_version_within_its_range(self) -> None:
        lines = [*self.RAYS, *self.LOCK]
        pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
        written = tomllib.loads((ROOT / "pyproject.toml").read_text())
        project, groups = written["project"], written["dependency-groups"]
        extras = project["optional-dependencies"]
        ranges = [*project["dependencies"], *chain.from_iterable(extras.values())]
        ranges += [one for one in chain.from_iterable(groups.values()) if isinstance(one, str)]
        asked = [one for one in map(Requirement, ranges) if one.name != "sweepmore"]
        assert len(asked) > 30
        names = {canonicalize_name(name): version for name, version in pinned.items()}
        for one in asked:
            assert one.specifier.contains(names[canonicalize_name(one.name)]), one
        (torch,) = (one for one in asked if one.name == "torch")
        assert not torch.specifier.contains("2.9.9")

    def test_what_is_installed_and_what_is_audited_is_the_lock(self) -> None:
        """An entry that could not be looked up is an error, not a harmless one."""
        setup, audit = (recipe(target) for target in ("setup", "audit"))
        assert "--requirement requirements.lock" in setup
        assert "--requirement requirements.lock" in audit
        assert "pip-audit" in audit
        assert "--strict" in audit.split()


def recipe(target: str) -> str:
    """The commands of a target of the Makefile, whatever is up to date."""
    words = ["make", "-n", "-B", "-C", str(ROOT), target]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout


def mode_of(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_a_page_shows_markup_as_text(tmp_path: Path) -> None:
    """Parameters, names and data come into the report as what they are."""
    from sweepmore.report.document import Page, Section, Table, write

    bad = "<script>alert(1)</script>"
    table = Table([bad], [[bad]], caption=bad)
    page = Page(bad, bad, [(bad, bad)], [bad], [Section(bad, bad, tables=[table])], [(bad, bad)])
    write(page, tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert bad not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 9


def test_security_md_says_where_code_may_come_from() -> None:
    """Every way of ours from a text to code stands there; the surface imports its own names."""
    text = (ROOT / "SECURITY.md").read_text()
    package = ROOT / "src" / "sweepmore"
    surfaces = {package / "__init__.py", package / "seal" / "__init__.py"}
    for path in {*(ROOT / "src").rglob("*.py")} - surfaces:
        modules = {i.module for i in imports_of(path)}
        imports = "importlib" in modules and "import_module" in path.read_text()
        if imports or "sweepmore.importing.imported" in modules:
            assert path.name in text, path
