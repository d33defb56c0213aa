"""What is asked of a model and how the answer is scored, one module a task of the paper."""
