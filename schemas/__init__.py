"""Contracts that cross a stage: hits, rows, configuration, topics, tables, reports."""
