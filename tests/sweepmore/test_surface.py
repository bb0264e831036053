"""``import sweepmore``: what it offers, that it loads next to nothing, and its examples."""

from __future__ import annotations

import doctest
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import sweepmore
from sweepmore import seal
from sweepmore.compose import studies
from sweepmore.errors import ConfigError

# The standard library aside. Another one here costs every application its import.
LOADED = {"sweepmore"}


def printed(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_import_loads_nothing_else() -> None:
    bare = set(printed("import sys; print(*sys.modules)"))
    with_it = set(printed("import sys, sweepmore; print(*sys.modules)"))
    new = {name for name in with_it - bare if name.partition(".")[0] not in sys.stdlib_module_names}
    assert new == LOADED


def test_a_task_outside_a_sweep_loads_no_optuna() -> None:
    asked = "import sys, sweepmore; sweepmore.current_trial(); print(*sys.modules)"
    assert not {"optuna", "numpy", "hydra", "sqlalchemy"} & set(printed(asked))


@pytest.mark.parametrize("module", [sweepmore, seal], ids=lambda module: module.__name__)
def test_every_name_is_there(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]
    assert set(names) <= set(dir(module))
    for name in names:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = module.nothing  # type: ignore[attr-defined]


def test_the_version_is_the_installed_one() -> None:
    assert sweepmore.__version__[0].isdigit()


def examples_of(thing: object, name: str) -> doctest.TestResults:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in doctest.DocTestFinder(recurse=False).find(thing, name):
        runner.run(example)
    return runner.summarize(verbose=False)


def test_the_seal_does_what_its_example_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = examples_of(seal, "seal")
    assert (results.failed, results.attempted) == (0, 7)
    assert len(list((tmp_path / "looks").iterdir())) == 1


@pytest.mark.system
def test_load_study_does_what_its_example_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.py").write_text(
        "import hydra\n"
        "@hydra.main(version_base='1.3', config_path='.', config_name='config')\n"
        "def main(cfg):\n"
        "    return (cfg.x - 1) ** 2\n"
        "main()\n"
    )
    text = "defaults: [_self_, {override hydra/sweeper: sweepmore}]\nx: 0.0\n"
    (tmp_path / "config.yaml").write_text(text)
    sweep = [sys.executable, "app.py", "-m", "x=1.5,3.0"]
    subprocess.run(sweep, cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    results = examples_of(studies.load_study, "load_study")
    assert (results.failed, results.attempted) == (0, 3)

    study = sweepmore.load_study("last")
    if importlib.util.find_spec("pandas") is None:
        with pytest.raises(ConfigError, match=r"pandas is not installed\.\n  pip install pandas"):
            study.to_pandas()
    else:
        table = study.to_pandas()
        assert list(table["params.x"]) == [1.5, 3.0]
        assert list(table["value"]) == [0.25, 4.0]
