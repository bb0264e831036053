"""Workers on several machines, with nothing shared but a PostgreSQL server.

``make test-postgres``. The server is a real one, started here; the second machine is a name space
of the kernel with a host name of its own, another folder, and another outputs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import optuna
import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url

from sweepmore.process.identity import this_process
from sweepmore.seal.ledger import Ledger
from sweepmore.storage.opening import open_storage, start
from sweepmore.storage.optuna_internals import BulkStorage
from sweepmore.storage.urls import LIBPQ
from sweepmore.study import slots
from sweepmore.study.attributes import store, stored
from sweepmore.study.view import view
from tests.support.every_trial import assert_read_as_optuna_reads, fill, studies_of_two_objectives
from tests.support.helpers import run_command, run_script
from tests.support.postgres import Lossy, Server, free_port
from tests.support.race_ledger import FINGERPRINT, race_ended
from tests.support.secrets_of import pickles, traces
from tests.support.sweep_apps import PATIENCE, App, slots_of, until

pytestmark = pytest.mark.postgres

# A machine of its own as far as we look: another host name. Who is not root needs a user's space.
UNSHARE = ("unshare", *(() if os.getuid() == 0 else ("--map-root-user",)), "--uts")
ELSEWHERE = (*UNSHARE, "sh", "-c", 'hostname elsewhere && exec "$@"', "sh")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server.running() as started:
        yield started


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> URL:
    """A database of the test's own."""
    return server.database(re.sub(r"\W+", "_", request.node.name)[:40])


@pytest.fixture(autouse=True)
def connections_closed() -> Iterator[None]:
    yield
    for storage in OPEN.values():
        storage._backend.engine.dispose()  # type: ignore[attr-defined]  # RDB only
    OPEN.clear()


# What a test has opened.
OPEN: dict[URL, optuna.storages.BaseStorage] = {}


def storage_of(url: URL) -> optuna.storages.BaseStorage:
    if url not in OPEN:
        OPEN[url] = open_storage(url)
    return OPEN[url]


def study_in(url: URL) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=storage_of(url), load_if_exists=True)


def trials_in(url: URL) -> list[FrozenTrial]:
    try:
        return optuna.load_study(study_name="s", storage=storage_of(url)).get_trials()
    except KeyError:  # not there yet
        return []


def has_finished(url: URL, number: int) -> bool:
    return len(slots_of(trials_in(url))) >= number


def wait_slots(study: optuna.Study, number: int) -> None:
    for slot in range(number):
        study.enqueue_trial({}, user_attrs={"slot": slot})


def test_trials_are_read_as_optuna_reads_them(url: URL) -> None:
    text = url.render_as_string(hide_password=False)
    ours, optunas = BulkStorage(text), optuna.storages.RDBStorage(text)
    try:
        fill(*studies_of_two_objectives(ours))
        for study_id in (1, 2):
            assert_read_as_optuna_reads(ours, optunas, study_id)
    finally:
        ours.engine.dispose()
        optunas.engine.dispose()


