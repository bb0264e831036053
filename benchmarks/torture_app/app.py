"""The application under Hydra, for the stock sweeper and for sweepmore."""

import hydra
from objective import objective


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(config):
    return objective(config.x, config.y)


if __name__ == "__main__":
    main()
