"""What trainings see of data: crops, jitter and batches of them, features kept on disk."""
