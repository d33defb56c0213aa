"""What is trained from what, on which data, at both scales: one registry of trainings, one assembly."""
