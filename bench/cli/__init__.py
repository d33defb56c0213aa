"""The verbs of `python -m bench`, one module each."""
