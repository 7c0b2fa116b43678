"""Metrics as pure functions of arrays: multi-label classification, retrieval, decision thresholds."""

from focuscli.metrics.attributes import area_under_roc, average_precision, pedestrian_metrics
from focuscli.metrics.retrieval import grouped_recall

__all__ = ["area_under_roc", "average_precision", "grouped_recall", "pedestrian_metrics"]
