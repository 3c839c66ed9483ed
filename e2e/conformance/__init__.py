"""What users of the reference expect, line by line, against a real daemon. Every test names the lines that it is about."""
