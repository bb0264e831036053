"""What ``evaluate_test.py`` checks of a run before it claims a split."""

from __future__ import annotations

from nplm.app.tested_run import Asked, Checked
from nplm.config import from_hydra
from sweepmore.errors import RunError
from sweepmore.runs import files
from sweepmore.runs import record as records

# Nats per token by which a dry run on dev may miss the recorded loss: other chips round otherwise.
TOLERANCE = 1e-5


def checked(asked: Asked) -> Checked:
    """Check a run's weights, config, data and dev loss.

    Raises RunError if one of them is not what the run recorded.
    """
    from nplm.data import load_splits
    from nplm.losses import split_loss
    from nplm.sampling import load_trained

    # the files: the same weights, config and data as in the run
    folder = asked.folder
    if asked.confirmed not in (None, asked.checkpoint):
        raise changed("The weights are not those that were confirmed.", asked.checkpoint)
    config, trained = from_hydra(records.read_config(folder)), load_trained(folder)
    recorded = files.read_json(folder / "result.json")
    splits = load_splits(config.data, trained.model.shape.block_size)
    if not asked.fingerprint == recorded["data"]["fingerprint"] == splits.fingerprint:
        raise changed(f"The data are not those that {folder.name} saw.", splits.fingerprint)
    if splits.vocabulary != trained.vocabulary:
        raise changed("The weights have another vocabulary.", len(trained.vocabulary))
    # the evaluation: a dry run on dev must give the recorded loss
    again, before = split_loss(trained.model, splits.dev), recorded["dev_loss"]
    if before is None or not abs(again - before) <= TOLERANCE:  # nan is not near anything
        raise changed(f"On dev the weights give {again:.6f}, but {before} is recorded.", again)
    return Checked(asked, config, again, trained.model, splits)


def changed(problem: str, value: object) -> RunError:
    """Return the error for a run that is no longer what it was."""
    cure = "Restore the run's folder and its data file; nothing was claimed."
    return RunError(problem, value=value, cure=cure)
