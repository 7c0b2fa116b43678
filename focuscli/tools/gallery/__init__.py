"""A gallery: the Mix Token features of many crops on disk, and the search over them by text.

`manifest` is what lies in the folder, `source` and `index` make it, `folded` and `sketch` are the mathematics, `query`,
`ranking` and `search` find the best crops, `sheet` draws them.
"""