class TestTwoMachines:
    def test_200_trials_by_8_workers_under_two_parents(
        self, server: Server, url: URL, tmp_path: Path
    ) -> None:
        """None lost, none doubled; both machines worked."""
        here = App.copied(tmp_path / "here")
        there = App.copied(tmp_path / "there", ELSEWHERE)
        words = (
            "x=interval(0,4)",
            ":n_trials=200",
            ":n_jobs=4",
            ":study_name=s",
            "does=gated",
            server.words(url),
        )
        with (
            here.started(*words, env=server.environment) as first,
            there.started(*words, ":outputs=elsewhere", env=server.environment) as second,
        ):
            until(lambda: len(here.pids()) == len(there.pids()) == 4)
            for app in (here, there):
                app.open_gate()
            for process in (first, second):
                out, err = process.communicate(timeout=240)
                assert process.returncode == 0, out + err
                assert "200 of 200 trials done" in out
        trials = trials_in(url)
        assert slots_of(trials) == list(range(200))
        assert {t.state for t in trials if t.user_attrs.get("reason") != "void"} == {
            TrialState.COMPLETE
        }
        runs = Counter(row["root"] for row in [*here.seen(), *there.seen()])
        assert set(runs.values()) == {1}
        assert len(runs) == 200
        hosts = Counter(t.user_attrs["owner"]["host"] for t in trials)
        assert set(hosts) == {platform.node(), "elsewhere"}
        assert len(here.pids() | there.pids()) == 8
        assert (there.folder / "elsewhere" / "studies" / "s").is_dir()
        assert not (there.folder / "outputs").exists()

    def test_one_machine_may_die(self, server: Server, url: URL, tmp_path: Path) -> None:
        """Its trials are taken over once their lease has ended, which here is made to be so."""
        there = App.copied(tmp_path / "there", ELSEWHERE)
        words = ("x=range(0,6)", "does=gated", ":study_name=s", server.words(url))
        with there.started(*words, env=server.environment) as process:
            until(lambda: there.seen())
            process.kill()
            process.wait()
        (left,) = [t for t in trials_in(url) if t.state is TrialState.RUNNING]
        storage = storage_of(url)
        long_ago = time.time() - 2 * slots.LEASE_SECONDS
        storage.set_trial_user_attr(left._trial_id, "lease", long_ago)
        study = optuna.load_study(study_name="s", storage=storage)
        store(study, leader={**stored(study)["leader"], "time": long_ago})
        here = App.copied(tmp_path / "here")
        here.open_gate()
        here.ok(*words, env=server.environment)
        trials = trials_in(url)
        assert slots_of(trials) == list(range(6))
        assert trials[left.number].user_attrs["reason"] == "died"
        assert TrialState.RUNNING not in {t.state for t in trials}

    def test_a_parent_waits_for_what_runs_elsewhere_without_starting_workers(
        self, server: Server, url: URL, tmp_path: Path
    ) -> None:
        there = App.copied(tmp_path / "there", ELSEWHERE)
        here = App.copied(tmp_path / "here")
        words = ("x=range(0,3)", ":study_name=s", ":n_jobs=2", server.words(url), "does=gated")
        workers = here.folder / "outputs" / "studies" / "s" / "workers"
        there.open_gate(0)
        with there.started(*words, env=server.environment) as elsewhere:
            until(lambda: len(there.seen()) == 3)  # the last two run
            with here.started(*words, env=server.environment) as process:
                until(lambda: len(list(workers.glob("*"))) == 2 and len(here.processes()) == 1)
                there.open_gate()
                out, err = process.communicate(timeout=PATIENCE)
                assert process.returncode == 0, out + err
            assert "3 of 3 trials done" in out
            assert elsewhere.wait(PATIENCE) == 0
        assert len(list(workers.iterdir())) == 2
        assert here.seen() == []
        assert slots_of(trials_in(url)) == [0, 1, 2]


