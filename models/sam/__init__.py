"""Segment Anything (arXiv 2304.02643): image encoder, prompt encoder, mask decoder and preprocessing."""
