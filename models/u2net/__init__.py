"""U²-Net and U²-Net-p (Qin et al. 2020, arXiv 2005.09007): the salient object of an image, as a map."""
