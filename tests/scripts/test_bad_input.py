"""Every input that a user can get wrong: one message with the cure, exit code 2, no folder."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path

import hydra
import pytest

from tests.support.helpers import NO_NETWORK, TrainHere, refused, run_script, train_here

# what Hydra says of its own has other words there
HYDRA14 = not hydra.__version__.startswith("1.3.")
LONG = b"a" * 10_001
GOOD = b"\n".join(b"name" + bytes([97 + i]) for i in range(20))


@dataclasses.dataclass(frozen=True)
class Bad:
    """Words for train.py and what its message must say. ``content`` is written to FILE."""

    words: str
    says: tuple[str, ...]
    content: bytes | None = None


FILE = "data=text data.path=FILE"
FILES = {
    "missing": Bad(FILE, ("FILE: No such file", "data=text data.path=FILE")),
    "empty": Bad(FILE, ("FILE is empty", "one item a line"), b""),
    "blank lines": Bad(FILE, ("FILE has only blank lines", "one item a line"), b"\n \n\t\r\n\n"),
    "one line": Bad(FILE, ("1 line split", "0 / 0 / 1", "give more lines"), b"anna\n"),
    "two lines": Bad(FILE, ("2 lines split", "1 / 0 / 1", "give more lines"), b"anna\nben\n"),
    "three lines": Bad(FILE, ("3 lines split", "2 / 0 / 1", "data.split"), b"anna\nben\nc\n"),
    "not UTF-8": Bad(FILE, ("FILE, line 3: not UTF-8", "Save the file as UTF-8"),
                     b"anna\nben\nzo\xeb\n"),
    "boundary": Bad(FILE, ("FILE, line 2: contains the boundary token '.'", "Remove it"),
                    b"anna\nst. john\n" + GOOD),
    "NUL": Bad(FILE, ("FILE, line 2: contains a NUL byte", "Remove it"), b"anna\nb\0n\n" + GOOD),
    "long line": Bad(FILE, ("FILE, line 2: the line has 10,001 characters", "at most 10,000"),
                     b"anna\n" + LONG + b"\n" + GOOD),
    "a million characters": Bad(FILE, ("FILE, line 1: the line has 1,000,000 characters",
                                       "at most 10,000"),
                                100 * LONG[:-1] + b"\n" + GOOD),
    "long line, CRLF": Bad(FILE, ("FILE, line 2: the line has 10,001 characters",),
                           b"anna\r\n" + LONG + b"\r\n" + GOOD),
}  # fmt: skip

SETTINGS = {
    "unknown key": Bad("model.hiden=3", ("Unknown key model.hiden", "mean model.hidden?")),
    "key without its group": Bad("emb=3", ("Unknown key emb", "mean model.emb?")),
    "key of another optimiser": Bad("optim.beta1=0.5", ("Unknown key optim.beta1",)),
    "added key": Bad("+model.depth=2", ("Unknown key model.depth=2", "block_size")),
    "key of another model": Bad("model=ngram model.emb=3", ("Unknown key model.emb",)),
    "four layers": Bad("model.layers=4", ("model.layers=4", "at most 3")),
    "all dropped": Bad("model.dropout=1", ("model.dropout=1", "below 1")),
    "no class": Bad("model=own", ("model.target=null is not a class", "module.Class")),
    "class that is not there": Bad("model=own model.target=nowhere.Net",
                                   ("model.target=nowhere.Net cannot be imported", "nowhere")),
    "class that is no model": Bad("model=own model.target=pathlib.Path",
                                  ("model.target=pathlib.Path is not a language model",
                                   "nplm.model.LanguageModel")),
    "order 0": Bad("model=ngram model.order=0", ("model.order=0", "at least 1")),
    "no smoothing": Bad("model=bigram model.smoothing=0", ("model.smoothing=0", "above 0")),
    "counting mixed with itself": Bad("model=ngram mix=true", ("mix=true", "model=ngram counts",
                                                               "model=mlp")),
    "mix of a batch": Bad("mix=true overfit_batch=true", ("mix=true and overfit_batch=true",)),
    "no average": Bad("optim.ema=1", ("optim.ema=1", "below 1")),
    "no gradient": Bad("optim.clip=0", ("optim.clip=0", "above 0")),
    "unknown option": Bad("optim=adam", ("There is no optim=adam", "mean adamw?", "sgd")),
    "unknown group": Bad("optimizer=sgd", ("optimizer", "mean optim?")),
    "unknown experiment": Bad("experiment=quik", ("There is no experiment=quik", "mean quick?",
                                                  "lecture")),
    "unknown data": Bad("data=name", ("There is no data=name", "mean names?")),
    "file for an option": Bad("data=names/file.txt",
                              ("error: There is no data=names/file.txt.\n  Known: austen, ",
                               "names, text. A group takes a name, not a path.")),
    "path for an option": Bad("data=/tmp/names.txt", ("There is no data=/tmp/names.txt.\n",)),
    "file of a group in a group": Bad("hydra/sweeper=a/b", ("There is no hydra/sweeper=a/b.\n",)),
    "nothing for an option": Bad("data=", ("There is no data=.\n  Known: austen",)),
    "text for a number": Bad("model.emb=two", ("model.emb=two is not a whole number",)),
    "fraction for a count": Bad("optim.steps=1.5", ("optim.steps=1.5 is not a whole number",)),
    "truth for a number": Bad("model.hidden=true", ("model.hidden=true is not a whole number",)),
    "null for a number": Bad("optim.lr=null", ("optim.lr=null is not a number",)),
    "value for a group": Bad("model=3", ("A group takes the name of an option", "Got int")),
    "list for a group's deletion": Bad("~model=[]", ("Hydra does not accept ~model=[]",
                                                     "A group takes the name of an option")),
    "number for a group's deletion": Bad("~optim=1_000", ("Hydra does not accept ~optim=1_000",)),
    "zero for a group's deletion": Bad("~experiment=-0", ("Hydra does not accept ~experiment=-0",)),
    "null for a group": Bad("optim=null", ("Hydra does not accept optim=null", "Got NoneType")),
    "group that is put over Hydra's": Bad("hydra=5", ("Hydra does not accept hydra=5",)),
    "value that Hydra has no kind for": Bad("hydra.job.name=[1]",
                                            ("Hydra does not accept hydra.job.name=[1]",)),
    "mode": Bad("hydra.mode=x", ("Invalid hydra.mode 'x'", "RUN or MULTIRUN") if HYDRA14
                else ("Hydra does not accept hydra.mode=x", "RUN, MULTIRUN")),
    "key that nothing has": Bad("model.emb=${nowhere}",
                                ("Interpolation key 'nowhere' not found (in model.emb)",)),
    "variable that is not set": Bad("model.emb=${oc.env:NOWHERE}",
                                    ("Environment variable 'NOWHERE' not found", "Export it")),
    "variable that is not there to copy": Bad("hydra.job.env_copy=[NOWHERE] seed=1",
                                              ("Environment variable 'NOWHERE' not found",)),
    "variable of a group": Bad("model=${oc.env:NOWHERE}",
                               ("resolving interpolation '${oc.env:NOWHERE}'",) if HYDRA14
                               else ("'NOWHERE' not found", "Export it")),
    "resolver that nobody knows": Bad("seed=${nothing:1}", ("nothing",)),
    "folder that cannot be told": Bad("hydra.run.dir=${nowhere}", ("'nowhere' not found",)),
    "callback": Bad("+hydra.callbacks.x._target_=nowhere", ("Error locating target 'nowhere'",)),
    "list too short": Bad("data.split=[0.5,0.5]", ("data.split", "a list of 3 values")),
    "choice": Bad("model.init=scale", ("model.init=scale is not one of", "mean scaled?")),
    "nan": Bad("optim.lr=nan", ("optim.lr=nan is not a finite number",)),
    "infinite": Bad("optim.lr=inf", ("optim.lr=inf is not a finite number",)),
    "lr 0": Bad("optim.lr=0", ("optim.lr=0", "above 0")),
    "batch 0": Bad("optim.batch_size=0", ("optim.batch_size=0", "at least 1")),
    "block 10**9": Bad("model.block_size=1000000000", ("model.block_size=1000000000", "at most")),
    "momentum 1": Bad("optim.momentum=1", ("optim.momentum=1", "below 1")),
    "negative seed": Bad("seed=-1", ("seed=-1", "at least 0")),
    "negative data seed": Bad("data.seed=-1", ("data.seed=-1", "at least 0")),
    "share 0": Bad("data.split=[0.9,0.1,0.0]", ("data.split", "above 0")),
    "shares beyond 1": Bad("data.split=[0.8,0.2,0.2]", ("sums to 1.2", "sum to 1")),
    "threads 0": Bad("threads=0", ("threads=0", "at least 1")),
    "device": Bad("device=gpu", ("device=gpu is not one of", "auto, cpu, cuda, mps")),
    "W&B mode": Bad("wandb.mode=off", ("wandb.mode", "offline, online, disabled")),
    "drop after the end": Bad("optim.steps=100 optim.decay_step=100",
                              ("optim.decay_step=100 is never reached in optim.steps=100",
                               "below optim.steps")),
    "text without path": Bad("data=text", ("data=text cannot be used with data.path=null",
                                           "data=text data.path=FILE")),
    "path without text": Bad("data.path=x.txt",
                             ("data=given_names cannot be used with data.path=x.txt",)),
    "not an override": Bad("steps", ("steps is not key=value",
                                     "string: steps" if HYDRA14 else "missing EQUAL")),
    "torn list": Bad("data.split=[0.8,", ("data.split=[0.8, is not key=value",)),
    "setting with dashes": Bad("--hidden 200", ("There is no flag --hidden", "model.hidden=200",
                                                "Settings are key=value")),
    "the same in one word": Bad("--hidden=200", ("There is no flag", "model.hidden=200")),
    "setting with dashes and dots": Bad("--optim.lr 0.1", ("There is no flag", "optim.lr=0.1")),
    "letter": Bad("-z", ("There is no flag -z", "Settings are key=value")),
    "choice of a flag": Bad("--cfg nothing", ("invalid choice: 'nothing'", "--hydra-help")),
    "half a flag": Bad("--h", ("Ambiguous option: --h",)),
    "two rows": Bad("--cfg job seed=1", ("A flag separates seed=1",)),
    "config that is not there": Bad("--config-name nothing", ("There is no config=nothing",)),
    "folder that is not there": Bad("--config-dir nowhere", ("nowhere' not found",)),
    "shell": Bad("--shell-completion", ("Expecting one subcommand",)),
    "no such run to resume": Bad("resume=nowhere", ("nowhere is not a run", "Give a run's folder")),
    "no such run to start from": Bad("start_from=nowhere", ("nowhere is not a run",)),
}  # fmt: skip


@pytest.mark.usefixtures("here")  # restores argv
@pytest.mark.parametrize("case", [*FILES, *SETTINGS])
def test_bad_input_is_refused(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {**FILES, **SETTINGS}[case]
    file = tmp_path / "lines.txt"
    if bad.content is not None:
        file.write_bytes(bad.content)
    words = bad.words.replace("FILE", str(file)).split()
    message = refused(tmp_path / "run", words, capsys, train_here)
    for part in bad.says:
        assert part in message.replace(f"path={file}", "path=FILE").replace(f"{file}", "FILE")


@pytest.mark.usefixtures("here")
def test_unreadable_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link to itself: no rights, not even root's, open it."""
    loop = tmp_path / "loop.txt"
    loop.symlink_to(loop)
    words = ["data=text", f"data.path={loop}"]
    message = refused(tmp_path / "run", words, capsys, train_here)
    assert f"{loop}: Too many levels of symbolic links" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.usefixtures("here")
