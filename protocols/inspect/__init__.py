"""Finished runs looked into: compared object by object, explained by choices, verified, shown."""
