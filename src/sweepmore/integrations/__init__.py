"""Callbacks for other libraries; each module needs the extra of its name."""

__all__ = ["lightning"]
