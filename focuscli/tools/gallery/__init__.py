"""A gallery: the Mix Token features of many crops on disk (`store`), made from images (`source`, `index`) and searched by text
(`query`: SQL over stored scores, `search`: the features by `folded` and `projection`, `results`: what was found).
"""
