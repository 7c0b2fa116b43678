"""Metrics as pure functions of arrays: multi-label classification, retrieval, decision thresholds."""
