"""Files that detectron2's LazyConfig reads, one a size of Table 2."""
