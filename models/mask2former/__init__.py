"""Mask2Former on mmsegmentation behind a plain ViT (Table 3). Its packages are the extra `semantic`."""
