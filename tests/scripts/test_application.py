"""What an application registers, its studies keep; and nobody speaks of nplm to another one."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra
import optuna
import pytest
from optuna_dashboard import get_note

import train
from nplm.app.application import describe
from sweepmore.errors import ConfigError
from sweepmore.report.additions import Additions
from sweepmore.report.study import read_study
from sweepmore.report.study_page import study_page
from sweepmore.runs.places import Place
from sweepmore.storage.opening import open_storage
from sweepmore.storage.urls import storage_url
from sweepmore.study.application import (
    Application,
    Command,
    Commands,
    Curve,
    Curves,
    register,
    registered_by,
)
from sweepmore.study.attributes import StudyAttributes, stored
from sweepmore.study.loading import load
from sweepmore.sweep.command_lines import command_line
from tests.support.helpers import ROOT, call_command, environment, run_command
from tests.support.sweep_apps import PATIENCE, errors
from tests.support.wandb_stub import serve

# Words of nplm: what it measures, its scripts, how it begins.
WORDS = re.compile(
    r"dev[_ ]loss|train[_ ]loss|\bnats\b|\btokens?\b|perplex|kneser|counting|net alone|nplm"
    r"|makemore|dev_examples|sample\.py|evaluate_test|train\.py|experiment=|(?<!\w)dev\b",
    re.IGNORECASE,
)
# Where they mean something else: a secret's name, a process that counts the jobs of a queue.
OTHERWISE = {("errors.py", "token"), ("jobs.py", "counting")}

SHOW = Command("How late the {which} is:", "python show.py --of {study}{where}")
PLACE = Place(Path("/elsewhere"))
FLIGHTS = Application(
    name="flights",
    objectives=("delay (min)",),
    curves=Curves(
        title="Delays", quantity="delay", unit="min", drawn=(Curve("held-out", "delay"),),
        overfit=("delay_in_sample", "delay"),
    ),
    columns={"airports": "airports served"},
    commands=Commands(study=SHOW, number=Command("The season:", "season {study}")),
    begin="python app.py",
    evaluators=("app.py",),
)  # fmt: skip

APP = """
import hydra
REGISTRATION
@hydra.main(version_base="1.3", config_path=".", config_name="config")
DECORATOR
def main(cfg):
    from sweepmore.trial import current_trial
    trial = current_trial()
    value = (cfg.x - 2) ** 2 + cfg.seed / 1e9
    if trial is not None:
        for step in range(3):
            trial.report(step, value + 1 / (1 + step))
        trial.set("result", {"airports": cfg.x, "delay": value, "delay_in_sample": value / 2})
    return value

if __name__ == "__main__":
    main()
