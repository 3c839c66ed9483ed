"""Volumes: files that containers and programs share, in versions."""
