"""Find a learning rate: ``python find_lr.py model.hidden=300``; ``--help`` lists the settings.

A range test with the settings of train.py: fresh parameters, and a rate that grows at each step.
"""

from __future__ import annotations

try:
    from sweepmore.compose import cli
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: run `make setup`, then `. .venv/bin/activate`"
    ) from None

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from nplm.app import rates
from nplm.run_files import WEIGHTS
from sweepmore.runs import finding

ROOT = Path(__file__).resolve().parent


def main(node: DictConfig) -> None:
    """Sweep the rates, suggest one, and draw the losses. The suggestion is printed and written
    beside the figure."""
    wanted, config = rates.read(node)
    folder = Path(HydraConfig.get().runtime.output_dir)
    from nplm import checkpoint, lr_finder
    from nplm.data import load_splits
    from nplm.state import derived_seed

    splits = load_splits(config.data, config.model.block_size)
    if config.overfit_batch:
        from nplm.minibatches import first_batch

        config, splits = first_batch(config, splits)
    weights = None
    if config.start_from is not None:
        source = finding.find_run(config.start_from, ROOT / "outputs", WEIGHTS)
        weights = checkpoint.load(source / WEIGHTS)
    # sweep: from fresh parameters, or from given weights, once for each seed
    print("\n".join(rates.header(config, splits, wanted)), flush=True)
    swept = lr_finder.spaced(wanted.lo, wanted.hi, wanted.steps)
    seeds = [derived_seed(config.seed, f"find_lr/{k}") for k in range(wanted.seeds)]
    sweeps = [lr_finder.sweep_rates(config, splits, swept, seed, weights) for seed in seeds]
    suggestion = lr_finder.suggest(swept, lr_finder.mean(sweeps))

    # figure, lr.json and the answer
    title = f"{rates.about(config, splits)}\n{rates.about_sweep(wanted)}"
    figure = folder / "lr.png"
    lr_finder.draw_sweeps(figure, swept, sweeps, suggestion, title, rates.minibatches(config))
    facts = {"fingerprint": splits.fingerprint, "seeds": seeds, "rates": swept, "losses": sweeps}
    rates.write(folder / "lr.json", config, wanted, suggestion, facts)
    rates.answer(suggestion, swept, sweeps, figure)


if __name__ == "__main__":
    cli.require("torch")  # of the group nplm
    with cli.errors_reported():
        rates.register(ROOT)
    cli.hydra_app(main, config_name="find_lr")
