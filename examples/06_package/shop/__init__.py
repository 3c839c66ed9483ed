"""A package: all of it goes into the containers of its functions."""
