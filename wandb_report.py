"""A study as a W&B report: ``python wandb_report.py study=NAME``; needs an account."""

from __future__ import annotations

try:
    from sweepmore.compose import cli
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: run `make setup`, then `. .venv/bin/activate`"
    ) from None

from dataclasses import dataclass
from pathlib import Path

from sweepmore.errors import ConfigError
from sweepmore.typed import setting
from sweepmore.wording import plural

ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Arguments:
    """python wandb_report.py study=NAME: a W&B report of its uploaded runs; needs an account."""

    study: str | None = setting(None, "its name, or last")
    metric: str | None = setting(
        None, "what trials are compared by, a key of result.json; null: the application's first"
    )
    entity: str | None = setting(None, "W&B user or team; null: the runs', or the account's")
    project: str | None = setting(None, "W&B project; null: the runs'")
    storage: str | None = setting(None, "a database URL; null: outputs/studies.db")
    outputs: str = setting("outputs", "the folder of runs and studies, relative to this one")


def main(arguments: Arguments) -> None:
    if arguments.study is None:
        cure = "python wandb_report.py study=NAME, or study=last"
        raise ConfigError("Which study?", value=None, cure=cure)
    for package in ("wandb", "wandb_workspaces"):
        cli.require(package)
    from sweepmore.report.wandb_report import metric_of, publish, require_account

    require_account()
    from nplm.app.report import additions
    from sweepmore.compose.script_storage import opened, typed_url
    from sweepmore.report.additions import tell
    from sweepmore.report.study import read_study
    from sweepmore.report.upload import uploads
    from sweepmore.study.loading import load

    outputs = ROOT / arguments.outputs
    with opened(arguments.storage, outputs) as database:
        study = load(database, arguments.study)
        nplm = additions(ROOT, typed_url(arguments.storage, outputs))
        seen = read_study(study, nplm)
        left = len(uploads(study).left)
    warnings = tell(nplm.of(seen.application), seen.winning_run).warnings
    metric = metric_of(seen, arguments.metric)
    url = publish(seen, metric, arguments.entity, arguments.project, warnings)
    print(f"report   {url}")
    if left:
        offline = f"{plural(left, 'run')} still offline"
        print(f"W&B      {offline}, and the report shows only what is there:")
        where = cli.given(arguments, "storage", "outputs")
        print(f"         python report.py study={study.study_name}{where} sync=true uploads them")


if __name__ == "__main__":
    cli.command(Arguments, main)
