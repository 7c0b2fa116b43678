"""Synthetic pedestrians with exact labels and boxes, for the demo, tests and pictures."""