def test_file_without_rights_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(GOOD)
    path.chmod(0)
    message = refused(tmp_path / "run", ["data=text", f"data.path={path}"], capsys, train_here)
    assert f"{path}: Permission denied" in message


@pytest.mark.usefixtures("here")
def test_folder_in_place_of_the_data_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data=text", f"data.path={tmp_path}"]
    assert "Is a directory" in refused(tmp_path / "run", words, capsys, train_here)


@pytest.mark.usefixtures("here")
def test_file_beyond_the_limit_is_refused_unread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: a terabyte that takes no room and no memory
    words = ["data=text", f"data.path={path}"]
    message = refused(tmp_path / "run", words, capsys, train_here)
    assert "1,099,511,627,776 bytes" in message
    assert "At most 268,435,456" in message


@pytest.mark.system
def test_names_without_network_says_the_two_ways_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ("data=names", f"hydra.run.dir={folder}")
    env = {"SWEEPMORE_DATA_DIR": str(tmp_path / "no"), **NO_NETWORK}
    done = run_script("train.py", *words, env=env)
    assert done.returncode == 2
    assert done.stderr.startswith("error: names.txt is not in")
    assert "data=given_names" in done.stderr
    assert "data=text data.path=FILE" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert not folder.exists()


@pytest.mark.usefixtures("here")
def test_damaged_names_are_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "names.txt").write_bytes(GOOD)
    for name, value in {"SWEEPMORE_DATA_DIR": str(tmp_path), **NO_NETWORK}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the retries
    message = refused(tmp_path / "run", ["data=names"], capsys, train_here)
    assert "could not be fetched" in message


