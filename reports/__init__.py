"""Tables, plots and pages made from protocol results; never imports a model."""

from reports.dataframe import to_frame
from reports.terminal import print_table
from reports.write import write_report

__all__ = ["print_table", "to_frame", "write_report"]
