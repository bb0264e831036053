"""An application with a seed, whose value is noisy: sweep it, confirm the best.

python app.py -m
sweepmore confirm last
"""

import random
import time

import hydra
from omegaconf import DictConfig

from sweepmore import current_trial


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(config: DictConfig) -> float:
    """Return a loss that is lowest at lr 0.01, after ten steps that take 0.1 s each."""
    noise, trial = random.Random(f"{config.seed} {config.lr}"), current_trial()
    loss = 1.0
    for step in range(10):
        time.sleep(0.1)
        loss = (config.lr / 0.01 - 1) ** 2 / 20 + 0.5 / (1 + step) + noise.gauss(0.2, 0.01)
        if trial is not None and trial.report(step, loss):
            break
    return loss


if __name__ == "__main__":
    main()
