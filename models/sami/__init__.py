"""SAMI: masked image pretraining that reconstructs SAM's features (section 3.2), and MAE, its baseline."""
