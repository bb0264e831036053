"""Between the root scripts and both packages: what they do with Hydra and sweepmore."""
