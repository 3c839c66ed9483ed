"""A program of its own that calls what is deployed: it needs no code of the app."""

import skerry

greet = skerry.Function.from_name("versions", "greet")
print("the newest:", greet.remote("skerry"))
print("version 1:", skerry.Function.from_name("versions", "greet", version=1).remote("skerry"))