"""
CONFIG = "defaults: [_self_, {override hydra/sweeper: sweepmore}]\nx: 0\nseed: 0\n"


def test_the_framework_speaks_of_no_model() -> None:
    for folder in ("sweepmore", "hydra_plugins"):
        for path in sorted((ROOT / "src" / folder).rglob("*")):
            if path.suffix not in (".py", ".j2"):
                continue
            words = {match.lower() for match in WORDS.findall(path.read_text())}
            allowed = {word for name, word in OTHERWISE if name == path.name}
            assert not words - allowed - {"dev"}, path  # /dev/null, -X dev


# the record


def keep(study: optuna.Study, application: Application) -> None:
    StudyAttributes(application=application).write(study)


def kept(study: optuna.Study) -> Application | None:
    return StudyAttributes.of(study).application


@pytest.mark.parametrize("application", [Application(), FLIGHTS, describe({})])
def test_a_study_keeps_the_whole_record_as_json(application: Application) -> None:
    study = optuna.create_study(study_name="s")
    assert kept(study) is None
    keep(study, application)
    assert json.loads(json.dumps(stored(study)["application"])) == application.written()
    assert kept(study) == application


def test_a_record_of_a_later_version_is_read_without_what_it_adds() -> None:
    written = FLIGHTS.written()
    written |= {"new": 1, "curves": {**written["curves"], "new": 1}}
    written["commands"] = {**written["commands"], "new": {"title": "", "line": "", "new": 1}}
    written["commands"]["study"] = {**written["commands"]["study"], "new": 1}
    assert Application.read(written) == FLIGHTS


def test_nplm_registers_itself_with_files_that_exist() -> None:
    expected = dataclasses.replace(describe({}), root=str(ROOT))
    assert registered_by(train.main, {}) == expected


def test_nplm_has_its_own_words_for_its_own_configs() -> None:
    ours = {"eval_every": 0.02, "objective": "dev_loss", "optim.lr": 0.1}
    assert describe(ours).objectives == ("dev loss (nats/token)",)
    assert describe({"x": 1, "seed": 0}) == Application()


@pytest.mark.parametrize("place", ["outer", "inner"])
def test_it_is_registered_above_or_below_hydra_main(place: str, tmp_path: Path) -> None:
    """Or by a function of the study's fixed config; its folder is that of the task's file."""

    def named(config: Any) -> Application:
        return dataclasses.replace(FLIGHTS, name=config["name"])

    code = "@outer\n@hydra.main(version_base='1.3', config_path=None)\n@inner\ndef main(cfg): ...\n"
    path = tmp_path / "app.py"
    path.write_text(code)
    for given, name in ((FLIGHTS, "flights"), (named, "trains")):
        names: dict[str, Any] = {"hydra": hydra, "outer": _same, "inner": _same}
        names[place] = register(given)
        exec(compile(code, str(path), "exec"), names)
        main = names["main"]
        expected = dataclasses.replace(FLIGHTS, name=name, root=str(tmp_path))
        for task in (main, main.__wrapped__):  # the second is what Hydra gives its sweeper
            assert registered_by(task, {"name": "trains"}) == expected


def _same(task: Any) -> Any:
    return task


def test_a_task_that_registers_nothing_is_neutral() -> None:
    assert registered_by(_same, {}) == Application(root=str(Path(__file__).parent))


def test_mistakes_in_what_is_registered_are_one_message() -> None:
    with pytest.raises(ConfigError, match=r"unknown \{stuy\}.*\n.*Did you mean study\?"):
        Command("", "python show.py {stuy}")
    task = register(Application(evaluators=("gone.py",)))(lambda config: 0.0)
    with pytest.raises(ConfigError, match=r"gone\.py as an evaluator") as raised:
        registered_by(task, {})
    assert raised.value.value == "gone.py"


def test_a_command_is_offered_as_it_is_typed_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"study": "'{where} b'", "which": "winner", "where": " outputs=o"}
    title = "How late the winner is:"
    assert SHOW.typed(tmp_path, **words) is None  # the script is not there
    (tmp_path / "show.py").touch()
    line = f"python {tmp_path / 'show.py'} --of '{{where}} b' outputs=o"
    assert SHOW.typed(tmp_path / "gone", tmp_path, **words) == (title, line)
    monkeypatch.chdir(tmp_path)
    assert SHOW.typed(tmp_path, **words) == (title, "python show.py --of '{where} b' outputs=o")
    other = Command("", "season {study}")
    assert other.typed(study="s") == ("", "season s")


# what is made of a study of another application


@dataclasses.dataclass(frozen=True)
class Made:
    """All that is printed and written about a study, and the study."""

    study: optuna.Study
    sweep: str
    confirmed: str
    page: str
    upload: str

    @property
    def everything(self) -> dict[str, str]:
        return {
            "sweep": self.sweep,
            "confirm": self.confirmed,
            "page": self.page,
            "note": get_note(self.study),
            "attributes": json.dumps(stored(self.study)),
            "W&B": self.upload,
        }


def make(folder: Path, registered: bool) -> Made:
    """Sweep a Hydra application, confirm its best, write its page and its W&B report."""
    folder.mkdir()
    app = APP.replace("REGISTRATION", "from about import ABOUT" if registered else "")
    (folder / "app.py").write_text(app.replace("DECORATOR", "@ABOUT" if registered else ""))
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "about.py").write_text(
        f"from sweepmore.study.application import *\nABOUT = register({FLIGHTS!r})\n"
    )
    (folder / "show.py").touch()
    words = ["-m", "x=choice(1,2,4)", "hydra.sweeper.study_name=s"]
    swept = subprocess.run(
        [sys.executable, "app.py", *words], cwd=folder, env=environment({}), timeout=PATIENCE,
        capture_output=True, text=True,
    )  # fmt: skip
    assert swept.returncode == 0, errors(swept)
    place = (f"--outputs={folder / 'outputs'}", "s")
    confirmed = call_command("confirm", *place, "--top=2", "--seeds=2")
    assert confirmed.returncode == 0, errors(confirmed)
    reported = call_command("report", *place)
    assert reported.returncode == 0, errors(reported)
    page = (folder / "outputs" / "reports" / "s" / "index.html").read_text()
    with serve() as stub:
        env = {**stub.env(), "HOME": str(folder)}
        sent = run_command("wandb", *place, "--metric=delay", env=env)
        assert sent.returncode == 0, errors(sent)
        (saved,) = stub.variables_of("upsertView")
    study = load(open_storage(storage_url(None, None, folder / "outputs")), "s")
    upload = sent.stdout + json.dumps(saved)
    return Made(study, errors(swept), errors(confirmed), page + errors(reported), upload)


@pytest.fixture(scope="module")
def neutral(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("foreign") / "own", registered=False)


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("foreign") / "own", registered=True)


def words_of_nplm(text: str) -> set[str]:
    """In what a person reads: not in a path of this checkout, nor in a page's script."""
    return set(WORDS.findall(text.replace(str(ROOT), "").replace("/dev/", "")))


