"""Write the report of a finished run: one offline HTML page, a Markdown summary, results.json, a model card."""

from expertune.report.card import write_card
from expertune.report.finished import FinishedRun
from expertune.report.write import write_report

__all__ = ["FinishedRun", "write_card", "write_report"]
