"""A crawl of a made-up site: pages wait in a queue, a dict knows who takes which, workers in containers take them."""

import skerry

app = skerry.App("example-crawl")

SITE = {"/": ["/a", "/b"], "/a": ["/b", "/c"], "/b": ["/"], "/c": ["/a", "/d"], "/d": []}


@app.function(max_containers=2)
def crawl(pages: skerry.Queue, taken: skerry.Dict, found: skerry.Queue) -> None:
    """Take pages until there are no more: each is done by the one that was first to claim it."""
    while (page := pages.get()) is not None:
        for link in SITE[page]:
            if taken.put(link, True, skip_if_exists=True):
                found.put(link)
                pages.put(link)
        found.put({"done": page}, partition="done")


@app.local_entrypoint()
def main() -> None:
    """Start two workers and wait until every page that was found is done."""
    with skerry.Queue.ephemeral() as pages, skerry.Queue.ephemeral() as found, skerry.Dict.ephemeral() as taken:
        calls = [crawl.spawn(pages, taken, found) for _ in range(2)]
        taken["/"] = True
        pages.put("/")
        done: list[str] = []
        while len(done) < taken.len():
            done.append(found.get(partition="done")["done"])
        pages.put_many([None, None])
        for call in calls:
            call.get()
        print("found:", sorted(found.get_many(100)))
        print("done:", sorted(done))
        print("left:", pages.len(), "pages; taken:", sorted(taken.keys()))
