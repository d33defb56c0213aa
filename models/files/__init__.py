"""What is on disk: files of weights by content and hash, read without running a word of theirs."""
