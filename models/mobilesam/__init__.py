"""MobileSAM (arXiv 2306.14289): a TinyViT image encoder in front of SAM's prompt encoder and mask decoder."""