class TestServerAway:
    def test_workers_wait_for_a_server_that_is_restarted_and_go_on(
        self, server: Server, url: URL, tmp_path: Path
    ) -> None:
        """Ended in order, and as by a power cut, while trials begin, report and end."""
        app = App.copied(tmp_path)
        words = ("does=reporting", "steps=20", "x=interval(0,9)", ":n_trials=24")
        logs = app.folder / "outputs" / "studies" / "s" / "workers"

        def said(text: str) -> list[Path]:
            return [log for log in sorted(logs.glob("*.log")) if text in log.read_text()]

        app.open_gate(*range(20))  # the last ones go on until all has been
        with app.started(
            *words, ":n_jobs=2", ":study_name=s", server.words(url), env=server.environment
        ) as process:
            for turn, mode in enumerate(("fast", "immediate")):
                until(partial(has_finished, url, 4 * turn + 5))
                server.stop(mode)
                try:
                    until(lambda: len(said("does not answer")) == 2)
                finally:
                    server.start()
            app.open_gate()
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, out + err
        trials = trials_in(url)
        assert slots_of(trials) == list(range(24))
        counted = [t for t in trials if t.user_attrs.get("reason") != "void"]
        assert [t.state for t in counted] == [TrialState.COMPLETE] * 24
        assert Counter(row["root"] for row in app.seen()) == {t.number: 1 for t in counted}
        assert len(said("the database answers again after")) == 2
        assert "does not answer" in err  # the parent says so too
        assert "waiting up to 5 min" in err
        assert server.password not in out + err

    @pytest.mark.parametrize(("n_jobs", "signum"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
    def test_a_signal_while_it_is_away(
        self, server: Server, url: URL, tmp_path: Path, n_jobs: int, signum: signal.Signals
    ) -> None:
        """At once, with the signal's code and one message; the same command then goes on."""
        app = App.copied(tmp_path)
        words = ("does=reporting", "x=range(0,4)", ":study_name=s", f":n_jobs={n_jobs}",
                 server.words(url))  # fmt: skip
        with app.started(*words, env=server.environment) as process:
            until(lambda: len(app.seen()) == n_jobs)
            server.stop("fast")
            try:
                assert process.stderr is not None
                assert "does not answer" in process.stderr.readline()
                logs = [*(app.folder / "outputs/studies/s/workers").glob("*.log")]
                until(lambda: all("does not answer" in log.read_text() for log in logs))
                process.send_signal(signum)
                out, err = process.communicate(timeout=PATIENCE)
            finally:
                server.start()
        assert process.returncode == 128 + signum, out + err
        problem, cure = [line for line in err.splitlines() if not line.startswith("warning: ")]
        assert problem.startswith("error: The database postgresql+psycopg://127.0.0.1")
        assert cure == "  Start it, then rerun the same command to continue."
        app.open_gate()
        app.ok(*words, env=server.environment)
        assert slots_of(trials_in(url)) == [0, 1, 2, 3]

    def test_a_parent_ends_at_once_where_there_is_no_server(
        self, server: Server, tmp_path: Path
    ) -> None:
        app = App.copied(tmp_path)
        nowhere = f":storage=postgresql://me@127.0.0.1:{server.port}/nowhere"
        message = app.refused("x=1,2", nowhere, env={"PGPASSWORD": "guessed"})
        assert "cannot be opened" in message
        assert "password authentication failed" in message
        assert "guessed" not in message


class TestLostAnswer:
    """The server did what it was told, and the client hears that the connection is gone."""

    @pytest.fixture
    def lossy(self, server: Server) -> Iterator[Lossy]:
        with Lossy(server) as way:
            yield way

    @pytest.fixture
    def study(self, url: URL, lossy: Lossy) -> optuna.Study:
        return study_in(url.set(port=lossy.port))

    def test_a_claim_is_known_to_be_ones_own(self, study: optuna.Study, lossy: Lossy) -> None:
        wait_slots(study, 1)
        lossy.lose()
        claimed = slots.claim(study)
        assert lossy.lost == 1
        assert claimed is not None
        assert claimed.owner == this_process()
        assert slots.claim(study) is None

    def test_a_claim_that_another_made_meanwhile_is_not(
        self, study: optuna.Study, url: URL
    ) -> None:
        wait_slots(study, 1)
        (waiting,) = study.get_trials()
        storage = storage_of(url)
        assert start(storage, waiting._trial_id, {"owner": {"pid": 1}})
        assert not start(study._storage, waiting._trial_id, {"owner": this_process()})

    def test_an_end_is_told_once(self, study: optuna.Study, lossy: Lossy) -> None:
        wait_slots(study, 1)
        claimed = slots.claim(study)
        assert claimed is not None
        trial = optuna.Trial(study, study.get_trials()[0]._trial_id)
        for act in (
            lambda: trial.suggest_float("x", 0, 1),
            lambda: trial.report(0.5, 3),
            lambda: trial.set_user_attr("folder", "f"),
            lambda: study.tell(trial, 0.25),
        ):
            lossy.lose()
            act()
        assert lossy.lost == 4
        (done,) = study.get_trials()
        assert (done.state, done.value) == (TrialState.COMPLETE, 0.25)
        assert done.intermediate_values == {3: 0.5}
        assert set(done.params) == {"x"}

    def test_a_trial_that_was_enqueued_twice_counts_once(
        self, study: optuna.Study, lossy: Lossy
    ) -> None:
        lossy.lose()
        wait_slots(study, 1)
        assert lossy.lost == 1
        assert len(study.get_trials()) == 2
        assert [a.slot for a in view(study).attempts] == [0]
        assert slots.claim(study) is not None
        assert slots.claim(study) is None


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """What ``ps`` shows of this process's descendants meanwhile, looked at 20 times a second."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_the_dashboard_shows_the_servers_studies(server: Server, url: URL, tmp_path: Path) -> None:
    """By ``sweepmore dashboard --storage=…``, without the password."""
    study_in(url)
    storage = f"postgresql+psycopg{server.words(url).partition('postgresql')[2]}"
    port = free_port()
    words = ["dashboard", f"--port={port}", f"--storage={storage}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sweepmore", *words],
        cwd=tmp_path,
        env={**os.environ, **server.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def studies() -> str:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/api/studies") as answer:
            return str(answer.read())
        return ""

    try:
        assert '"study_name":"s"' in until(studies).replace(" ", "")
        assert server.password not in " ".join(psutil.Process(process.pid).cmdline())
    finally:
        process.kill()
        process.wait()


def test_libpq_is_told_the_same_whoever_opens_it(url: URL, tmp_path: Path) -> None:
    of_studies = storage_of(url)._backend.engine  # type: ignore[attr-defined]  # RDB only
    for engine in (of_studies, Ledger(url, tmp_path).rows.engine()):
        with engine.connect() as connection:
            client: Any = connection.connection.driver_connection
            told = client.info.get_parameters()
        assert {key: told.get(key) for key in LIBPQ} == {k: str(v) for k, v in LIBPQ.items()}


@pytest.mark.timeout(900)
def test_neither_password_nor_key_is_in_any_file_or_line(
    server: Server, url: URL, few_names: Path, tmp_path: Path
) -> None:
    """Runs by processes and by submitit, W&B on, fresh seeds, a page, a look at test; every byte
    is searched, W&B's log decoded."""
    key = "canary0" * 5 + "12345"
    whole = url.set(drivername="postgresql").render_as_string(hide_password=False)
    env = {**server.environment, "STUDIES": whole, "WANDB_API_KEY": key}
    outputs = tmp_path / "outputs"
    sweep = (
        "-m", "data=text", f"data.path={few_names}", "experiment=smoke", "optim.lr=0.03,0.1",
        f"hydra.sweeper.outputs={outputs}", f"hydra.sweep.dir={tmp_path}/multirun",
        "hydra.sweeper.n_jobs=2", "hydra.sweeper.storage='${oc.env:STUDIES}'",
    )  # fmt: skip
    there = (f"outputs={outputs}", server.words(url).removeprefix(":"))
    resolved = (f"outputs={outputs}", "storage=${oc.env:STUDIES}")
    look = ("study=s", f"looks={tmp_path}/looks")
    said = ""
    with command_lines() as seen:
        for script, *words in (
            ("train.py", *sweep, "hydra.sweeper.study_name=s"),
            ("train.py", *sweep, "hydra.sweeper.study_name=t", "hydra/launcher=submitit_local"),
            ("confirm", "s", "--top=1", "--seeds=2", "--jobs=2", *(f"--{w}" for w in resolved)),
            ("report", "s", f"--outputs={outputs}"),  # the sweep has noted its storage
            ("ls", *(f"--{w}" for w in there)),
            ("sample.py", "study=s", "n=2", *resolved),
            ("evaluate_test.py", *look, *resolved),
            ("evaluate_test.py", *look, *there),
        ):
            if script.endswith(".py"):
                done = run_script(script, *words, env=env, timeout=300)
            else:
                done = run_command(script, *words, env=env, timeout=300)
            said += done.stdout + done.stderr
            assert done.returncode == 0, done.stdout + done.stderr
    assert any(" confirm " in line for line in seen)
    assert any("hydra.sweeper.study_name=s.confirm" in line for line in seen)
    assert not any(server.password in line for line in seen)
    assert said.count("look     1 of 1") == 2
    assert "recorded before: nothing was read now" in said
    assert len(list(tmp_path.rglob("run-*.wandb"))) == 7  # of six trainings and of the look
    assert list(tmp_path.rglob(".submitit/*/*.pkl"))
    assert (outputs / "reports" / "s" / "index.html").exists()
    assert not (outputs / "studies.db").exists()
    for secret in (server.password, key):
        assert traces(tmp_path, secret) == []
        assert secret not in said
    assert {path.parents[1].name for path in pickles(tmp_path)} == {".submitit"}


def take(url: str) -> list[int]:
    """All that one process can claim."""
    study, taken = study_in(make_url(url)), []
    while (claimed := slots.claim(study)) is not None:
        taken.append(claimed.number)
    return taken


def test_eight_processes_never_claim_the_same_trial(server: Server, url: URL) -> None:
    """On an empty database: the creation of its tables is part of the race."""
    text = url.render_as_string(hide_password=False)
    with ProcessPoolExecutor(8, get_context("fork")) as pool:
        assert list(pool.map(take, [text] * 8)) == [[]] * 8
        study = study_in(url)
        for _ in range(5):
            before = len(study.get_trials())
            for slot in range(before, before + 40):
                study.enqueue_trial({"x": 0.5}, user_attrs={"slot": slot})
            taken = list(pool.map(take, [text] * 8))
            assert sorted(chain.from_iterable(taken)) == list(range(before, before + 40))
    assert all(t.state is TrialState.RUNNING for t in study.get_trials())


def test_of_all_variants_of_a_file_one_is_looked_at(server: Server, tmp_path: Path) -> None:
    """Eight processes of two machines, each with a fingerprint of its own for the same lines."""
    keys = [f"{number:016x}" for number in range(40)]
    times = {f"{number:016x}": 1 for number in range(400)}
    variants = tmp_path / "variants.json"
    variants.write_text(json.dumps([(f"{name:032x}", keys, times, 0.1) for name in range(8)]))
    urls = [server.database(f"variants-{turn}") for turn in range(5)]
    here, there = tmp_path / "here", tmp_path / "there"
    template = f"postgresql+psycopg://{urls[0].username}@127.0.0.1:{server.port}/variants-{{}}"
    words = (here, 8, 5, template, there)
    ends = race_ended(*words, f"variants={variants}", env=server.environment)
    assert ends == [Counter(won=1, refused=7)] * 5
    for turn, url in enumerate(urls):
        (row,) = Ledger(url, here / str(turn) / "looks").looks()
        assert row.keys == " ".join(keys)


@pytest.mark.parametrize(("size", "rounds"), [(2, 10), (8, 10), (32, 10)])
def test_one_of_all_processes_of_both_machines_looks_at_test(
    server: Server, tmp_path: Path, size: int, rounds: int
) -> None:
    """Fresh databases: the table's creation is part of the race. The loser's machine has no
    receipt, and still refuses."""
    urls = [server.database(f"race-{size}-{turn}") for turn in range(rounds)]
    here, there = tmp_path / "here", tmp_path / "there"
    template = f"postgresql+psycopg://{urls[0].username}@127.0.0.1:{server.port}/race-{size}-{{}}"
    words = (here, size, rounds, template, there)
    ends = race_ended(*words, env=server.environment)
    assert ends == [Counter(won=1, refused=size - 1)] * rounds
    for turn, url in enumerate(urls):
        books = [Ledger(url, place / str(turn) / "looks") for place in (here, there)]
        (row,) = books[0].looks(FINGERPRINT)
        assert all(book.known(FINGERPRINT) == [row] for book in books)
        (receipt,) = [path for book in books for path in book.folder.glob("*.json")]
        assert json.loads(receipt.read_text()) == dataclasses.asdict(row)
