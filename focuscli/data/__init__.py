"""Datasets: the folder format, its schema, and the readers that turn official downloads into such folders."""
