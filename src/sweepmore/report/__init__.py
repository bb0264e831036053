"""What people look at afterwards: pages, figures, tables, and reports on W&B. Nothing is trained.

``pages`` prepares what a page says, ``figures`` prepares and draws, ``document`` writes the HTML.
"""

__all__ = ["document", "figures", "pages", "upload", "wandb_report"]
