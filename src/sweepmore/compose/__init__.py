"""From what was typed to what is run: settings, search space, config, question, sampler.

Everything that concerns Hydra's grammar and composing is here; what is private in Hydra and
OmegaConf is used in ``hydra_internals`` alone. Bad input ends here, as one ``ConfigError``.
"""

__all__ = [
    "choices",
    "cli",
    "composing",
    "frozen",
    "hydra_internals",
    "keys",
    "overrides",
    "question",
    "samplers",
    "script_storage",
    "settings",
    "space",
    "studies",
]
