"""Calls a deployed function by its name."""

import skerry

print(f"answer {skerry.Function.from_name('deployed', 'add_one').remote(41)}")
