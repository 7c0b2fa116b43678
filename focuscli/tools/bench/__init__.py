"""`focus bench`: what runs how fast, as ratios of interleaved rounds, and whether what ran gave the right result.

`timing` takes the times and knows no model; each work (`encode`, `score`, `train`, `data`, `search`, `startup`) is a module
with a function `measure`; `results` is what they return and the file; `targets` the bounds to meet; `table` shows both.
"""
