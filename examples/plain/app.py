"""Sweep a ten-line Hydra application: python app.py -m 'x=interval(-5, 5)' 'y=choice(1, 2, 3)'"""

import hydra


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    return (cfg.x - 2) ** 2 + cfg.y


if __name__ == "__main__":
    main()
