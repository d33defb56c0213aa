"""Training stages: promptable (the paper's SA-1B finetuning) and distill (MobileSAM's), on one small loop."""