# runs that cannot be continued


def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "source"))


@pytest.mark.usefixtures("here")
def test_a_finished_run_is_not_resumed(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(tmp_path / "run", [f"resume={finished}"], capsys, train_here)
    assert "is not interrupted: its status is ok" in message
    assert "start_from=FOLDER" in message


@pytest.mark.usefixtures("here")
def test_resume_takes_no_other_settings(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"resume={finished}", "optim.lr=0.2"]
    message = refused(tmp_path / "run", words, capsys, train_here)
    assert "takes no other settings, but optim.lr=0.2 was given" in message
    assert "start_from=FOLDER" in message


@pytest.mark.usefixtures("here")
def test_a_run_killed_before_its_first_checkpoint_is_not_resumed(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = copied(finished, tmp_path)
    shutil.rmtree(source / "checkpoints")
    (source / "result.json").unlink()
    message = refused(tmp_path / "run", [f"resume={source}"], capsys, train_here)
    assert "ended before its first checkpoint" in message
    assert "start the run again" in message


def test_weights_of_other_shapes_are_not_started_from(
    here: TrainHere, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"start_from={finished}", "model.emb=5", "model.block_size=4"]
    message = refused(tmp_path / "run", words, capsys, here)
    assert "model.emb=2 there, 5 here" in message
    assert "model.block_size=3 there, 4 here" in message


def test_weights_of_another_vocabulary_are_not_started_from(
    here: TrainHere, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = tmp_path / "digits.txt"
    digits.write_text("\n".join(str(i) for i in range(100)))
    words = [f"start_from={finished}", f"data.path={digits}"]
    assert "the vocabularies differ" in refused(tmp_path / "run", words, capsys, here)


# what was there before


@pytest.mark.parametrize(
    ("folder", "there"), [("run", []), ("run", ["run"]), ("a/b/run", []), ("a/b/run", ["a"])]
)
@pytest.mark.parametrize("words", ["model.emb=-1", "resume=RUN"])
@pytest.mark.usefixtures("here")
def test_a_refused_command_removes_what_it_made_and_nothing_else(
    words: str, folder: str, there: list[str], finished: Path, tmp_path: Path
) -> None:
    """In an empty folder, which it does not remove either."""
    for name in there:
        (tmp_path / name).mkdir()
    with pytest.raises(SystemExit) as stopped:
        train_here(tmp_path / folder, words.replace("RUN", str(finished)))
    assert stopped.value.code == 2
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == there


# folders that cannot be written


def test_a_file_in_place_of_the_folder(
    here: TrainHere, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        before = set(tmp_path.iterdir())
        with pytest.raises(SystemExit) as stopped:
            here(folder)
        assert stopped.value.code == 2
        assert capsys.readouterr().err.startswith(f"error: Cannot write {folder}")
        assert set(tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="needs a folder that no one can write")
def test_a_folder_that_cannot_be_written(
    here: TrainHere, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody, root neither, makes folders in /sys."""
    with pytest.raises(SystemExit) as stopped:
        here(Path("/sys/sweepmore/run"))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: Cannot write /sys/sweepmore")
    assert len(error.splitlines()) == 2


def test_a_folder_that_already_holds_a_run(
    here: TrainHere, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = copied(finished, tmp_path)
    before = (source / "result.json").read_bytes()
    message = refused(source, [], capsys, here)
    assert "already holds a run" in message
    assert (source / "result.json").read_bytes() == before


# YAML


def write_sources(tmp_path: Path, content: bytes) -> list[str]:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_bytes(content)
    return [f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "experiment=mine"]


HEAD = b"# @package _global_\n"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (HEAD + b"model:\n  emb: 3\n hidden: 4\n", "mine.yaml, line 4"),
        (HEAD + b"model:\n\temb: 3\n", "mine.yaml, line 3"),
        (HEAD + b"model: {emb: 3, emb: 4}\n", "mine.yaml, line 2"),
        (HEAD + b"model: !!python/object:os.system {}\n", "mine.yaml, line 2"),
        (HEAD + b"seed: 1\n# zo\xeb\n", "mine.yaml, line 3: not UTF-8"),
        (HEAD + b"0\n", "mine.yaml holds no settings"),
    ],
    ids=["indent", "tab", "duplicate key", "python object", "not UTF-8", "a number"],
)
def test_bad_yaml_is_named_with_file_and_line(
    content: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = write_sources(tmp_path, content)
    assert says in refused(tmp_path / "run", words, capsys, train_here)


def test_the_shell_sees_message_and_exit_code(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    done = run_script("train.py", "model.emb=two", f"hydra.run.dir={folder}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: model.emb=two is not a whole number")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "deep").exists()
