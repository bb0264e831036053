"""What a study's page in the dashboard says, read with the dashboard's own functions."""

from __future__ import annotations

import subprocess
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import get_note, save_note

from sweepmore.study.attributes import StudyAttributes, stored
from sweepmore.study.campaigns import Challenge
from sweepmore.sweep import note
from sweepmore.sweep.note import VERDICT, write_note
from tests.support.made_studies import made_study, name_winner
from tests.support.sweep_apps import App

QUESTION = "**minimize** over n 1…9\n\n```\npython app.py -m\n```"


def study_of(*values: float) -> optuna.Study:
    return made_study([([value], {"n": 2 + at}) for at, value in enumerate(values)], config={})


class TestText:
    def test_it_begins_with_the_verdict(self) -> None:
        study = study_of(2.0, 1.0, 1.5)
        write_note(study)
        sentence = "Trial 1 is the best of 3 at 1.0000; it is 1.0000 better than the first trial."
        assert get_note(study) == f"**{sentence}**\n\n**Best**: `n=3`\n\n{QUESTION}"
        lines = study.user_attrs[VERDICT].split(" ")
        assert [line.replace("\u00a0", " ") for line in lines] == [
            "Trial 1 is the best of 3 at 1.0000; it is 1.0000 better than",
            "the first trial.",
        ]

    def test_a_long_command_is_one_that_a_shell_reads(self) -> None:
        study = study_of()
        words = ["-m", *(f"setting_{at}=choice(1, '{at}')" for at in range(20))]
        command = {"script": ["app.py"], "fixed": [], "hydra": [], "words": words}
        study.set_user_attr("command", command)
        write_note(study)
        block = get_note(study).split("```")[1].strip()
        assert max(map(len, block.splitlines())) <= 100
        echoed = subprocess.run(
            block.replace("python", "printf '%s\\n'", 1), shell=True, capture_output=True, text=True
        )
        assert echoed.stdout.splitlines() == ["app.py", "-m", *words]

    def test_a_winner_has_its_number(self) -> None:
        study = study_of(2.0, 1.0)
        name_winner(study, 1, 1.1, 0.2, seeds=4)
        write_note(study)
        number = "1.1000 ± 0.2000"
        assert get_note(study).startswith(f"**Trial 1 wins at {number} over 4 final seeds")
        winner = f"**Winner**: `n=3`, {number} (95 %, over 4 final seeds)"
        assert f"\n\n{winner}\n\n{QUESTION}" in get_note(study)

    def test_a_champion_takes_the_place_of_the_winner_that_it_beat(self) -> None:
        study = study_of(2.0, 1.0)
        name_winner(study, 1, 1.1, 0.2, seeds=4)
        words = ("python", "app.py", "n=3", "+deep=true")
        Challenge(3, 0, words, ".", "0", ("net.py",), "now", "keep", gain=0.5, half=0.1).write(
            study
        )
        write_note(study)
        assert get_note(study) == (
            "**Challenge 3 is the champion: better by 0.5000 ± 0.1000 than trial 1, the confirmed "
            "winner (1.1000 ± 0.2000).**\n\n"
            f"**Champion**: `python app.py n=3 +deep=true; changed code: net.py`\n\n{QUESTION}"
        )

    def test_before_its_first_trial_a_study_has_a_question_only(self) -> None:
        study = study_of()
        write_note(study)
        assert get_note(study) == QUESTION
        assert VERDICT not in study.user_attrs

    def test_without_a_complete_trial_there_is_no_answer(self) -> None:
        study = made_study([(None, {"n": 2})], states={0: TrialState.FAIL})
        write_note(study)
        assert get_note(study) == f"**No trial is complete: 1 failed.**\n\n{QUESTION}"

    def test_several_objectives_have_a_front_and_no_best(self) -> None:
        rows = [([1.0, 9.0], {"n": 2}), ([2.0, 3.0], {"n": 3})]
        study = made_study(rows, directions=["minimize", "maximize"])
        write_note(study)
        text = get_note(study)
        assert text.startswith("**1 of 2 trials is beaten by none in every objective.**\n\n**mini")


class TestSaving:
    """What people write into the note stays."""

    @pytest.fixture
    def study(self) -> optuna.Study:
        study = study_of(2.0)
        note.save_note(study, "ours")
        return study

    @pytest.mark.parametrize("length", [0, 1, 2045, 2046, 4090, 10_000])
    def test_the_dashboard_reads_a_note_of_any_length(
        self, study: optuna.Study, length: int
    ) -> None:
        long = "".join(map(str, range(length)))[:length]
        for text in (long, "short", long):
            note.save_note(study, text)
            assert get_note(study) == text

    def test_what_was_added_below_stays(self, study: optuna.Study) -> None:
        save_note(study, get_note(study) + "\n\nI tried that in May.")
        note.save_note(study, "newer")
        note.save_note(study, "newest")
        assert get_note(study) == "newest\n\nI tried that in May."

    @pytest.mark.parametrize("changed", ["mine", "", "before ours"])
    def test_a_note_that_was_changed_stays(self, study: optuna.Study, changed: str) -> None:
        save_note(study, changed)
        note.save_note(study, "newer")
        assert get_note(study) == changed

    def test_the_note_of_an_older_version_is_replaced(self) -> None:
        study = study_of(2.0)
        save_note(study, "as the older version wrote it")
        note.save_note(study, "newer")
        assert get_note(study) == "newer"

    def test_its_version_counts_changes(self, study: optuna.Study) -> None:
        """By which the dashboard refuses to overwrite what it has not shown."""

        def version() -> Any:
            return study._storage.get_study_system_attrs(study._study_id)["dashboard:note_ver"]

        before = version()
        note.save_note(study, "ours")
        assert version() == before
        note.save_note(study, "newer")
        assert version() == before + 1


@pytest.mark.system
def test_a_sweep_leaves_its_verdict_and_no_json_on_the_first_page(app: App) -> None:
    app.ok("x=0,1,2", ":study_name=s")
    study = app.study()
    assert set(study.user_attrs) == {VERDICT}
    sentence = study.user_attrs[VERDICT].replace("\u00a0", " ")
    assert sentence.startswith("Trial 2 is the best of 3 at ")
    assert get_note(study).startswith(f"**{sentence}**\n\n**Best**: `x=2`\n\n**minimize** over x ")
    assert StudyAttributes.of(study).is_introduced
    assert stored(study)["note"] == get_note(study)
