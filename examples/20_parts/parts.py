"""Parts: an app that includes another, with tags; deployed, looked up by name, and stopped by a program.

Run it with: python parts.py
"""

import library
import skerry
from skerry.experimental import get_app_objects, stop_app

app = skerry.App("parts", tags={"kind": "whole"}, include_source=True)
app.include(library.app)


@app.function(image=skerry.Image.debian_slim().add_local_python_source("library"))
def quadruple(x: int) -> int:
    """Use a function of the part from inside a container."""
    return library.double.remote(library.double.remote(x))


if __name__ == "__main__":
    app.deploy(tag="first")
    print("tags:", dict(sorted(skerry.App.lookup("parts").get_tags().items())))
    print("objects:", sorted(get_app_objects("parts")))
    print("quadruple:", skerry.Function.from_name("parts", "quadruple").remote(5))
    print(skerry.Cls.from_name("parts", "Shelf")(label="maps").tell.remote())
    stop_app("parts")
