"""ViTDet-S of Table 2, for detectron2's lazyconfig_train_net.py."""

from models.vitdet.d2.recipe import training

model, dataloader, optimizer, lr_multiplier, train = training("s")
