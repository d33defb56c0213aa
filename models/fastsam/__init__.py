"""FastSAM (arXiv 2306.12156): a YOLOv8-seg that finds everything, and what picks the mask of a prompt."""
