"""Metrics and their confidence intervals: pure functions over arrays and result dicts, without torch."""
