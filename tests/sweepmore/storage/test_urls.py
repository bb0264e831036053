"""URLs of studies' databases: what is refused, what is shown, who resolves them, what fails."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
import warnings
from pathlib import Path
from types import ModuleType

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import create_trial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError

import evaluate_test
import sample
from sweepmore.compose import cli
from sweepmore.compose.composing import composing
from sweepmore.compose.script_storage import typed_url
from sweepmore.errors import ConfigError, StudyError
from sweepmore.seal.ledger import Ledger
from sweepmore.storage import opening as storage_module
from sweepmore.storage import patience as patience_module
from sweepmore.storage.opening import open_storage, storage_errors
from sweepmore.storage.patience import DatabaseAway, Patience
from sweepmore.storage.urls import is_of_environment, shown, storage_url
from tests.support.helpers import call_command, call_script

SECRET = "tell-nobody"
# The password stands in what was written: between user and host, in a default, as an option.
WRITTEN = [
    "postgresql://me:SECRET@h/d",
    "postgresql://me:SECRET/more@h/d",
    "postgresql://:SECRET@h/d",
    "${oc.env:NOWHERE,postgresql://me:SECRET@h/d}",
    "postgresql://me:${oc.env:NOWHERE,SECRET}@h/d",
    "postgresql://me:${oc.env:NOWHERE,${oc.env:NEITHER,SECRET}}@h/d",
    "postgresql://me:${oc.decode:SECRET}@h/d",
    "postgresql://h/d?connect_timeout=3&password=SECRET",
    "postgresql://h/d?sslpassword=SECRET",
    "postgresql://h/d?password=${oc.env:NOWHERE,SECRET}",
    "mysql://me@h/d?passwd=SECRET",
    "mssql://h/d?pwd=SECRET",
    "postgresql://h/d?oauth_token=SECRET",
]
# SQLAlchemy would take a part of the password for something that is shown, or say it itself.
UNREADABLE = [
    "postgresql://me:a@b:SECRET@h/d",
    "postgresql://me:SECRET/d",
    "postgresql://me:p@SECRET@h/d",
    "postgresql://me:p@SECRET/x@h/d",
    "postgresql://me:p@SECRET?x@h/d",
    "postgresql://m/e:SECRET@h/d",
    "sqlite://me:SECRET@h/d",
    "SECRET",
]
# No password stands there.
ALLOWED = [
    "${oc.env:STUDIES}",
    "postgresql://${oc.env:ME,me}:${oc.env:PW}@${oc.env:HOST,127.0.0.1}/d",
    "postgresql://h/d?password=${oc.env:PW}",
    "${oc.env:NOWHERE,sqlite:///studies.db}",
    "sqlite:////home/me@work/studies.db",
]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PW", SECRET)
    monkeypatch.setenv("STUDIES", f"postgresql://me:{SECRET}@h/d?sslpassword={SECRET}")
    return tmp_path


class TestUrl:
    @pytest.mark.parametrize("typed", ["postgresql://h/d", "postgres://h/d"])
    def test_what_is_typed_means_the_driver_that_the_extra_installs(
        self, empty: Path, typed: str
    ) -> None:
        assert storage_url(typed, typed, empty).drivername == "postgresql+psycopg"

    def test_a_driver_that_is_not_installed_is_named_with_the_cure(
        self, empty: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not there
        with pytest.raises(StudyError, match=r"cannot be opened: .*psycopg") as refused:
            storage_url("postgresql://h/d", "postgresql://h/d", empty)
        assert refused.value.cure == "Run: pip install 'psycopg[binary]'"

    @pytest.mark.parametrize("url", WRITTEN)
    def test_a_written_password_is_refused(self, empty: Path, url: str) -> None:
        with pytest.raises(ConfigError, match="holds a password") as refused:
            typed_url(url.replace("SECRET", SECRET), empty)
        assert SECRET not in str(refused.value)
        assert SECRET not in str(refused.value.value)

    @pytest.mark.parametrize("url", UNREADABLE)
    def test_what_is_no_url_is_not_repeated(
        self, empty: Path, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        """Neither where it was written nor where the environment brings it."""
        monkeypatch.setenv("STUDIES", url.replace("SECRET", SECRET))
        for written in (url.replace("SECRET", SECRET), "${oc.env:STUDIES}"):
            with pytest.raises(ConfigError, match=r"not a URL[\s\S]*%40 for @") as refused:
                typed_url(written, empty)
            assert SECRET not in str(refused.value)
            assert refused.value.value is None
            assert refused.value.__suppress_context__ or refused.value.__context__ is None

    @pytest.mark.parametrize("url", ALLOWED)
    def test_one_from_elsewhere_is_allowed_and_not_shown(self, empty: Path, url: str) -> None:
        assert SECRET not in shown(typed_url(url, empty))
        assert is_of_environment(url)

    def test_people_are_shown_neither_user_nor_password_nor_options(self) -> None:
        url = make_url(f"postgresql+psycopg://me:{SECRET}@h:5433/d?sslmode=require")
        assert shown(url) == "postgresql+psycopg://h:5433/d"

    @pytest.mark.parametrize("url", ["${db.url}", "sqlite:///${hydra:runtime.cwd}/s.db"])
    def test_a_reference_to_the_config_is_no_other_scripts(self, url: str) -> None:
        assert not is_of_environment(url)


@pytest.mark.parametrize("mark", ["(", "'", "=", "@("])
def test_what_hydra_cannot_read_and_repeats_loses_its_password(
    mark: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    typed = f"hydra.sweeper.storage=postgresql://me:{SECRET}{mark}@h/d"
    with pytest.raises(SystemExit), cli.errors_reported(), composing():
        OverridesParser.create().parse_overrides([typed])
    said = capsys.readouterr().err
    assert "hydra.sweeper.storage=postgresql://…@h/d is not key=value" in said
    assert SECRET not in said


def test_sqlite_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "studies.db"
    open_storage(make_url(f"sqlite:///{path}"))
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o660)
    open_storage(make_url(f"sqlite:///{path}"))
    assert path.stat().st_mode & 0o777 == 0o660  # who shares it says so


def test_the_ledger_waits_for_a_lock_as_long_as_the_studies(studies: Path) -> None:
    """These in many calls, each as long as SQLite itself would wait."""
    url = make_url(f"sqlite:///{studies}")
    of_studies = open_storage(url)._backend.engine  # type: ignore[attr-defined]  # RDB only
    engines = [of_studies, Ledger(url, studies.parent).rows.engine()]
    waits = []
    for engine in engines:
        with engine.connect() as connection:
            waits.append(connection.exec_driver_sql("PRAGMA busy_timeout").scalar())
    assert waits == [5_000, 300_000]
    assert Patience("d").limit == 300


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one study of one trial."""
    path = tmp_path_factory.mktemp("database") / "studies.db"
    storage = open_storage(make_url(f"sqlite:///{path}"))
    study = optuna.create_study(study_name="known", storage=storage)
    for key, value in {"command": {"words": []}, "question": {"config": {}}, "uid": "0"}.items():
        study.set_user_attr(key, value)
    attributes = {"slot": 0, "root": 0, "folder": str(path.parent)}
    study.add_trial(create_trial(value=1.0, user_attrs=attributes))
    return path


