"""Prompts of Tables 4 and 5: boxes and clicks, drawn from the truth as published evaluators draw them."""
