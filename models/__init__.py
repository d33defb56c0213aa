"""Networks, checkpoints, the zoo and training; imports nothing else of this project."""