@pytest.fixture
def studies(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, of which the environment alone knows where it is."""
    path = tmp_path / "elsewhere.db"
    shutil.copy(database, path)
    monkeypatch.setenv("STUDIES", f"sqlite:///{path}")
    return path


FULL = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
THERE = "storage=${oc.env:STUDIES}"
SCRIPTS = [sample, evaluate_test]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
class TestScripts:
    def refused(self, script: ModuleType, folder: Path, *words: str) -> str:
        done = call_script(script, *words, f"outputs={folder}")
        assert done.returncode == 2, done
        assert done.stderr.count("error: ") == 1
        return done.stderr

    def test_a_script_resolves_the_environment(
        self, script: ModuleType, studies: Path, tmp_path: Path
    ) -> None:
        said = self.refused(script, tmp_path, "study=unknown", THERE)
        assert "There is no study unknown.\n  Known: known." in said
        assert not (tmp_path / "studies.db").exists()

    def test_a_variable_that_is_not_set_is_named(
        self, script: ModuleType, tmp_path: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("STUDIES")
        said = self.refused(script, tmp_path, "study=unknown", THERE)
        assert said.startswith("error: Environment variable 'STUDIES' not found.\n  Export it")

    def test_a_file_that_is_not_there_is_not_made(self, script: ModuleType, tmp_path: Path) -> None:
        said = self.refused(script, tmp_path, "study=known", f"storage=sqlite:///{tmp_path}/x.db")
        assert "x.db cannot be opened: there is no such file" in said
        assert not (tmp_path / "x.db").exists()

    def test_a_folder_that_is_not_there_is_not_made(
        self, script: ModuleType, tmp_path: Path
    ) -> None:
        """Nor is a database in one that is there, nor tables in an empty one."""
        said = self.refused(script, tmp_path / "typo", "study=known")
        assert said.startswith(f"error: There is no folder {tmp_path / 'typo'}.\n  outputs= names")
        assert list(tmp_path.iterdir()) == []
        for empty in (False, True):
            if empty:
                (tmp_path / "studies.db").touch()
            for name in ("known", "last"):
                said = self.refused(script, tmp_path, f"study={name}")
                assert said == f"error: There is no study {name}.\n  Known: none.\n"
        assert [path.stat().st_size for path in tmp_path.iterdir()] == [0]

    def test_a_damaged_database_is_one_message(
        self, script: ModuleType, studies: Path, tmp_path: Path
    ) -> None:
        """Its first page is whole, so that it opens; what the study is in is not."""
        content = bytearray(studies.read_bytes())
        page = content.index(b"known") // 4096 * 4096
        content[page : page + 8] = b"\xff" * 8
        studies.write_bytes(content)
        said = self.refused(script, tmp_path, "study=known", THERE)
        assert "database disk image is malformed" in said
        assert "Traceback" not in said


def test_a_locked_database_ends_a_confirmation_with_one_message(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be read, so that the study is found; the plan of the fresh seeds cannot be kept."""
    monkeypatch.setattr(storage_module, "BUSY_SECONDS", 0)
    monkeypatch.setattr(patience_module, "PATIENCE_SECONDS", 0.3)
    with contextlib.closing(sqlite3.connect(studies)) as another:
        another.execute("BEGIN IMMEDIATE")
        done = call_command(
            "confirm", "known", f"--{THERE}", f"--outputs={tmp_path}", "--seed-key=seed"
        )
    assert done.returncode == 2, done
    assert "elsewhere.db has been locked by another program for " in done.stderr
    assert " s.\n  End that program or its transaction, then rerun the same" in done.stderr
    assert done.stderr.count("error: ") == 1


@pytest.mark.parametrize("error", [DatabaseAway("It is away.", cure="Wait."), FULL])
def test_the_way_on_is_the_one_of_who_asked(error: Exception) -> None:
    """Also where a server stayed away: the same command may be the wrong one."""
    with pytest.raises(StudyError) as told, storage_errors(make_url("sqlite:///x"), "Go back."):
        raise error
    assert told.value.cure == "Go back."


def test_a_bug_is_no_failure_of_the_database() -> None:
    with pytest.raises(IntegrityError), storage_errors(make_url("sqlite:///x")):
        raise IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE"))


def test_a_page_of_a_run_makes_no_misspelt_folder(finished: Path, tmp_path: Path) -> None:
    done = call_command("report", str(finished), f"--outputs={tmp_path / 'typo'}")
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])


def test_a_list_of_a_folder_that_is_not_there_makes_none(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "studies.db").touch()
    done = call_command("ls", f"--outputs={tmp_path / 'typo'}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "typo" in done.stderr
    done = call_command("ls", f"--outputs={tmp_path / 'there'}")
    assert (done.returncode, done.stdout[:11]) == (0, "Nothing yet")
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "studies.db"]
    assert (tmp_path / "there" / "studies.db").stat().st_size == 0


def test_the_next_command_names_the_variable(studies: Path, tmp_path: Path) -> None:
    done = call_command("ls", f"--{THERE}", f"--outputs={tmp_path}")
    assert done.returncode == 0, done
    assert "known" in done.stdout
    words = f"--outputs {tmp_path} --storage '{THERE.removeprefix('storage=')}'"
    assert f"sweepmore report NAME {words} makes a page" in done.stdout
