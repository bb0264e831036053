"""An application of the shape of the most used Hydra and Lightning template, without its data."""

import json
import os
from pathlib import Path

import hydra
from net import Net
from omegaconf import DictConfig

from sweepmore.integrations.lightning import last_checkpoint


@hydra.main(version_base="1.3", config_path="configs", config_name="train.yaml")
def main(cfg: DictConfig) -> float:
    model: Net = hydra.utils.instantiate(cfg.model)
    callbacks = [hydra.utils.instantiate(callback) for callback in cfg.callbacks.values()]
    trainer = hydra.utils.instantiate(cfg.trainer, callbacks=callbacks)
    begun = last_checkpoint(cfg.paths.output_dir)
    trainer.fit(model, ckpt_path=begun)
    line = {"lr": cfg.model.lr, "pid": os.getpid(), "resumed": begun is not None,
            "steps": model.trained, "step": trainer.global_step}  # fmt: skip
    with (Path(cfg.paths.log)).open("a") as log:
        log.write(json.dumps(line) + "\n")
    return float(trainer.callback_metrics[cfg.optimized_metric])


if __name__ == "__main__":
    main()
