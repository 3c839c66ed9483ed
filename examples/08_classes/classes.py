"""Classes: what is expensive is done once per container, in enter; parameters make pools of their own.

Run it with: skerry run classes.py
"""

from collections.abc import Iterator

import skerry

app = skerry.App("classes")


@app.cls()
class Translator:
    """Loads its dictionary once, then answers many calls."""

    language: str = skerry.parameter(default="de")

    @skerry.enter()
    def load(self) -> None:
        """Runs once in each container, before the first call."""
        dictionaries = {"de": {"island": "Insel", "rock": "Fels"}, "fr": {"island": "île", "rock": "rocher"}}
        self.words = dictionaries[self.language]

    @skerry.exit()
    def unload(self) -> None:
        """Runs when the container ends."""
        print(f"goodbye from {self.language}")

    @skerry.method()
    def translate(self, word: str) -> str:
        """One word."""
        return self.words.get(word, f"<{word}>")

    @skerry.method()
    def all(self) -> Iterator[tuple[str, str]]:
        """A generator method."""
        yield from self.words.items()


@app.local_entrypoint()
def main() -> None:
    """Use two pools of the class."""
    german, french = Translator(), Translator(language="fr")
    print("german:", german.translate.remote("island"))
    print("french:", list(french.translate.map(["island", "rock", "sea"])))
    print("all:", dict(german.all.remote_gen()))
    print("here:", french.translate.local("rock"))
