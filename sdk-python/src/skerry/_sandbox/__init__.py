"""Sandboxes: what a program does with them, and how."""
