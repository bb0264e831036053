"""What people look at afterwards: pages, figures, tables, and reports on W&B. Nothing is trained.

``study`` reads, ``figures`` prepare charts, ``drawing`` draws them, ``document`` writes HTML; each
page has a file.
"""

__all__ = [
    "additions",
    "chart",
    "comparison",
    "document",
    "drawing",
    "figures",
    "lists",
    "results",
    "runs_page",
    "study",
    "study_page",
    "upload",
    "wandb_report",
    "wandb_text",
    "wandb_winner",
]
