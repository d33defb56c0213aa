"""Tests mirror the tree. A package, since some libraries install a package of this name too."""
