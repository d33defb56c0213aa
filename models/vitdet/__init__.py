"""ViTDet (Li et al. 2022): a plain ViT, a simple feature pyramid and Mask R-CNN, the detector of Table 2."""
