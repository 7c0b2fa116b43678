"""A gallery: the Mix Token features of many crops on disk, and the search over them by text."""
