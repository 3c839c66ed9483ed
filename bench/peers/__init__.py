"""Peers, each a script that bench/.venv runs and that prints one JSON object."""
