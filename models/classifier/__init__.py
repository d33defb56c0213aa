"""Classifiers of Table 1: a ViT with a head, and whose weights anyone can have."""
