"""What can go wrong between a model and the tables, checked in a minute before a night's run: `bench check-model`."""
