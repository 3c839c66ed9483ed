"""Functions that call functions: containers reach the server without any token in them.

Run it with: skerry run pipeline.py
"""

import skerry

app = skerry.App("pipeline")


@app.function()
def count_words(text: str) -> int:
    """The work on one text."""
    return len(text.split())


@app.function()
def count_all(texts: list[str]) -> int:
    """Fans out from inside a container."""
    return sum(count_words.map(texts))


@app.function()
def start(texts: list[str]) -> str:
    """Starts a call that goes on when this one has ended."""
    return count_all.spawn(texts).object_id


@app.local_entrypoint()
def main() -> None:
    """Call a function that calls functions."""
    texts = ["one two three", "four five", "six"]
    print("words:", count_all.remote(texts))
    call = skerry.FunctionCall.from_id(start.remote(texts))
    print("later:", call.get())
    (root,) = call.get_call_graph()
    print("graph:", root.function_name, "->", len(root.children), "children")
