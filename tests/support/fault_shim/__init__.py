"""A process that fails at the n-th point where it writes; the product has no hook for it."""