@pytest.mark.system
@pytest.mark.parametrize("which", ["neutral", "flights"])
def test_nobody_speaks_of_nplm_to_another_application(
    which: str, request: pytest.FixtureRequest
) -> None:
    made: Made = request.getfixturevalue(which)
    assert words_of_nplm("best dev loss (nats/token)")
    for name, text in made.everything.items():
        assert len(text) > 50, name
        assert not words_of_nplm(text), name


@pytest.mark.system
def test_one_that_registers_nothing_has_neutral_words(neutral: Made) -> None:
    keeps = kept(neutral.study)
    assert keeps is not None
    assert dataclasses.replace(keeps, root=None) == Application()
    assert "best objective" in neutral.page
    assert 'id="fit"' not in neutral.page
    assert "minimize objective over x" in neutral.upload
    assert "show.py" not in str(neutral.everything)


@pytest.mark.system
def test_one_that_registers_is_spoken_of_in_its_own_words(flights: Made) -> None:
    keeps = kept(flights.study)
    assert keeps is not None
    folder = Path(str(keeps.root))
    assert keeps == dataclasses.replace(FLIGHTS, root=str(folder))
    show = f"python {folder / 'show.py'} --of s"
    assert "next:    sweepmore confirm s · python show.py --of s" in flights.sweep
    next_lines = flights.confirmed[flights.confirmed.index("next     ") :].splitlines()
    assert next_lines[0].endswith(f" · {show}")  # outputs are where it looks by itself
    assert next_lines[1] == "         season s, once"
    for words in ("best delay (min)", "airports served", "held-out delay (min)", "The season:",
                  ">season s<", "How late the winner is:", show, 'id="fit"'):  # fmt: skip
        assert words in flights.page, words
    assert "minimize delay (min) over x" in flights.upload


@pytest.mark.system
def test_a_page_needs_no_application(flights: Made) -> None:
    """Its confirmation keeps the record, too, and a worker has nothing to write."""
    page = study_page(read_study(flights.study, Additions(), PLACE), Additions())
    assert page.facts[2][0] == "in the search alone: best delay (min)"
    assert [title for title, _ in page.commands[:2]] == ["The season:", "How late the winner is:"]
    confirmed = load(flights.study._storage, "s.confirm")
    assert kept(confirmed) == kept(flights.study)


@pytest.mark.system
def test_a_study_of_an_older_version_takes_what_its_confirmation_keeps(flights: Made) -> None:
    older = optuna.create_study(study_name="old")
    for key, value in stored(flights.study).items():
        if key != "application":
            older.set_user_attr(key, value)
    older.add_trials(flights.study.get_trials())
    before = read_study(older, Additions(), PLACE)
    assert before.metrics == ["objective"]
    assert "python app.py" in command_line(before.attrs.command)
    assert read_study(older, Additions(lambda config: FLIGHTS), PLACE).metrics == ["delay (min)"]
    confirmed = optuna.create_study(study_name="old.confirm", storage=older._storage)
    keep(confirmed, FLIGHTS)
    assert read_study(older, Additions(), PLACE).metrics == ["delay (min)"]
