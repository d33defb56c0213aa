"""Data sets, metrics, the run store, speed and regression; `python -m bench` is the front door."""
