"""Answers as pictures: the qualitative figures, and the sheets beside tables."""
