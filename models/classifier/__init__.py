"""Classifiers of Table 1: a ViT with a head, and which have public weights."""
