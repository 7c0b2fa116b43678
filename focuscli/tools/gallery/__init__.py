"""A gallery: the Mix Token features of many crops on disk, and the search over them by text.

`store` is what lies in the folder, `source` and `index` make it, `folded` and `projection` are the mathematics, `query` is SQL
over the stored scores, `search` also scores the features, `results` shows what was found.
"""
