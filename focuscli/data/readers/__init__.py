"""One reader per format of annotations. Each takes what was downloaded and returns `Annotations`."""
