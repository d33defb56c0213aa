"""Models as files that other programs run: `bench export`, and how such files are measured like the model itself."""
